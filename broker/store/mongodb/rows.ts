/**
 * Heads and members in memory, and the one place where they are read and repaired.
 *
 * A head that is not in memory is never believed: what the log holds behind it is read too. The rows of one batch are
 * written in one ordered command, members first, heads last; so a head that is as far as its log proves that the marks of
 * the senders were written too, and one that is behind says from where on they have to be derived again. Whatever a crash
 * leaves is repaired this way, by the first who looks, and nothing has to be searched when a store is opened.
 *
 * A conversation that was found so stays true in memory as long as this process is the only one that writes it. When
 * another one does (both believe to own it), the unique index refuses the insert, and the conversation is read anew.
 */
import type { AnyBulkWriteOperation, Filter } from 'mongodb'
import { directUsers } from '../../topics.ts'
import { Lru } from '../cache/lru.ts'
import type { Member } from '../store.ts'
import type { Connection } from './connection.ts'
import { oneOf, whole } from './connection.ts'
import { duplicates } from './failure.ts'
import { emptyHead, headRow, markSender, memberDoc, memberKey, memberRow, newMember, place, placed } from './documents.ts'
import type { HeadDoc, HeadRow, MemberDoc, MessageDoc, RowDoc } from './documents.ts'
import type { MongoFeed } from './feed.ts'
import { countHidden } from './hidden-counts.ts'

/** How many rows of each kind stay in memory. Entries; a member's row takes about 300 bytes. */
export interface CacheSizes { heads: number, members: number, groups: number, events: number, cursors: number }
export const defaultCacheSizes: CacheSizes = { heads: 50_000, members: 100_000, groups: 5_000, events: 20_000, cursors: 50_000 }

/** A member's row by its user and conversation. */
export interface MemberAt { user: string, conv: string }

/** Rows as one job or reader sees them, by conversation id and `memberAt`. `null` = there is none. */
export interface View { heads: Map<string, HeadRow | null>, members: Map<string, Member | null> }
/** The key of a member's row in a view. */
export function memberAt (user: string, conv: string): string { return `${user} ${conv}` }

/** What is read of a message to derive rows from it. */
type Trace = Pick<MessageDoc, 'c' | 's' | 'n' | 'f' | 'o' | 'ts' | 'ec'>
const traceFields = { _id: 0, c: 1, s: 1, n: 1, f: 1, o: 1, ts: 1, ec: 1 } as const

/** Ids of one query. */
export const idsOfQuery = 2000
/** Conversations whose logs one query looks behind. */
const logsOfQuery = 200

export class Rows {
  readonly heads: Lru<HeadRow | null>
  readonly members: Lru<Member | null>
  /** Grows with each change: a reader must not cache what it read before. */
  changes = 0
  /** Repairs that were made. */
  repairs = 0
  readonly #db: Connection
  readonly #feed: MongoFeed | undefined

  constructor (db: Connection, sizes: CacheSizes, feed?: MongoFeed) {
    this.#db = db
    this.#feed = feed
    this.heads = new Lru(sizes.heads)
    this.members = new Lru(sizes.members)
  }

  /** Rows for a reader. */
  async read (convs: readonly string[], members: readonly MemberAt[]): Promise<View> {
    const { view, missing } = this.#recall(convs, members)
    if (missing === undefined) return view
    const { changes } = this
    const behind = await this.#fetch(view, missing)
    // Behind a head may be the commit that is under way, or what a crash left: wait for the one, repair the other.
    if (behind.length > 0) return await this.#db.exclusive(() => this.load(convs, members))
    if (changes === this.changes) this.#keep(view)
    return view
  }

  /** Rows for a job that writes, repaired. Inside `exclusive`. */
  async load (convs: readonly string[], members: readonly MemberAt[]): Promise<View> {
    const { view, missing } = this.#recall(convs, members)
    if (missing === undefined) return view
    const behind = await this.#fetch(view, missing)
    if (behind.length > 0) await this.#repair(view, behind)
    this.#keep(view)
    return view
  }

  /** Puts rows that were written into the caches. */
  settle (heads: Iterable<[string, HeadRow | null]>, members: Iterable<[string, Member | null]>): void {
    this.changes++
    for (const [conv, row] of heads) this.heads.set(conv, row)
    for (const [key, row] of members) this.members.set(key, row)
  }

  /** Forgets rows whose writes failed, or that another process has written. */
  forget (convs: Iterable<string>, members: Iterable<string>): void {
    this.changes++
    for (const conv of convs) this.heads.delete(conv)
    for (const key of members) this.members.delete(key)
  }

