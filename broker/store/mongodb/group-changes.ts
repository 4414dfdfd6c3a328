/**
 * The operations on groups. What gives access comes last when it is made and goes first when it is taken: members before
 * the group, and on removal the log's mark, the members, the group, its owners.
 */
import type { AnyBulkWriteOperation } from 'mongodb'
import { groupId } from '../../topics.ts'
import { Lru } from '../cache/lru.ts'
import type { DropGroup, DropMember, Member, PutGroup, PutMember } from '../store.ts'
import type { Connection } from './connection.ts'
import { whole } from './connection.ts'
import { emptyHead, groupDoc, memberDoc, memberKey, newMember, place } from './documents.ts'
import type { HeadRow, MemberDoc, RowDoc } from './documents.ts'
import { duplicates } from './failure.ts'
import { headUpdate } from './derived-writes.ts'
import { memberAt, pieces } from './rows.ts'
import type { Rows, View } from './rows.ts'

export type GroupOperation = PutGroup | DropGroup | PutMember | DropMember

const rowsOfWrite = 1000

export class GroupChanges {
  /** Numbers of members. */
  readonly sizes: Lru<number>
  /** Grows with each change of a number. */
  changes = 0
  readonly #db: Connection
  readonly #rows: Rows

  constructor (db: Connection, rows: Rows, cacheSize: number) {
    this.#db = db
    this.#rows = rows
    this.sizes = new Lru(cacheSize)
  }

  /** Applies changes in their order. Inside `exclusive`. */
  async apply (ops: readonly GroupOperation[]): Promise<void> {
    let run: Array<PutGroup | PutMember | DropMember> = []
    for (const op of ops) {
      if (op.op !== 'group.drop') {
        run.push(op)
        continue
      }
      await this.#put(run)
      run = []
      await this.#drop(op.gid)
    }
    await this.#put(run)
  }

