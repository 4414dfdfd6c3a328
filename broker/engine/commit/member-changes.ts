/** Works out which members a commit really adds and removes, for the outputs: from the rows before it and its operations. */
import type { Operation, Outcome, Store } from '../../store/store.ts'
import { groupId } from '../../topics.ts'
import type { Output } from '../../link/port.ts'

type MembersOutput = Extract<Output, { kind: 'members' }>

/** True for operations that change who is a member. */
export function changesMembers (operation: Operation): boolean {
  return operation.op === 'member' || removesMembers(operation)
}

/** True for operations after which somebody may no longer post. */
export function removesMembers (operation: Operation): boolean {
  return operation.op === 'member.drop' || operation.op === 'group.drop'
}

/** The membership changes of one commit. Made before it, asked after it. */
export class MemberChanges {
  /** By group: the head of its log, and those of the concerned users that are members. */
  readonly #groups = new Map<string, { head: number, members: Set<string> }>()
  readonly #heads = new Map<string, { head: number }>()

  /** Reads the rows that `operations` are about to change. Must run right before they are committed. */
  static async read (store: Store, operations: readonly Operation[]): Promise<MemberChanges> {
    const changes = new MemberChanges()
    const asked = new Map<string, Set<string> | 'all'>()
    for (const operation of operations) {
      if (operation.op === 'group.drop') asked.set(operation.gid, 'all')
      if (operation.op !== 'member' && operation.op !== 'member.drop') continue
      const users = asked.get(operation.gid)
      if (users === undefined) asked.set(operation.gid, new Set([operation.user]))
      else if (users !== 'all') users.add(operation.user)
    }
    const gids = [...asked.keys()]
    const heads = await store.heads(gids.map(groupId))
    for (const [at, gid] of gids.entries()) {
      const group = { head: heads[at]?.seq ?? 0, members: await membersOf(store, gid, asked.get(gid) ?? 'all') }
      changes.#groups.set(gid, group)
      changes.#heads.set(groupId(gid), group)
    }
    return changes
  }

  /** To be called for each operation of the commit, in order. What it changed for the members, if anything. */
  apply (operation: Operation, outcome: Outcome): MembersOutput | undefined {
    if (operation.op === 'message') {
      const group = this.#heads.get(operation.conv)
      if (group !== undefined && !outcome.replay) group.head = outcome.seq
      return undefined
    }
    if (!('gid' in operation)) return undefined
    const { gid } = operation
    const group = this.#groups.get(gid)
    if (group === undefined) return undefined
    if (operation.op === 'group.drop') {
      const removed = [...group.members]
      group.members.clear()
      return removed.length === 0 ? undefined : { kind: 'members', gid, added: [], removed }
    }
    if (operation.op === 'member.drop') {
      return group.members.delete(operation.user) ? { kind: 'members', gid, added: [], removed: [operation.user] } : undefined
    }
    // Adding a member again changes the role only.
    if (group.members.has(operation.user)) return undefined
    group.members.add(operation.user)
    return { kind: 'members', gid, added: [{ user: operation.user, joinedSeq: group.head }], removed: [] }
  }
}

/** Appends, and joins neighbours of one group: a group of 10,000 members comes as one output. */
export function pushMembers (outputs: Output[], change: MembersOutput): void {
  const last = outputs.at(-1)
  // Removals stand for the end: what is removed after an addition in one output must not be read as the other way round.
  if (last?.kind === 'members' && last.gid === change.gid && (last.removed.length > 0) === (change.removed.length > 0)) {
    last.added.push(...change.added)
    for (const user of change.removed) last.removed.push(user)
  } else {
    outputs.push(change)
  }
}

async function membersOf (store: Store, gid: string, users: Set<string> | 'all'): Promise<Set<string>> {
  const members = new Set<string>()
  if (await store.group(gid) === undefined) return members
  if (users === 'all') {
    let after: string | undefined
    for (;;) {
      const page = await store.groupMembers(gid, { limit: pageSize, ...(after !== undefined && { after }) })
      for (const { user } of page) members.add(user)
      if (page.length < pageSize) return members
      after = page.at(-1)?.user
    }
  }
  const list = [...users]
  for (let at = 0; at < list.length; at += pageSize) {
    const some = list.slice(at, at + pageSize)
    const rows = await Promise.all(some.map(user => store.groupMember(gid, user)))
    some.forEach((user, i) => { if (rows[i] !== undefined) members.add(user) })
  }
  return members
}

const pageSize = 500