  /** Members' rows of documents; what they hide is counted where the document says that its number may be behind. */
  async toMembers (docs: readonly MemberDoc[]): Promise<Member[]> {
    const rows = docs.map(memberRow)
    await Promise.all(docs.map(async (doc, i) => {
      if (doc.x === undefined) return
      (rows[i] as Member).hiddenUnread = await countHidden(this.#db, doc.u, doc.c, doc.r)
    }))
    return rows
  }

  #recall (convs: readonly string[], members: readonly MemberAt[]): { view: View, missing: { convs: string[], members: MemberAt[] } | undefined } {
    const view: View = { heads: new Map(), members: new Map() }
    const missing = { convs: [] as string[], members: [] as MemberAt[] }
    for (const conv of convs) {
      if (view.heads.has(conv)) continue
      const row = this.heads.get(conv)
      view.heads.set(conv, row ?? null)
      if (row === undefined) missing.convs.push(conv)
    }
    for (const { user, conv } of members) {
      const key = memberAt(user, conv)
      if (view.members.has(key)) continue
      const row = this.members.get(key)
      view.members.set(key, row ?? null)
      if (row === undefined) missing.members.push({ user, conv })
    }
    return { view, missing: missing.convs.length + missing.members.length > 0 ? missing : undefined }
  }

