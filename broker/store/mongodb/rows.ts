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
 * What another process owns (`owns`) is read each time and not kept, and a reader repairs nothing of it: that would be
 * the commit that is under way there. Who owns what may change at any time. What this process writes of others' is told (`onForeign`), as what they write
 * of its own is told to it (`forgetRows`): what was read before that is not kept either.
 */
import type { Filter } from 'mongodb'
import { Lru } from '../cache/lru.ts'
import type { Member } from '../store.ts'
import type { Connection } from './connection.ts'
import { oneOf, whole } from './connection.ts'
import { headRow, memberKey, memberRow, place, placed } from './documents.ts'
import type { HeadRow, MemberDoc, MessageDoc } from './documents.ts'
import type { MongoFeed } from './feed.ts'
import { countHidden } from './hidden-counts.ts'
import { ReadTogether } from './read-together.ts'
import type { Wish } from './read-together.ts'
import { openMembers, writeDerived } from './derived-writes.ts'
import { keysOf, Repair, memberAt, membersOf, traceFields } from './views.ts'
import type { MemberAt, Trace, View } from './views.ts'

export { memberAt } from './views.ts'
export type { MemberAt, View } from './views.ts'

/** How many rows of each kind stay in memory. Entries; a member's row takes about 300 bytes. */
export interface CacheSizes { heads: number, members: number, groups: number, events: number, cursors: number }
export const defaultCacheSizes: CacheSizes = { heads: 50_000, members: 100_000, groups: 5_000, events: 20_000, cursors: 50_000 }

/** Ids of one query. */
export const idsOfQuery = 2000
/** Conversations whose logs one query looks behind. */
const logsOfQuery = 200

interface Fetched { view: View, behind: Trace[] }

