/**
 * Groups: who may change who is in them. Changes of one group run one after the other. A change of many users is made in steps, with the others'
 * messages in between.
 */
import { Refusal } from '../../errors.ts'
import type { GroupMember, GroupRow, Operation, Role } from '../../store/store.ts'
import type { Posting } from '../control-port.ts'
import type { EngineHost, Pause } from '../host.ts'
import { KeyedQueue } from '../keyed-queue.ts'
import { Admission, rest, usersOfStep } from './admission.ts'
import type { Admitted } from './admission.ts'
import type { Consents } from './consent.ts'
import { GroupChanges } from './group-changes.ts'
import type { Change } from './group-changes.ts'
import { GroupCounts } from './group-counts.ts'
import { Invitations } from './invitations.ts'
import type { Invitation } from './invitations.ts'
import { Memberships, noMember } from './memberships.ts'

/** Look-ups that run at the same time. */
const lookupWidth = 50

export class Groups {
  readonly #host: EngineHost
  readonly #memberships: Memberships
  readonly #admission: Admission
  readonly #queue = new KeyedQueue()
  readonly #invitations: Invitations
  readonly #counts: GroupCounts
  readonly #changes: GroupChanges

  constructor (host: EngineHost, consents: Consents) {
    this.#host = host
    const memberships = this.#memberships = new Memberships(host)
    const invitations = this.#invitations = new Invitations(host)
    const counts = this.#counts = new GroupCounts(host)
    this.#admission = new Admission({ memberships, consents, invitations, counts })
    this.#changes = new GroupChanges(host, counts, (user, gid) => { memberships.forget(user, gid) })
  }

  /** Another server has changed members of a group: `users`, or any of them. */
  forget (gid: string, users: readonly string[] | undefined): void {
    if (users === undefined) return this.clear()
    for (const user of users) {
      this.#memberships.forget(user, gid)
      this.#counts.forget(user)
    }
  }

  /** What is in memory may be of the past. */
  clear (): void {
    this.#memberships.clear()
    this.#counts.clear()
  }