  /** Reads what is missing; resolves to what the logs hold behind the heads. */
  async #fetch (view: View, missing: { convs: string[], members: MemberAt[] }): Promise<Trace[]> {
    const ids = [...missing.convs.map(place), ...missing.members.map(({ user, conv }) => memberKey(user, conv))]
    const docs = (await Promise.all(pieces(ids, idsOfQuery).map(some => this.#db.rows.find({ _id: oneOf(some) }, whole).toArray()))).flat()
    const members: MemberDoc[] = []
    for (const doc of docs) {
      if ('u' in doc) members.push(doc)
      else view.heads.set(placed(doc._id), headRow(doc))
    }
    const [rows, behind] = await Promise.all([
      this.toMembers(members),
      Promise.all(pieces(missing.convs, logsOfQuery).map(some => this.#behind(some.map(conv => ({ c: place(conv), after: view.heads.get(conv)?.seq ?? 0 })))))
    ])
    for (const row of rows) view.members.set(memberAt(row.user, row.conv), row)
    return behind.flat()
  }

  /** Messages behind the known ends of logs, in order. Nearly always there are none. */
  async #behind (ends: Array<{ c: string, after: number }>): Promise<Trace[]> {
    const filters: Array<Filter<MessageDoc>> = ends.map(({ c, after }) => ({ c, s: { $gt: after } }))
    const found = await this.#db.messages.find(filters.length === 1 ? filters[0] as Filter<MessageDoc> : { $or: filters }, whole).project<Trace>(traceFields).toArray()
    return found.sort((a, b) => a.s - b.s)
  }

  async #repair (view: View, behind: readonly Trace[]): Promise<void> {
    const wanted = membersOf(behind)
    const ids = [...wanted.values()].map(({ user, conv }) => memberKey(user, conv))
    const docs = (await this.#db.rows.find({ _id: oneOf(ids) }, whole).toArray()).filter(doc => 'u' in doc)
    const repair = new Repair(view.heads, await this.toMembers(docs))
    for (const trace of behind) repair.add(trace)
    // Before the heads: they tell that it was done. Whose messages these are may have had a reader that this server has not seen yet.
    await this.#feed?.look()
    await this.#feed?.append(behind.map(({ c, s, ts }) => ({ conv: placed(c), seq: s, ts })))
    await openMembers(this.#db, repair.opened())
    await writeDerived(this.#db, repair.moved(), repair.heads, () => true)
    this.repairs++
    this.forget([], wanted.keys())
    for (const [conv, head] of repair.heads) view.heads.set(conv, head)
    for (const [key, row] of repair.members) if (view.members.has(key)) view.members.set(key, row)
  }

  #keep (view: View): void {
    for (const [conv, row] of view.heads) this.heads.set(conv, row)
    for (const [key, row] of view.members) this.members.set(key, row)
  }
}

function opensDirect ({ c, s }: Trace): boolean { return s === 1 && placed(c).startsWith('d:') }

/** The senders of messages, and both members where a direct conversation begins. */
function membersOf (traces: readonly Trace[]): Map<string, MemberAt> {
  const members = new Map<string, MemberAt>()
  for (const trace of traces) {
    const conv = placed(trace.c)
    const users = opensDirect(trace) ? directUsers(conv) : [trace.f]
    for (const user of users) members.set(memberAt(user, conv), { user, conv })
  }
  return members
}

/** Rows as they are derived again from messages behind the known heads. */
class Repair {
  readonly heads = new Map<string, HeadRow>()
  /** By `memberAt`. */
  readonly members = new Map<string, Member>()
  readonly #known: View['heads']
  readonly #fresh = new Set<string>()
  readonly #touched = new Set<string>()

  constructor (known: View['heads'], members: readonly Member[]) {
    this.#known = known
    for (const row of members) this.members.set(memberAt(row.user, row.conv), row)
  }

  add (trace: Trace): void {
    const conv = placed(trace.c)
    if (opensDirect(trace)) this.#open(conv)
    this.#moveHead(conv, trace)
    const key = memberAt(trace.f, conv)
    const sender = this.members.get(key)
    if (trace.o === undefined || sender === undefined) return
    markSender(sender, trace.s, trace.n)
    this.#touched.add(key)
  }

  /** Rows that were not there. */
  opened (): Member[] { return [...this.#fresh].map(key => this.members.get(key) as Member) }
  /** Rows whose marks moved. */
  moved (): Member[] { return [...this.#touched].map(key => this.members.get(key) as Member) }

  #open (conv: string): void {
    for (const user of directUsers(conv)) {
      const key = memberAt(user, conv)
      if (this.members.has(key)) continue
      this.members.set(key, newMember(user, conv))
      this.#fresh.add(key)
    }
  }

  #moveHead (conv: string, { s, n, ts, ec }: Trace): void {
    let head = this.heads.get(conv)
    if (head === undefined) this.heads.set(conv, head = { ...this.#known.get(conv) ?? emptyHead() })
    if (head.seq === head.purgedSeq) head.oldest = ts
    head.seq = s
    head.n = n
    head.ts = ts
    if (ec !== undefined) head.expiring = s
  }
}

/** The two members of new direct conversations; those that are there are left as they are. */
export async function openMembers (db: Connection, rows: readonly Member[]): Promise<void> {
  if (rows.length === 0) return
  try {
    await db.rows.insertMany(rows.map(memberDoc), { ordered: false })
  } catch (error) {
    if (duplicates(error) === undefined) throw error
  }
}

/**
 * Senders' marks and heads, forward only, in one command. Ordered: a head tells that the marks before it are written. Where another server has
 * moved the read mark further, the number of hidden messages is of that mark, and stays. `isFirst`: the row may not say yet that the user has sent
 * a message, which it says then wherever its marks are.
 */
export async function writeDerived (db: Connection, members: readonly Member[], heads: ReadonlyMap<string, HeadRow>, isFirst: (row: Member) => boolean): Promise<void> {
  const operations: Array<AnyBulkWriteOperation<RowDoc>> = []
  for (const row of members) {
    const _id = memberKey(row.user, row.conv)
    if (isFirst(row)) operations.push({ updateOne: { filter: { _id }, update: { $set: { w: 1 } } } })
    operations.push({
      updateOne: { filter: { _id, r: { $lt: row.readSeq } }, update: { $max: { r: row.readSeq, rn: row.readN, d: row.deliveredSeq }, $set: { h: row.hiddenUnread } } }
    })
  }
  for (const [conv, head] of heads) {
    operations.push({ updateOne: { filter: { _id: place(conv) }, update: headUpdate(head), upsert: true } })
  }
  if (operations.length > 0) await db.bulk(db.rows, operations, { ordered: true })
}

/** A head forward. */
export function headUpdate (head: HeadRow): { $max: Partial<HeadDoc>, $set: Partial<HeadDoc>, $unset?: { o: '' } } {
  return {
    $max: { s: head.seq, n: head.n, ps: head.purgedSeq, pn: head.purgedN, ...(head.expiring === 0 ? {} : { e: head.expiring }) },
    $set: { ts: head.ts, ...(head.oldest === undefined ? {} : { o: head.oldest }) },
    ...(head.oldest === undefined ? { $unset: { o: '' } } : {})
  }
}

export function pieces<T> (list: readonly T[], size: number): T[][] {
  const cut: T[][] = []
  for (let i = 0; i < list.length; i += size) cut.push(list.slice(i, i + size))
  return cut
}
