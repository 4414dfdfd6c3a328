/** `blocks.*`: from whom one takes no messages. */
import { z } from 'zod'
import { id } from './fields.ts'
import { request } from './operation.ts'
import { listed } from './results.ts'

export const blocksAdd = request({
  name: 'blocks.add',
  text: 'you get no more messages of this user, who cannot put you into groups either',
  permission: 'user',
  rate: 'plain',
  http: ['PUT /v1/blocks/{user}'],
  query: false,
  params: () => z.object({ user: id() }),
  result: () => z.strictObject({ user: z.string(), blocked: z.literal(true) }),
  run: async ({ blocks }, caller, { user }) => {
    await blocks.add(caller.user, user)
    return { user, blocked: true as const }
  }
})

export const blocksRemove = request({
  name: 'blocks.remove',
  text: 'the user may write to you again',
  permission: 'user',
  rate: 'plain',
  http: ['DELETE /v1/blocks/{user}'],
  query: false,
  params: () => z.object({ user: id() }),
  result: () => z.strictObject({ user: z.string(), blocked: z.literal(false) }),
  run: async ({ blocks }, caller, { user }) => {
    await blocks.remove(caller.user, user)
    return { user, blocked: false as const }
  }
})

export const blocksList = request({
  name: 'blocks.list',
  text: 'whom you block',
  permission: 'user',
  rate: 'plain',
  http: ['GET /v1/blocks'],
  query: true,
  params: () => z.object({}),
  result: () => z.strictObject({ users: listed('user') }),
  run: async ({ blocks }, { user }) => ({ users: await blocks.list(user) })
})
