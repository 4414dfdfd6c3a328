/** Members' rows: watermarks, settings, and what each user hid for themself. */
import type { AnyBulkWriteOperation, Filter, UpdateOneModel } from 'mongodb'
import type { Conversation, Marks, Member, Moved, Page } from '../store.ts'
import type { Connection } from './connection.ts'
import { quick, whole } from './connection.ts'
import { emptyHead, hiddenKey, memberKey, place, shown, shownHead } from './documents.ts'
import type { HeadRow, MemberDoc, MessageDoc, RowDoc } from './documents.ts'
import { duplicates } from './failure.ts'
import { countHidden, moveMarks, recount, unmoved } from './hidden-counts.ts'
import { idsOfQuery, memberAt, pieces } from './rows.ts'
import type { MemberAt, Rows, View } from './rows.ts'

const pairsOfQuery = 200

/** What became of members' rows, by `memberAt`. */
type MovedRows = Map<string, { read: boolean, delivered: boolean }>

export class Members {
  readonly #db: Connection
  readonly #rows: Rows

  constructor (db: Connection, rows: Rows) {
    this.#db = db
    this.#rows = rows
  }

  async member (user: string, conv: string): Promise<Member | undefined> {
    const view = await this.#rows.read([conv], [{ user, conv }])
    const row = alive(view, user, conv)
    return row === null ? undefined : shown(row, view.heads.get(conv) ?? null)
  }

  async membersAt (at: readonly MemberAt[]): Promise<Array<Member | undefined>> {
    const view = await this.#rows.read(at.map(({ conv }) => conv), at)
    return at.map(({ user, conv }) => {
      const row = alive(view, user, conv)
      return row === null ? undefined : shown(row, view.heads.get(conv) ?? null)
    })
  }

  async memberships (user: string, page: Page & { kind?: 'd' | 'g' }): Promise<Member[]> {
    return (await this.conversations(user, page)).map(({ member }) => member)
  }

  async conversations (user: string, page: Page & { kind?: 'd' | 'g' }): Promise<Conversation[]> {
    const start = memberKey(user, '')
    const kind = page.kind === undefined ? { gt: start, lt: start.slice(0, -1) + '!' } : { gt: `${start}${page.kind}:`, lt: `${start}${page.kind};` }
    const found: Conversation[] = []
    let after = start + (page.after ?? '')
    if (after < kind.gt) after = kind.gt
    while (found.length < page.limit && after < kind.lt) {
      const limit = page.limit - found.length
      const { docs, rows, heads } = await this.#list({ _id: { $gt: after, $lt: kind.lt } }, limit)
      for (const row of rows) {
        const head = heads.get(row.conv) ?? null
        if (row.conv.startsWith('g:') || (head?.seq ?? 0) > 0) found.push({ member: shown(row, head), head: shownHead(head ?? emptyHead()) })
      }
      const last = docs.at(-1)
      if (last === undefined || docs.length < limit) break
      after = last._id
    }
    return found
  }

