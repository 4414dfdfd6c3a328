/** `groups.*`. */
import { randomBytes } from 'node:crypto'
import { groupId } from '../../topics.ts'
import { consents } from './consent.ts'
import type { Caller } from '../host.ts'
import type { Methods, Parts } from '../requests/methods.ts'
import * as read from '../requests/params.ts'

/** `members` as in `groups.create` is understood as well. */
const users = (params: read.Params): readonly string[] => read.ids(params, Object.hasOwn(params, 'members') ? 'members' : 'users')

/** Users that are worth one more large request. */
const chargedUsers = 100

function charge (caller: Caller, named: readonly string[]): readonly string[] {
  if (named.length >= chargedUsers) caller.charge?.(Math.floor(named.length / chargedUsers))
  return named
}

const roles = ['owner', 'admin', 'member'] as const

export function groupMethods ({ groups, consents: settings }: Parts): Methods {
  return [
    ['groups.create', async (_host, caller, params) => {
      const gid = read.optionalId(params, 'gid') ?? randomBytes(8).toString('hex')
      const name = read.optionalName(params, 'name') ?? gid
      const members = read.ids(params, 'members', [])
      charge(caller, members)
      const { group, added, invited, refused } = await groups.create(caller.user, { gid, name, members, ...read.optionalMeta(params) }, caller.pause)
      return { gid, conv: groupId(gid), name, owner: group.owner, createdAt: group.createdAt, size: added.length + 1, added, invited, refused }
    }],
    ['groups.info', async (host, caller, params) => {
      const gid = read.id(params, 'gid')
      const limit = read.limit(params, 100, read.maxUsers)
      const page = read.after(params)
      const { group, member } = await groups.required(caller.user, gid)
      const [size, members] = await Promise.all([host.store.groupSize(gid), host.store.groupMembers(gid, { limit, ...page })])
      const next = members.length >= limit ? members.at(-1)?.user : undefined
      return { ...group, conv: groupId(gid), size, role: member.role, members, ...(next === undefined ? {} : { next }) }
    }],
    ['groups.list', async (host, caller, params) => {
      const limit = read.limit(params, 100, 500)
      const { after } = read.after(params)
      const rows = await host.store.memberships(caller.user, { kind: 'g', limit, ...(after === undefined ? {} : { after: groupId(after) }) })
      const gids = rows.map(row => row.conv.slice(2))
      const groupRows = await host.store.groupsAt(gids)
      const sizes = await Promise.all(gids.map(gid => host.store.groupSize(gid)))
      const found = rows.map((row, i) => {
        const [gid, group] = [gids[i] as string, groupRows[i]]
        return { gid, conv: row.conv, name: group?.name ?? gid, owner: group?.owner, role: row.role, size: sizes[i] }
      })
      const next = rows.length >= limit ? rows.at(-1)?.conv.slice(2) : undefined
      return { groups: found, ...(next === undefined ? {} : { next }) }
    }],
    ['groups.add', (_host, caller, params) => groups.add(caller.user, read.id(params, 'gid'), charge(caller, users(params)), caller.pause)],
    ['groups.remove', async (_host, caller, params) => ({ removed: await groups.remove(caller.user, read.id(params, 'gid'), charge(caller, users(params)), caller.pause) })],
    ['groups.invitations', async (_host, caller) => ({ invitations: await groups.invitations(caller.user) })],
    ['groups.accept', async (_host, caller, params) => {
      const gid = read.id(params, 'gid')
      await groups.accept(caller.user, gid)
      return { gid, conv: groupId(gid) }
    }],
    ['groups.refuse', async (_host, caller, params) => {
      const gid = read.id(params, 'gid')
      await groups.refuse(caller.user, gid)
      return { gid }
    }],
    ['groups.consent', async (_host, caller, params) => {
      if (!Object.hasOwn(params, 'consent')) return { consent: await settings.of(caller.user) }
      const consent = read.oneOf(params, 'consent', [...consents, 'default'] as const)
      return { consent: await settings.set(caller.user, consent === 'default' ? undefined : consent) }
    }],
    ['groups.leave', async (_host, caller, params) => {
      const gid = read.id(params, 'gid')
      await groups.leave(caller.user, gid)
      return { gid }
    }],
    ['groups.dissolve', async (_host, caller, params) => {
      const gid = read.id(params, 'gid')
      await groups.dissolve(caller.user, gid, caller.pause)
      return { gid }
    }],
    ['groups.role', async (_host, caller, params) => {
      const gid = read.id(params, 'gid')
      const user = read.id(params, 'user')
      const role = read.oneOf(params, 'role', roles)
      await groups.role(caller.user, gid, user, role)
      return { gid, user, role }
    }]
  ]
}