  /** A member that is not muted may post; synchronous when the membership is in memory. */
  mayPost (user: string, gid: string): Posting | Promise<Posting> { return this.#memberships.mayPost(user, gid) }

  async isMember (user: string, gid: string): Promise<boolean> { return await this.#memberships.has(user, gid) }

  /** The group and the caller's place in it; throws `not_found` for those who are not in it. */
  async required (user: string, gid: string): Promise<{ group: GroupRow, member: GroupMember }> { return await this.#memberships.required(user, gid) }

  /** Throws `Refusal` (`conflict`, `not_found`, `too_large`). The creator is the owner. */
  create (by: string, wish: { gid: string, name: string, members: readonly string[], meta?: Record<string, unknown> }, pause?: Pause): Promise<{ group: GroupRow } & Admitted> {
    const { gid, name } = wish
    return this.#admission.prepared(by, wish.members, pause, () => this.#queue.run(gid, async () => {
      const { store } = this.#host
      if (await store.group(gid) !== undefined) throw new Refusal('conflict', `the group '${gid}' exists already`)
      const others = [...new Set(wish.members)].filter(user => user !== by)
      this.#checkSize(others.length + 1)
      await this.#checkUsers(others)
      await this.#counts.checkOwner(by)
      await this.#counts.checkMember(by)
      const group: GroupRow = { gid, name, owner: by, createdAt: this.#host.now(), ...(wish.meta === undefined ? {} : { meta: wish.meta }) }
      let isMade = false
      const admitted = await this.#admission.inSteps(by, gid, others, pause, async (added, fresh) => {
        const change = { gid, by, users: added, more: { name } }
        if (isMade) return await this.#grow(change, fresh)
        await this.#changes.commit({ ...change, action: 'create', users: [by, ...added] }, [
          { op: 'group', group },
          { op: 'member', gid, user: by, role: 'owner' },
          ...newMembers(gid, added)
        ], fresh)
        isMade = true
      })
      return { group, ...admitted }
    }))
  }

  /** Who is in it already is left out of the answer. Throws `Refusal` (`not_found`, `forbidden`, `too_large`). */
  add (by: string, gid: string, users: readonly string[], pause?: Pause): Promise<Admitted> {
    return this.#admission.prepared(by, users, pause, () => this.#queue.run(gid, async () => {
      const { group, member } = await this.required(by, gid)
      if (member.role === 'member') throw new Refusal('forbidden', 'only the owner and admins add members')
      const asked = [...new Set(users)]
      const present = await this.#look(asked, user => this.isMember(user, gid))
      const wanted = asked.filter((_, i) => present[i] === false)
      if (wanted.length === 0) return { added: [], invited: [], refused: [] }
      this.#checkSize(await this.#host.store.groupSize(gid) + wanted.length)
      await this.#checkUsers(wanted)
      return await this.#admission.inSteps(by, gid, wanted, pause, (added, fresh) => this.#grow({ gid, by, users: added, more: { name: group.name } }, fresh))
    }))
  }

  async #grow (change: Omit<Change, 'action'>, fresh: readonly string[]): Promise<void> {
    if (change.users.length > 0) await this.#changes.commit({ ...change, action: 'add' }, newMembers(change.gid, change.users), fresh)
    else if (fresh.length > 0) await this.#changes.tell({ ...change, action: 'invite', users: fresh })
  }

  /** Invitations that wait for the user, with the groups' names; not those of groups that are gone. */
  async invitations (user: string): Promise<Array<Invitation & { name: string }>> {
    const found = await this.#invitations.of(user)
    const groups = await this.#host.store.groupsAt(found.map(({ gid }) => gid))
    return found.flatMap((one, i) => groups[i] === undefined ? [] : [{ ...one, name: groups[i].name }])
  }

  /** Takes an invitation up. Throws `Refusal` (`not_found`, `too_large`). */
  accept (user: string, gid: string): Promise<void> {
    return this.#queue.run(gid, async () => {
      const invitation = await this.#invitations.get(user, gid)
      const group = invitation === undefined ? undefined : await this.#host.store.group(gid)
      if (invitation === undefined || group === undefined || !await this.#admission.mayInvite(invitation.by, gid)) {
        await this.#invitations.drop(gid, [user])
        throw new Refusal('not_found', 'there is no such invitation, or who made it may not invite any more')
      }
      if (!await this.isMember(user, gid)) {
        this.#checkSize(await this.#host.store.groupSize(gid) + 1)
        await this.#counts.checkMember(user)
        await this.#changes.commit({ gid, by: user, action: 'join', users: [user], more: { name: group.name, invitedBy: invitation.by } },
          [{ op: 'member', gid, user, role: 'member' }])
      }
      await this.#invitations.drop(gid, [user])
    })
  }

  /** Ends an invitation; nobody is told. Nothing happens when there is none. */
  refuse (user: string, gid: string): Promise<void> {
    return this.#queue.run(gid, async () => { await this.#invitations.drop(gid, [user]) })
  }

  /** Who is not in it is left out of the answer, and an invitation of theirs ends. Only the owner removes admins; nobody removes the owner. */
  remove (by: string, gid: string, users: readonly string[], pause?: Pause): Promise<string[]> {
    return this.#queue.run(gid, async () => {
      const { member } = await this.required(by, gid)
      if (member.role === 'member') throw new Refusal('forbidden', 'only the owner and admins remove members')
      const asked = [...new Set(users)]
      if (asked.includes(by)) throw new Refusal('conflict', 'use groups.leave to go yourself')
      const found = await this.#look(asked, user => this.#memberships.get(user, gid))
      const removed: string[] = []
      const strangers: string[] = []
      for (const [i, user] of asked.entries()) {
        const known = found[i]
        if (known === undefined || known === noMember) {
          strangers.push(user)
          continue
        }
        if (known.role === 'owner') throw new Refusal('forbidden', 'the owner cannot be removed')
        if (known.role === 'admin' && member.role !== 'owner') throw new Refusal('forbidden', 'only the owner removes admins')
        removed.push(user)
      }
      if (strangers.length > 0) await this.#invitations.drop(gid, strangers)
      for (let at = 0; at < removed.length; at += usersOfStep) {
        if (at > 0) await rest(pause)
        const some = removed.slice(at, at + usersOfStep)
        await this.#changes.commit({ gid, by, action: 'remove', users: some }, some.map(user => ({ op: 'member.drop', gid, user })))
      }
      return removed
    })
  }

  leave (user: string, gid: string): Promise<void> {
    return this.#queue.run(gid, async () => {
      const { member } = await this.required(user, gid)
      if (member.role === 'owner') throw new Refusal('conflict', 'the owner hands the group over (groups.role) or dissolves it')
      await this.#changes.commit({ gid, by: user, action: 'leave', users: [user] }, [{ op: 'member.drop', gid, user }])
    })
  }

  /** Only the owner gives roles; giving away `owner` makes the old owner an admin. */
  role (by: string, gid: string, user: string, role: Role): Promise<void> {
    return this.#queue.run(gid, async () => {
      const { group, member } = await this.required(by, gid)
      if (member.role !== 'owner') throw new Refusal('forbidden', 'only the owner gives roles')
      const target = await this.#memberships.get(user, gid)
      if (target === noMember) throw new Refusal('not_found', `'${user}' is not in this group`)
      if (target.role === role) return
      if (user === by) throw new Refusal('conflict', 'the owner hands the group over by giving the role owner to another member')
      if (role === 'owner') await this.#counts.checkOwner(user)
      const operations: Operation[] = [memberRow(gid, target, role)]
      if (role === 'owner') operations.push(memberRow(gid, member, 'admin'), { op: 'group', group: { ...group, owner: user } })
      await this.#changes.commit({ gid, by, action: 'role', users: role === 'owner' ? [user, by] : [user], more: { role } }, operations)
    })
  }

  /** Ends the group; its members hear of it first, so that a crash in between loses nobody's event. */
  dissolve (by: string, gid: string, pause?: Pause): Promise<void> {
    return this.#queue.run(gid, async () => {
      const { member } = await this.required(by, gid)
      if (member.role !== 'owner') throw new Refusal('forbidden', 'only the owner dissolves the group')
      for await (const page of this.#pages(gid)) {
        await this.#changes.tell({ gid, by, action: 'dissolve', users: page.map(one => one.user) })
        if (page.length === usersOfStep) await rest(pause)
      }
      try {
        await this.#host.commit([{ op: 'group.drop', gid }])
      } finally {
        this.clear()
      }
    })
  }

  async * #pages (gid: string): AsyncGenerator<GroupMember[]> {
    let after: string | undefined
    do {
      const page: GroupMember[] = await this.#host.store.groupMembers(gid, { limit: usersOfStep, ...(after === undefined ? {} : { after }) })
      if (page.length > 0) yield page
      after = page.length < usersOfStep ? undefined : page.at(-1)?.user
    } while (after !== undefined)
  }

  #checkSize (size: number): void {
    const { maxGroupMembers } = this.#host.limits
    if (size > maxGroupMembers) throw new Refusal('too_large', `a group has at most ${maxGroupMembers} members`)
  }

  async #checkUsers (users: readonly string[]): Promise<void> {
    const exist = await this.#look(users, user => this.#host.userExists(user))
    const missing = exist.indexOf(false)
    if (missing >= 0) throw new Refusal('not_found', `there is no user '${users[missing]}'`)
  }

  async #look<Result> (users: readonly string[], one: (user: string) => Result | Promise<Result>): Promise<Result[]> {
    const results: Result[] = []
    for (let at = 0; at < users.length; at += lookupWidth) {
      results.push(...await Promise.all(users.slice(at, at + lookupWidth).map(user => one(user))))
    }
    return results
  }
}

function memberRow (gid: string, member: GroupMember, role: Role): Operation {
  const { user, mutedUntil } = member
  return { op: 'member', gid, user, role, ...(mutedUntil === undefined ? {} : { mutedUntil }) }
}

function newMembers (gid: string, users: readonly string[]): Operation[] { return users.map(user => ({ op: 'member', gid, user, role: 'member' })) }