  async #put (ops: ReadonlyArray<PutGroup | PutMember | DropMember>): Promise<void> {
    const changes = ops.filter(op => op.op !== 'group')
    if (changes.length > 0) {
      const convs = [...new Set(changes.map(op => groupId(op.gid)))]
      const members = changes.map(op => ({ user: op.user, conv: groupId(op.gid) }))
      const view = await this.#rows.load(convs, members)
      const before = new Map(view.members)
      const replaced = new Set<string>()
      for (const op of changes) change(view, op, replaced)
      try {
        await this.#db.fault('group members')
        await this.#write(before, view.members, replaced)
      } catch (error) {
        this.#rows.forget([], view.members.keys())
        this.#forgetSizes(changes)
        throw error
      }
      this.#rows.settle([], view.members)
      this.#forgetSizes(changes)
    }
    const groups = new Map(ops.flatMap(op => op.op === 'group' ? [[op.group.gid, op.group] as const] : []))
    if (groups.size === 0) return
    await this.#db.fault('groups')
    await this.#db.bulk(this.#db.groups, [...groups.values()].map(group => {
      const { _id, ...replacement } = groupDoc(group)
      return { replaceOne: { filter: { _id }, replacement, upsert: true } }
    }), { ordered: false })
  }

  async #write (before: ReadonlyMap<string, Member | null>, after: ReadonlyMap<string, Member | null>, replaced: ReadonlySet<string>): Promise<void> {
    const added: MemberDoc[] = []
    const changed: Array<AnyBulkWriteOperation<RowDoc>> = []
    const gone: Member[] = []
    for (const [key, row] of after) {
      const old = before.get(key) ?? null
      if (row === old) continue
      if (row === null) gone.push(old as Member)
      else if (old === null) added.push(memberDoc(row))
      else if (replaced.has(key)) changed.push(replace(memberDoc(row)))
      else changed.push({ updateOne: { filter: { _id: memberKey(row.user, row.conv) }, update: roleUpdate(row) } })
    }
    // Who is removed must not read on, whatever fails behind it.
    for (const some of pieces(gone, rowsOfWrite)) {
      await this.#db.rows.deleteMany({ _id: { $in: some.map(({ user, conv }) => memberKey(user, conv)) } })
    }
    if (added.length > 0) changed.push(...await this.#insert(added))
    if (changed.length > 0) await this.#db.bulk(this.#db.rows, changed, { ordered: false })
    // What they hid: rows that were left by a crash lie before the place where they would join again, and count for nothing.
    const left = [...gone, ...[...replaced].map(key => after.get(key)).filter(row => row != null)]
    for (const some of pieces(left, 200)) await this.#db.hidden.deleteMany({ $or: some.map(({ user, conv }) => ({ u: user, c: conv })) })
  }

  /** New rows; resolves to the writes for those that were there after all. */
  async #insert (docs: MemberDoc[]): Promise<Array<AnyBulkWriteOperation<RowDoc>>> {
    try {
      await this.#db.rows.insertMany(docs, { ordered: false })
      return []
    } catch (error) {
      const present = duplicates(error)
      if (present === undefined) throw error
      return [...present].map(i => replace(docs[i] as MemberDoc))
    }
  }

  async #drop (gid: string): Promise<void> {
    const conv = groupId(gid)
    const view = await this.#rows.load([conv], [])
    const head: HeadRow = { ...view.heads.get(conv) ?? emptyHead() }
    const logged = head.seq > head.purgedSeq
    const users = await this.#db.rows.find({ c: conv }, whole).project<{ u: string }>({ _id: 0, u: 1 }).toArray()
    const keys = users.map(({ u }) => memberAt(u, conv))
    try {
      await this.#db.fault('group drop')
      if (logged) {
        // The head stays: a later group of this id goes on counting and sees nothing older. The purge removes the rows.
        head.purgedSeq = head.seq
        head.purgedN = head.n
        head.oldest = 0
        await this.#db.rows.updateOne({ _id: place(conv) }, headUpdate(head), { upsert: true })
      }
      await this.#db.rows.deleteMany({ c: conv, role: { $ne: 'owner' } })
      await this.#db.hidden.deleteMany({ c: conv })
      await this.#db.groups.deleteOne({ _id: gid })
      await this.#db.rows.deleteMany({ c: conv })
    } catch (error) {
      this.#rows.forget([conv], keys)
      this.#sizeChanged(gid)
      throw error
    }
    this.#rows.settle(logged ? [[conv, head]] : [], keys.map(key => [key, null]))
    this.#sizeChanged(gid)
  }

  /** Another process has changed these groups (all: when absent), by their conversations. */
  forgetSizes (convs?: Iterable<string>): void {
    this.changes++
    if (convs === undefined) this.sizes.clear()
    else for (const conv of convs) this.sizes.delete(conv.slice(2))
  }

  #forgetSizes (ops: ReadonlyArray<{ gid: string }>): void { for (const gid of new Set(ops.map(op => op.gid))) this.#sizeChanged(gid) }

  #sizeChanged (gid: string): void {
    this.changes++
    this.sizes.delete(gid)
  }
}

function change (view: View, op: PutMember | DropMember, replaced: Set<string>): void {
  const conv = groupId(op.gid)
  const key = memberAt(op.user, conv)
  const present = view.members.get(key) ?? null
  if (op.op === 'member.drop') {
    if (present !== null) replaced.add(key)
    view.members.set(key, null)
    return
  }
  const muted = op.mutedUntil === undefined ? {} : { mutedUntil: op.mutedUntil }
  if (present !== null) {
    const { mutedUntil, ...kept } = present
    view.members.set(key, { ...kept, role: op.role, ...muted })
    return
  }
  const head = view.heads.get(conv)
  const seq = head?.seq ?? 0
  view.members.set(key, { ...newMember(op.user, conv), joinedSeq: seq, readSeq: seq, readN: head?.n ?? 0, deliveredSeq: seq, role: op.role, ...muted })
}

function roleUpdate (row: Member): { $set: Partial<MemberDoc>, $unset?: { mutedUntil: '' } } {
  if (row.mutedUntil === undefined) return { $set: { role: row.role as NonNullable<Member['role']> }, $unset: { mutedUntil: '' } }
  return { $set: { role: row.role as NonNullable<Member['role']>, mutedUntil: row.mutedUntil } }
}

function replace ({ _id, ...replacement }: MemberDoc): AnyBulkWriteOperation<RowDoc> {
  return { replaceOne: { filter: { _id }, replacement: replacement as MemberDoc, upsert: true } }
}