export class Rows {
  readonly heads: Lru<HeadRow | null>
  readonly members: Lru<Member | null>
  /** Grows with each change: a reader must not cache what it read before. */
  changes = 0
  /** Repairs that were made. */
  repairs = 0
  /** Whether this process is the one that writes a conversation and its members' rows. */
  readonly owns: (conv: string) => boolean
  /** Others write, too. */
  readonly isShared: boolean
  /** Hears of rows that are written here and belong to another process, in the words of `SharedStore.forget`. */
  onForeign: (row: string) => void = () => {}
  readonly #db: Connection
  readonly #feed: MongoFeed | undefined
  /** How often others have told what they wrote; and how often they had when the present job began to read. */
  #told = 0
  #toldAtLoad = 0
  /** For readers. */
  readonly #together = new ReadTogether<MemberAt, Fetched>(async wish => {
    const view: View = { heads: new Map(), members: new Map() }
    return { view, behind: await this.#fetch(view, wish) }
  })

  constructor (db: Connection, sizes: CacheSizes, feed?: MongoFeed, owns?: (conv: string) => boolean) {
    this.#db = db
    this.#feed = feed
    this.isShared = owns !== undefined
    this.owns = owns ?? (() => true)
    this.heads = new Lru(sizes.heads)
    this.members = new Lru(sizes.members)
  }

  /** Rows for a reader. */
  async read (convs: readonly string[], members: readonly MemberAt[]): Promise<View> {
    const { view, missing } = this.#recall(convs, members)
    if (missing === undefined) return view
    const { changes } = this
    const behind = await this.#fetchTogether(view, missing)
    const own = behind.filter(({ c }) => this.owns(placed(c)))
    if (own.length < behind.length) this.#derive(view, behind.filter(({ c }) => !this.owns(placed(c))))
    if (own.length === 0) {
      if (changes === this.changes) this.#keep(view)
      return view
    }
    // Behind a head may be the commit that is under way, or what a crash left: wait for the one, repair the other.
    const loaded = await this.#db.exclusive(() => this.load(convs.filter(this.owns), members.filter(({ conv }) => this.owns(conv))))
    for (const [conv, row] of loaded.heads) view.heads.set(conv, row)
    for (const [key, row] of loaded.members) view.members.set(key, row)
    return view
  }

  /** What another process writes, as it will be when that has written what follows: a reader leaves it to that one. */
  #derive (view: View, behind: readonly Trace[]): void {
    const repair = new Repair(view.heads, [...view.members.values()].filter(row => row !== null))
    for (const trace of behind) repair.add(trace)
    for (const [conv, head] of repair.heads) view.heads.set(conv, head)
    for (const key of view.members.keys()) view.members.set(key, repair.members.get(key) ?? null)
  }

  /** Rows for a job that writes, repaired. Inside `exclusive`. */
  async load (convs: readonly string[], members: readonly MemberAt[]): Promise<View> {
    this.#toldAtLoad = this.#told
    const { view, missing } = this.#recall(convs, members)
    if (missing === undefined) return view
    const behind = await this.#fetch(view, missing)
    if (behind.length > 0) await this.#repair(view, behind)
    if (this.#toldAtLoad === this.#told) this.#keep(view)
    return view
  }

  /** `load`, of rows in which something is missing that must be there: another process may have written it a moment ago. */
  loadAnew (convs: readonly string[], members: readonly MemberAt[], missing: readonly MemberAt[]): Promise<View> {
    for (const { user, conv } of missing) {
      this.heads.delete(conv)
      this.members.delete(memberAt(user, conv))
    }
    return this.load(convs, members)
  }

  /** Puts rows that were written into the caches. */
  settle (heads: Iterable<[string, HeadRow | null]>, members: Iterable<[string, Member | null]>): void {
    this.changes++
    if (this.isShared) return this.#settleShared(new Map(heads), new Map(members))
    for (const [conv, row] of heads) this.heads.set(conv, row)
    for (const [key, row] of members) this.members.set(key, row)
  }

  #settleShared (heads: Map<string, HeadRow | null>, members: Map<string, Member | null>): void {
    this.forget(heads.keys(), members.keys())
    if (this.#toldAtLoad === this.#told) this.#keep({ heads, members })
  }

  /** Forgets rows whose writes failed, or that another process has written. */
  forget (convs: Iterable<string>, members: Iterable<string>): void {
    this.changes++
    const [heads, keys] = [[...convs], [...members]]
    for (const conv of heads) this.heads.delete(conv)
    for (const key of keys) this.members.delete(key)
    if (this.isShared) this.#tell(heads, keys)
  }

  /** Another process has written these rows (all: when absent). */
  forgetRows (rows?: readonly string[]): void {
    this.changes++
    this.#told++
    if (rows === undefined) {
      this.heads.clear()
      this.members.clear()
      return
    }
    const groups = new Set<string>()
    for (const row of rows) {
      const { conv, users } = keysOf(row)
      this.heads.delete(conv)
      for (const user of users ?? []) this.members.delete(memberAt(user, conv))
      if (users === undefined) groups.add(conv)
    }
    if (groups.size === 0) return
    for (const key of this.members.keys()) if (groups.has(convOf(key))) this.members.delete(key)
  }

  #tell (convs: readonly string[], keys: readonly string[]): void {
    const told = new Set<string>()
    for (const key of keys) {
      const conv = convOf(key)
      if (this.owns(conv)) continue
      told.add(conv)
      this.onForeign(key)
    }
    for (const conv of convs) if (!told.has(conv) && !this.owns(conv)) this.onForeign(conv)
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
      const row = this.owns(conv) ? this.heads.get(conv) : undefined
      view.heads.set(conv, row ?? null)
      if (row === undefined) missing.convs.push(conv)
    }
    for (const { user, conv } of members) {
      const key = memberAt(user, conv)
      if (view.members.has(key)) continue
      const row = this.owns(conv) ? this.members.get(key) : undefined
      view.members.set(key, row ?? null)
      if (row === undefined) missing.members.push({ user, conv })
    }
    return { view, missing: missing.convs.length + missing.members.length > 0 ? missing : undefined }
  }

  /** `#fetch`, with what others ask for at the same time. */
  async #fetchTogether (view: View, missing: Wish<MemberAt>): Promise<Trace[]> {
    const fetched = await this.#together.read(missing)
    for (const conv of missing.convs) view.heads.set(conv, fetched.view.heads.get(conv) ?? null)
    for (const { user, conv } of missing.members) {
      const key = memberAt(user, conv)
      view.members.set(key, fetched.view.members.get(key) ?? null)
    }
    if (fetched.behind.length === 0) return fetched.behind
    const places = new Set(missing.convs.map(place))
    return fetched.behind.filter(({ c }) => places.has(c))
  }

  /** Reads what is missing; resolves to what the logs hold behind the heads. */
  async #fetch (view: View, wish: Wish<MemberAt>): Promise<Trace[]> {
    const missing = { convs: [...new Set(wish.convs)], members: wish.members }
    const ids = [...new Set([...missing.convs.map(place), ...missing.members.map(({ user, conv }) => memberKey(user, conv))])]
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

  /** Of a key of `memberAt`: whether its row is kept. */
  #keeps (key: string): boolean { return !this.isShared || this.owns(convOf(key)) }

  #keep (view: View): void {
    for (const [conv, row] of view.heads) if (this.owns(conv)) this.heads.set(conv, row)
    for (const [key, row] of view.members) if (this.#keeps(key)) this.members.set(key, row)
  }
}

/** The conversation of a key of `memberAt`. */
function convOf (key: string): string { return key.slice(key.indexOf(' ') + 1) }

export function pieces<T> (list: readonly T[], size: number): T[][] {
  const cut: T[][] = []
  for (let i = 0; i < list.length; i += size) cut.push(list.slice(i, i + size))
  return cut
}