  /** Rows with the heads of their conversations; read again when those had to be repaired. */
  async #list (filter: Filter<RowDoc>, limit: number): Promise<{ docs: MemberDoc[], rows: Member[], heads: ReadonlyMap<string, HeadRow | null> }> {
    for (;;) {
      const { repairs } = this.#rows
      const docs = (await this.#db.rows.find(filter, whole).sort({ _id: 1 }).limit(limit).toArray()) as MemberDoc[]
      const rows = await this.#rows.toMembers(docs)
      // Of what another process writes the row is read with the head: it may be behind it.
      const foreign = docs.filter(doc => !this.#rows.owns(doc.c)).map(doc => ({ user: doc.u, conv: doc.c }))
      const { heads, members } = await this.#rows.read(docs.map(doc => doc.c), foreign)
      if (repairs === this.#rows.repairs) return { docs, rows: foreign.length === 0 ? rows : rows.map(row => members.get(memberAt(row.user, row.conv)) ?? row), heads }
    }
  }

  /** Watermarks forward; the last second of them may be lost with the server. Inside `exclusive`. */
  async advance (marks: Marks): Promise<Moved> {
    const { members, heads } = await this.#marked(marks.members)
    const moved: MovedRows = new Map()
    const changed = new Map<string, Member>()
    for (const mark of marks.members) {
      const key = memberAt(mark.user, mark.conv)
      move(key, mark, changed.get(key) ?? members.get(key) ?? null, heads.get(mark.conv) ?? null, changed, moved)
    }
    if (changed.size === 0) return []
    await this.#numberRead([...changed].filter(([key]) => moved.get(key)?.read === true).map(([, row]) => row), heads)
    const operations = [...changed].map(([key, row]): AnyBulkWriteOperation<RowDoc> => {
      const old = members.get(key) as Member
      if (moved.get(key)?.read !== true) return { updateOne: { filter: { _id: memberKey(row.user, row.conv) }, update: { $max: { d: row.deliveredSeq } } } }
      const update = { $max: { r: row.readSeq, rn: row.readN, d: row.deliveredSeq }, $set: { h: row.hiddenUnread } }
      return { updateOne: { filter: { _id: memberKey(row.user, row.conv), r: { $lt: row.readSeq }, h: old.hiddenUnread }, update } }
    })
    try {
      const found = await this.#db.bulk(this.#db.rows, operations, { ordered: false, writeConcern: quick })
      if (found < operations.length) await this.#moveAnew(changed, moved)
    } catch (error) {
      this.#rows.forget([], changed.keys())
      throw error
    }
    this.#rows.settle([], changed)
    return [...moved].map(([key, what]) => {
      const row = changed.get(key) as Member
      return { user: row.user, conv: row.conv, ...what, row: shown(row, heads.get(row.conv) ?? null) }
    })
  }

  /** Rows for marks. What a device has acknowledged is there: a head before it, or no row, is one that others have gone beyond a moment ago. */
  async #marked (marks: Marks['members']): Promise<View> {
    const convs = marks.map(mark => mark.conv)
    const view = await this.#rows.load(convs, marks)
    if (!this.#rows.isShared) return view
    const missing = marks.filter(({ user, conv, readSeq = 0, deliveredSeq = 0 }) => {
      return this.#rows.owns(conv) && (view.members.get(memberAt(user, conv)) == null || Math.max(readSeq, deliveredSeq) > (view.heads.get(conv)?.seq ?? 0))
    })
    return missing.length === 0 ? view : await this.#rows.loadAnew(convs, marks, missing)
  }

  /** Some rows were not as remembered: another server has written them. Leaves in `changed` what is stored, and in `moved` what moved. */
  async #moveAnew (changed: Map<string, Member>, moved: MovedRows): Promise<void> {
    for (const [key, { read, delivered }] of [...moved]) {
      if (!read) continue
      const found = await moveMarks(this.#db, changed.get(key) as Member)
      if (found === undefined) this.#rows.forget([], [key])
      if (found === undefined || !(found.read || delivered)) moved.delete(key)
      else moved.set(key, { read: found.read, delivered })
      if (found === undefined) changed.delete(key)
      else changed.set(key, found.row)
    }
  }

  /** `readN` and `hiddenUnread` of rows whose `readSeq` moved. */
  async #numberRead (changed: readonly Member[], heads: ReadonlyMap<string, HeadRow | null>): Promise<void> {
    const rows: Member[] = []
    for (const row of changed) {
      const head = heads.get(row.conv) as HeadRow
      if (row.readSeq === head.seq) {
        row.readN = head.n
        row.hiddenUnread = 0
      } else {
        rows.push(row)
      }
    }
    const numbers = new Map<string, number>()
    await Promise.all(pieces(rows, pairsOfQuery).map(async some => {
      const found = await this.#db.messages.find({ $or: some.map(row => ({ c: place(row.conv), s: row.readSeq })) }, whole)
        .project<Pick<MessageDoc, 'c' | 's' | 'n'>>({ _id: 0, c: 1, s: 1, n: 1 }).toArray()
      for (const { c, s, n } of found) numbers.set(`${c} ${s}`, n)
    }))
    await Promise.all(rows.map(async row => {
      const n = numbers.get(`${place(row.conv)} ${row.readSeq}`)
      if (n === undefined) throw new Error(`message ${row.readSeq} of ${row.conv} is missing`)
      row.readN = n
      if (row.hiddenUnread > 0) row.hiddenUnread = await countHidden(this.#db, row.user, row.conv, row.readSeq)
    }))
  }

  /**
   * Hides messages for one user. Inside `exclusive`. The row says first that its number of hidden messages may be behind:
   * after a crash it is counted.
   */
  async hide (user: string, conv: string, seqs: readonly number[]): Promise<number> {
    const view = await this.#rows.load([conv], [{ user, conv }])
    const row = alive(view, user, conv)
    const head = view.heads.get(conv) ?? null
    if (row === null || head === null) return 0
    const floor = Math.max(row.joinedSeq, row.clearedSeq, head.purgedSeq)
    const wanted = [...new Set(seqs)].filter(seq => Number.isSafeInteger(seq) && seq > floor && seq <= head.seq)
    if (wanted.length === 0) return 0
    const [messages, hidden] = await Promise.all([
      this.#db.messages.find({ c: place(conv), s: { $in: wanted } }, whole).project<Pick<MessageDoc, 's' | 'x'>>({ _id: 0, s: 1, x: 1 }).toArray(),
      this.#db.hidden.find({ u: user, c: conv, s: { $in: wanted } }, whole).project<{ s: number }>({ _id: 0, s: 1 }).toArray()
    ])
    const already = new Set(hidden.map(each => each.s))
    const added = messages.filter(({ s }) => !already.has(s))
    if (added.length === 0) return 0
    const counted = added.filter(({ s, x }) => x === undefined && s > Math.max(row.readSeq, head.purgedSeq)).length
    const filter = { _id: memberKey(user, conv) }
    try {
      await this.#db.fault('hide')
      if (counted > 0) await this.#db.rows.updateOne(filter, { $set: { x: 1 } })
      await this.#db.hidden.insertMany(added.map(({ s, x }) => ({ _id: hiddenKey(user, conv, s), u: user, c: conv, s, n: x === undefined ? 1 : 0 })), { ordered: false })
      await this.#db.fault('hidden')
      if (counted > 0) {
        const update = { $set: { h: row.hiddenUnread + counted }, $unset: { x: '' as const } }
        const { matchedCount } = await this.#db.rows.updateOne(unmoved(row, row.readSeq, row.hiddenUnread), update)
        if (matchedCount === 0) {
          await recount(this.#db, row, { settles: true })
          this.#rows.forget([], [memberAt(user, conv)])
          return added.length
        }
      }
    } catch (error) {
      this.#rows.forget([], [memberAt(user, conv)])
      // Hidden by an earlier try of this call.
      if (duplicates(error) === undefined) throw error
      return 0
    }
    this.#rows.settle([], [[memberAt(user, conv), { ...row, hiddenUnread: row.hiddenUnread + counted }]])
    return added.length
  }

  async hidden (user: string, conv: string, after: number, upTo: number): Promise<number[]> {
    if (upTo <= after) return []
    const view = await this.#rows.read([conv], [{ user, conv }])
    if (alive(view, user, conv) === null) return []
    const floor = Math.max(after, hiddenFloor(view, user, conv))
    const docs = await this.#db.hidden.find({ u: user, c: conv, s: { $gt: floor, $lte: upTo } }, whole).sort({ s: 1 }).project<{ s: number }>({ _id: 0, s: 1 }).toArray()
    return docs.map(doc => doc.s)
  }

  async hiddenAt (user: string, at: ReadonlyArray<{ conv: string, seq: number }>): Promise<boolean[]> {
    const view = await this.#rows.read(at.map(({ conv }) => conv), at.map(({ conv }) => ({ user, conv })))
    const keys = at.map(({ conv, seq }) => alive(view, user, conv) !== null && seq > hiddenFloor(view, user, conv) ? hiddenKey(user, conv, seq) : undefined)
    const wanted = keys.filter(key => key !== undefined)
    // By the user too: the collection is sharded by it.
    const docs = await Promise.all(pieces(wanted, idsOfQuery).map(some =>
      this.#db.hidden.find({ u: user, _id: { $in: some } }, whole).project<{ _id: string }>({ _id: 1 }).toArray()))
    const found = new Set(docs.flat().map(doc => doc._id))
    return keys.map(key => key !== undefined && found.has(key))
  }

  /** Inside `exclusive`. */
  async clear (user: string, conv: string): Promise<void> {
    const view = await this.#rows.load([conv], [{ user, conv }])
    const row = alive(view, user, conv)
    const head = view.heads.get(conv) ?? null
    if (row === null || head === null || head.seq === 0) return
    const { seq, n } = head
    const cleared = {
      ...row,
      clearedSeq: Math.max(row.clearedSeq, seq),
      readSeq: Math.max(row.readSeq, seq),
      readN: Math.max(row.readN, n),
      deliveredSeq: Math.max(row.deliveredSeq, seq),
      hiddenUnread: 0
    }
    const asRemembered = await this.#change(cleared, [
      { filter: { _id: memberKey(user, conv) }, update: { $max: { cl: seq, r: seq, rn: n, d: seq } } },
      // What lies behind is nothing, unless another server knows more of this conversation than this one.
      { filter: unmoved(row, cleared.readSeq, row.hiddenUnread), update: { $set: { h: 0 }, $unset: { x: '' } } }
    ])
    await this.#db.hidden.deleteMany({ u: user, c: conv, s: { $lte: seq } })
    if (!asRemembered) await recount(this.#db, row, { settles: true })
  }

  /** Inside `exclusive`. */
  async settings (user: string, conv: string, change: { muted?: boolean, pinned?: boolean }): Promise<void> {
    const row = alive(await this.#rows.load([conv], [{ user, conv }]), user, conv)
    if (row === null) return
    const { muted, pinned } = change
    const fields = { ...(muted !== undefined && { muted }), ...(pinned !== undefined && { pinned }) }
    if (Object.keys(fields).length === 0) return
    await this.#change({ ...row, ...fields }, [{ filter: { _id: memberKey(user, conv) }, update: { $set: fields } }])
  }

  /** False when one of the changes did not find the row as its filter asks for: then `row` is forgotten. */
  async #change (row: Member, changes: Array<UpdateOneModel<RowDoc>>): Promise<boolean> {
    const key = memberAt(row.user, row.conv)
    try {
      const found = await this.#db.bulk(this.#db.rows, changes.map(updateOne => ({ updateOne })), { ordered: true })
      if (found === changes.length) {
        this.#rows.settle([], [[key, row]])
        return true
      }
    } catch (error) {
      this.#rows.forget([], [key])
      throw error
    }
    this.#rows.forget([], [key])
    return false
  }
}

/** A mark forward; what it changes is put into `changed` and `moved`. */
function move (key: string, mark: Marks['members'][number], old: Member | null, head: HeadRow | null, changed: Map<string, Member>, moved: MovedRows): void {
  if (old === null || head === null || head.seq === 0) return
  const readSeq = Math.min(mark.readSeq ?? 0, head.seq)
  const deliveredSeq = Math.min(mark.deliveredSeq ?? 0, head.seq)
  const read = readSeq > Math.max(old.readSeq, head.purgedSeq)
  const delivered = deliveredSeq > old.deliveredSeq
  if (!read && !delivered) return
  changed.set(key, { ...old, ...(read ? { readSeq } : {}), ...(delivered ? { deliveredSeq } : {}) })
  const earlier = moved.get(key)
  moved.set(key, { read: read || earlier?.read === true, delivered: delivered || earlier?.delivered === true })
}

/** What a crash left in `hidden` of an earlier membership, or before a clear, lies below it. */
function hiddenFloor (view: View, user: string, conv: string): number {
  const row = view.members.get(memberAt(user, conv))
  return Math.max(0, row?.joinedSeq ?? 0, row?.clearedSeq ?? 0, view.heads.get(conv)?.purgedSeq ?? 0)
}

/** A member's row, unless a crash left it before the first message of its direct conversation. */
function alive (view: View, user: string, conv: string): Member | null {
  const row = view.members.get(memberAt(user, conv)) ?? null
  return row !== null && conv.startsWith('d:') && (view.heads.get(conv)?.seq ?? 0) === 0 ? null : row
}
