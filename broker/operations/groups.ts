/** `groups.*`: groups as a whole. */
import { randomBytes } from 'node:crypto'
import { z } from 'zod'
import { groupId } from '../topics.ts'
import { after, id, ids, limit, maxUsers, meta, name, worthOf } from './fields.ts'
import { request } from './operation.ts'
import { admitted, count, roles } from './results.ts'

export const groupsCreate = request({
  name: 'groups.create',
  text: 'of the members who is in, who was asked, and who not, see "Who may add whom"',
  permission: 'user',
  rate: 'heavy',
  http: ['POST /v1/groups'],
  query: false,
  params: () => z.object({ gid: id().optional(), name: name().optional(), members: ids().optional(), meta: meta().optional() }),
  result: () => z.strictObject({ gid: z.string(), conv: z.string(), name: z.string(), owner: z.string(), createdAt: z.number(), size: count(), ...admitted() }),
  worth: ({ members = [] }) => worthOf(members),
  run: async ({ groups }, caller, { gid = randomBytes(8).toString('hex'), name = gid, members = [], meta }) => {
    const { group, added, invited, refused } = await groups.create(caller.user, { gid, name, members, ...(meta !== undefined && { meta }) }, caller.pause)
    return { gid, conv: groupId(gid), name, owner: group.owner, createdAt: group.createdAt, size: added.length + 1, added, invited, refused }
  }
})

export const groupsInfo = request({
  name: 'groups.info',
  text: 'a group that you are in, and its members by name; `role` is yours',
  permission: 'user',
  rate: 'plain',
  http: ['GET /v1/groups/{gid}'],
  query: true,
  params: () => z.object({ gid: id(), limit: limit(100, maxUsers), after: after() }),
  result: () => z.strictObject({
    gid: z.string(),
    name: z.string(),
    owner: z.string(),
    createdAt: z.number(),
    meta: z.record(z.string(), z.unknown()).meta({ title: 'meta' }).optional(),
    conv: z.string(),
    size: count(),
    role: roles(),
    members: z.array(z.strictObject({ user: z.string(), role: roles(), mutedUntil: z.number().optional() })),
    next: z.string().optional()
  }),
  run: async ({ groupViews }, { user }, { gid, ...page }) => ({ ...await groupViews.info(gid, { user, ...page }), conv: groupId(gid) })
})

export const groupsList = request({
  name: 'groups.list',
  text: 'the groups that you are in',
  permission: 'user',
  rate: 'plain',
  http: ['GET /v1/groups'],
  query: true,
  params: () => z.object({ limit: limit(100, 500), after: after() }),
  result: () => z.strictObject({
    groups: z.array(z.strictObject({ gid: z.string(), conv: z.string(), name: z.string(), owner: z.string().optional(), role: roles(), size: count() })),
    next: z.string().optional()
  }),
  run: async ({ groupViews }, { user }, page) => {
    const { groups, ...rest } = await groupViews.list({ user, ...page })
    return { groups: groups.map(group => ({ ...group, conv: groupId(group.gid) })), ...rest }
  }
})

export const groupsLeave = request({
  name: 'groups.leave',
  text: 'you are out of the group, and its messages end for you',
  permission: 'user',
  rate: 'plain',
  http: ['POST /v1/groups/{gid}/leave'],
  query: false,
  params: () => z.object({ gid: id() }),
  result: () => z.strictObject({ gid: z.string() }),
  run: async ({ groups }, { user }, { gid }) => {
    await groups.leave(user, gid)
    return { gid }
  }
})

export const groupsDissolve = request({
  name: 'groups.dissolve',
  text: 'the group ends for everybody',
  permission: 'user',
  rate: 'heavy',
  http: ['DELETE /v1/groups/{gid}'],
  query: false,
  params: () => z.object({ gid: id() }),
  result: () => z.strictObject({ gid: z.string() }),
  run: async ({ groups }, { user, pause }, { gid }) => {
    await groups.dissolve(user, gid, pause)
    return { gid }
  }
})
