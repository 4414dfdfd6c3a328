/** The operations on groups of one commit. */
import { groupId } from '../../topics.ts'
import type { DropGroup, DropMember, GroupMember, Member, PutGroup, PutMember } from '../store.ts'
import type { Batch } from './batch.ts'
import type { Database } from './database.ts'
import { key, parts, lastNumber, lastPart, under } from './keys.ts'
import type { Draft } from './tables.ts'

type GroupOperation = PutGroup | DropGroup | PutMember | DropMember

export class GroupChanges {
  readonly #db: Database
  readonly #draft: Draft
  /** Groups that are removed, and users that leave (`user conv` keys). */
  readonly #dropped = new Set<string>()
  readonly #leaving: Array<{ user: string, conv: string }> = []
  /** Numbers of hidden messages by `x user conv`. */
  readonly #hidden = new Map<string, Array<{ user: string, seq: number }>>()

  constructor (db: Database, draft: Draft) {
    this.#db = db
    this.#draft = draft
  }

  want (op: GroupOperation): void {
    const draft = this.#draft
    if (op.op === 'group') return
    draft.want(draft.groupSizes, key.groupSize(op.gid))
    draft.want(draft.heads, key.head(groupId(op.gid)))
    if (op.op === 'group.drop') {
      this.#dropped.add(op.gid)
      return
    }
    draft.want(draft.groupMembers, key.groupMember(op.gid, op.user))
    draft.want(draft.members, key.member(op.user, groupId(op.gid)))
    if (op.op === 'member.drop') this.#leaving.push({ user: op.user, conv: groupId(op.gid) })
  }

  /** Reads what is found by ranges: members of removed groups, and what was hidden. */
  async load (): Promise<void> {
    for (const gid of this.#dropped) {
      for await (const rows of this.#db.scan(under(key.groupMembers(gid)))) {
        for (const [name, text] of rows) {
          if (!this.#draft.groupMembers.recall(name)) this.#draft.groupMembers.load(name, text)
        }
      }
      const hidden: Array<{ user: string, seq: number }> = []
      for await (const rows of this.#db.scan(under(key.hiders(groupId(gid))))) {
        for (const [name] of rows) {
          const seq = parts(name)[2] as string
          hidden.push({ user: lastPart(name), seq: lastNumber(seq) })
        }
      }
      this.#hidden.set(groupId(gid), hidden)
    }
    for (const { user, conv } of this.#leaving) {
      const start = key.hiddenOf(user, conv)
      const rows = await this.#db.rows(under(start))
      this.#hidden.set(start, rows.map(([name]) => ({ user, seq: lastNumber(name) })))
    }
  }

  apply (batch: Batch, op: GroupOperation): void {
    if (op.op === 'group') batch.put(key.group(op.group.gid), JSON.stringify(op.group))
    else if (op.op === 'group.drop') this.#dropGroup(batch, op.gid)
    else if (op.op === 'member') this.#putMember(op)
    else this.#dropMember(batch, op)
  }

  #putMember (op: PutMember): void {
    const { heads, members, groupMembers, groupSizes } = this.#draft
    const conv = groupId(op.gid)
    const groupSide = key.groupMember(op.gid, op.user)
    const userSide = key.member(op.user, conv)
    const muted = op.mutedUntil === undefined ? {} : { mutedUntil: op.mutedUntil }
    const present = groupMembers.get(groupSide) !== null ? members.get(userSide) : null
    const row: GroupMember = { user: op.user, role: op.role, ...muted }
    if (present !== null) {
      const { mutedUntil, ...kept } = present
      members.set(userSide, { ...kept, role: op.role, ...muted })
    } else {
      const head = heads.get(key.head(conv))
      const seq = head?.seq ?? 0
      const member: Member = {
        user: op.user,
        conv,
        joinedSeq: seq,
        clearedSeq: 0,
        readSeq: seq,
        readN: head?.n ?? 0,
        deliveredSeq: seq,
        hiddenUnread: 0,
        muted: false,
        pinned: false,
        role: op.role,
        ...muted
      }
      members.set(userSide, member)
      const sizeKey = key.groupSize(op.gid)
      groupSizes.set(sizeKey, { count: (groupSizes.get(sizeKey)?.count ?? 0) + 1 })
    }
    groupMembers.set(groupSide, row)
  }

  #dropMember (batch: Batch, op: DropMember): void {
    const { members, groupMembers, groupSizes } = this.#draft
    const conv = groupId(op.gid)
    const groupSide = key.groupMember(op.gid, op.user)
    if (groupMembers.get(groupSide) === null) return
    groupMembers.set(groupSide, null)
    members.set(key.member(op.user, conv), null)
    const sizeKey = key.groupSize(op.gid)
    groupSizes.set(sizeKey, { count: Math.max(0, (groupSizes.get(sizeKey)?.count ?? 0) - 1) })
    this.#dropHidden(batch, conv, this.#hidden.get(key.hiddenOf(op.user, conv)))
  }

  #dropGroup (batch: Batch, gid: string): void {
    const { heads, members, groupMembers, groupSizes } = this.#draft
    const conv = groupId(gid)
    batch.del(key.group(gid))
    const start = key.groupMember(gid, '')
    for (const [name, row] of [...groupMembers.entries()]) {
      if (row === null || !name.startsWith(start)) continue
      groupMembers.set(name, null)
      members.set(key.member(row.user, conv), null)
    }
    groupSizes.set(key.groupSize(gid), null)
    this.#dropHidden(batch, conv, this.#hidden.get(conv))
    const head = heads.edit(key.head(conv))
    if (head === null || head.seq === head.purgedSeq) return
    // The head stays: a later group of this id goes on counting and sees nothing older. The purge removes the rows.
    head.purgedSeq = head.seq
    head.purgedN = head.n
    batch.put(key.oldest(0, conv), '1')
  }

  #dropHidden (batch: Batch, conv: string, hidden: Array<{ user: string, seq: number }> = []): void {
    for (const { user, seq } of hidden) {
      batch.del(key.hidden(user, conv, seq))
      batch.del(key.hider(conv, seq, user))
    }
  }
}
