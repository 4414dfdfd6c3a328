/** `groups.*`: who is in a group, and as what. */
import { z } from 'zod'
import { groupId } from '../topics.ts'
import { id, ids, needsOne, oneOf, worthOf } from './fields.ts'
import { request } from './operation.ts'
import { admitted, listed, roles } from './results.ts'

/** `members` as in `groups.create` is understood as well. */
const ofUsers = () => needsOne(z.object({ gid: id(), users: ids().optional(), members: ids().optional() }), 'users', ['members'])

function usersOf ({ users = [], members = users }: z.output<ReturnType<typeof ofUsers>>): string[] { return members }

export const groupsAdd = request({
  name: 'groups.add',
  text: 'as for `groups.create`; who was in it already is in none',
  permission: 'user',
  rate: 'heavy',
  http: ['POST /v1/groups/{gid}/members'],
  query: false,
  params: ofUsers,
  result: () => z.strictObject({ ...admitted() }),
  worth: params => worthOf(usersOf(params)),
  run: ({ groups }, caller, params) => groups.add(caller.user, params.gid, usersOf(params), caller.pause)
})

export const groupsRemove = request({
  name: 'groups.remove',
  text: 'those that were in it; an open invitation of one of them ends',
  permission: 'user',
  rate: 'heavy',
  http: ['POST /v1/groups/{gid}/members/remove'],
  query: false,
  params: ofUsers,
  result: () => z.strictObject({ removed: listed('user') }),
  worth: params => worthOf(usersOf(params)),
  run: async ({ groups }, caller, params) => ({ removed: await groups.remove(caller.user, params.gid, usersOf(params), caller.pause) })
})

export const groupsRole = request({
  name: 'groups.role',
  text: 'what a member may do; who gives `owner` away is an admin then',
  permission: 'user',
  rate: 'plain',
  http: ['PUT /v1/groups/{gid}/members/{user}/role'],
  query: false,
  params: () => z.object({ gid: id(), user: id(), role: oneOf(['owner', 'admin', 'member']) }),
  result: () => z.strictObject({ gid: z.string(), user: z.string(), role: roles() }),
  run: async ({ groups }, caller, { gid, user, role }) => {
    await groups.role(caller.user, gid, user, role)
    return { gid, user, role }
  }
})

export const groupsInvitations = request({
  name: 'groups.invitations',
  text: 'those that wait for you',
  permission: 'user',
  rate: 'plain',
  http: ['GET /v1/invitations'],
  query: true,
  params: () => z.object({}),
  result: () => z.strictObject({ invitations: z.array(z.strictObject({ gid: z.string(), name: z.string(), by: z.string(), ts: z.number() })) }),
  run: async ({ groups }, { user }) => ({ invitations: await groups.invitations(user) })
})

export const groupsAccept = request({
  name: 'groups.accept',
  text: 'you are in the group that you were invited to',
  permission: 'user',
  rate: 'plain',
  http: ['POST /v1/invitations/{gid}/accept'],
  query: false,
  params: () => z.object({ gid: id() }),
  result: () => z.strictObject({ gid: z.string(), conv: z.string() }),
  run: async ({ groups }, { user }, { gid }) => {
    await groups.accept(user, gid)
    return { gid, conv: groupId(gid) }
  }
})

export const groupsRefuse = request({
  name: 'groups.refuse',
  text: 'the invitation ends; nobody is told',
  permission: 'user',
  rate: 'plain',
  http: ['POST /v1/invitations/{gid}/refuse'],
  query: false,
  params: () => z.object({ gid: id() }),
  result: () => z.strictObject({ gid: z.string() }),
  run: async ({ groups }, { user }, { gid }) => {
    await groups.refuse(user, gid)
    return { gid }
  }
})

export const groupsConsent = request({
  name: 'groups.consent',
  text: 'who may add you to groups; without `consent` what it is',
  permission: 'user',
  rate: 'plain',
  http: ['GET /v1/consent', 'PUT /v1/consent'],
  query: false,
  params: () => z.object({ consent: oneOf(['everybody', 'known', 'nobody', 'default']).optional() }),
  result: () => z.strictObject({ consent: z.enum(['everybody', 'known', 'nobody']) }),
  run: async ({ consents }, { user }, { consent }) => {
    if (consent === undefined) return { consent: await consents.of(user) }
    return { consent: await consents.set(user, consent === 'default' ? undefined : consent) }
  }
})
