/** What one does with a conversation as a whole. */
import { z } from 'zod'
import { conversationOf, flag, inConversation, seq } from './fields.ts'
import { request, verb } from './operation.ts'
import { count } from './results.ts'

export const read = verb({
  name: 'read',
  text: 'you have read the conversation up to a number',
  payload: '`42` or `{"seq":42}`',
  permission: 'user',
  rate: 'plain',
  http: ['POST /v1/conversations/{conv}/read'],
  params: () => z.object({ seq: seq(1) }),
  short: 'seq',
  run: ({ conversations }, { user }, target, params) => conversations.mark(user, target, params.seq)
})

export const conversationsClear = request({
  name: 'conversations.clear',
  text: 'its history is hidden for you, and counts as read',
  permission: 'user',
  rate: 'plain',
  http: ['POST /v1/conversations/{conv}/clear'],
  query: false,
  params: () => inConversation({}),
  result: () => z.strictObject({ conv: z.string(), clearedSeq: count() }),
  run: async ({ conversations }, caller, params) => {
    const conv = conversationOf(caller, params)
    return { conv, clearedSeq: await conversations.clear(caller.user, conv) }
  }
})

export const conversationsMute = request({
  name: 'conversations.mute',
  text: 'a mark that the list gives back, for your apps to be quiet by',
  permission: 'user',
  rate: 'plain',
  http: ['POST /v1/conversations/{conv}/mute'],
  query: false,
  params: () => inConversation({ on: flag(true) }),
  result: () => z.strictObject({ conv: z.string(), muted: z.boolean() }),
  run: async ({ conversations }, caller, { on, ...named }) => {
    const conv = conversationOf(caller, named)
    await conversations.set(caller.user, conv, { muted: on })
    return { conv, muted: on }
  }
})

export const conversationsPin = request({
  name: 'conversations.pin',
  text: 'the list has it before others',
  permission: 'user',
  rate: 'plain',
  http: ['POST /v1/conversations/{conv}/pin'],
  query: false,
  params: () => inConversation({ on: flag(true) }),
  result: () => z.strictObject({ conv: z.string(), pinned: z.boolean() }),
  run: async ({ conversations }, caller, { on, ...named }) => {
    const conv = conversationOf(caller, named)
    await conversations.set(caller.user, conv, { pinned: on })
    return { conv, pinned: on }
  }
})
