/**
 * The feed in MongoDB. Its rows are derived from messages, as heads are, and written before them: a head that is as far as its log
 * proves that its messages are in the feed, and whoever finds messages behind a head puts them there first. Nothing is acknowledged
 * before that, so what a crash leaves out is what nobody was promised, and comes when its conversation is looked at next.
 *
 * One document in `meta` is the end of the feed: the next position, the rows of the last commits, and a mark that each commit renews.
 * A commit replaces it where the mark is still the one that it knows; so two servers take positions one after the other, none
 * is left out, and none is given twice, whatever was removed meanwhile. Rows move from there to `feed` some at a time.
 */
import { randomUUID } from 'node:crypto'
import type { StoredMessage, TimeMs } from '../store.ts'
import type { FeedEntry, FeedPage, FeedReader, FeedRegistration, FeedStore } from '../feed.ts'
import { feedEntries, feedRefs, feedRow, lastOf } from '../feed-rows.ts'
import type { FeedRef, FeedRow } from '../feed-rows.ts'
import type { Connection } from './connection.ts'
import { whole } from './connection.ts'
import { place, storedMessage } from './documents.ts'
import type { FeedReaderDoc, FeedRowDoc } from './documents.ts'
import { duplicates } from './failure.ts'

/** Rows, and places in them, that the end document may hold. */
const endRows = 16
const endPlaces = 4000
/** Milliseconds after which a commit looks again whether another server has registered a reader. */
const lookIntervalMs = 10_000
const endId = 'feed'

interface End { last: number, rows: FeedRow[], mark: string }

export class MongoFeed implements FeedStore {
  readonly shared = true
  onAppend: () => void = () => {}
  readonly #db: Connection
  readonly #temporary = new Map<string, FeedReader>()
  #stored = false
  #lookedAt = -Infinity
  /** What the end document was when this process wrote it or read it last. */
  #end: End | undefined

  constructor (db: Connection) { this.#db = db }

  /** True when what is committed has to go into the feed. */
  get active (): boolean { return this.#stored || this.#temporary.size > 0 }

  /** Whether anybody reads. Other servers register readers too: they are seen at the latest `lookIntervalMs` later. */
  async look (): Promise<void> {
    const at = performance.now()
    this.#stored = await this.#db.feedReaders.findOne({}, { projection: { _id: 1 } }) !== null
    this.#lookedAt = at
  }

  /** To be awaited behind an insert; nearly always nothing is to be done. */
  lookAgain (): Promise<void> | undefined { return performance.now() - this.#lookedAt > lookIntervalMs ? this.look() : undefined }

  /** Puts messages that are stored into the feed, in their order; on the disk of the majority when it resolves. Inside `exclusive`. */
  async append (messages: ReadonlyArray<{ conv: string, seq: number, ts: TimeMs }>): Promise<void> {
    if (!this.active || messages.length === 0) return
    const known = this.#end
    // What a command that gets no answer does is not known.
    this.#end = undefined
    for (let end = known ?? await this.#readEnd(); ; end = await this.#readEnd()) {
      const row = feedRow(end.last + 1, messages) as FeedRow
      const isFull = end.rows.length >= endRows || end.rows.reduce((sum, { items }) => sum + items.length, 0) > endPlaces
      if (isFull) await this.#move(end.rows)
      const next: End = { last: lastOf(row), rows: isFull ? [row] : [...end.rows, row], mark: randomUUID() }
      await this.#db.fault('feed')
      const { matchedCount } = await this.#db.meta.updateOne({ _id: endId, mark: end.mark }, { $set: { last: next.last, rows: next.rows.map(rowDoc), mark: next.mark } })
      if (matchedCount === 0) continue
      this.#end = next
      this.onAppend()
      return
    }
  }

  /** Rows as documents of their own, before they leave the end document. */
  async #move (rows: readonly FeedRow[]): Promise<void> {
    if (rows.length === 0) return
    try {
      await this.#db.feed.insertMany(rows.map(rowDoc), { ordered: false })
    } catch (error) {
      // Another server has moved them, or this one before it failed.
      if (duplicates(error) === undefined) throw error
    }
  }

  /** `isCertain`: as the majority has it, so that nothing is handed out that another primary never had. */
  async #readEnd (isCertain = false): Promise<End> {
    for (;;) {
      const doc = await this.#db.meta.findOne({ _id: endId }, isCertain ? { readConcern: 'majority' } : {})
      if (doc?.mark !== undefined && doc.last !== undefined) return { last: doc.last, rows: (doc.rows ?? []).map(rowOf), mark: doc.mark }
      // A new store, or one that was migrated.
      const [newest] = await this.#db.feed.find({}, whole).sort({ _id: -1 }).limit(1).toArray()
      const cursors = (await this.#storedReaders()).map(({ position }) => position)
      const last = Math.max(0, ...cursors, newest === undefined ? 0 : lastOf(rowOf(newest)))
      try {
        await this.#db.meta.insertOne({ _id: endId, last, rows: [], mark: randomUUID() })
      } catch (error) {
        if ((error as { code?: unknown }).code !== 11000 && duplicates(error) === undefined) throw error
      }
    }
  }

  /** All rows are documents of their own afterwards: for a migration. */
  async settle (): Promise<void> { await this.#move((await this.#readEnd()).rows) }

  async #storedReaders (): Promise<FeedReader[]> { return (await this.#db.feedReaders.find({}, whole).toArray()).map(readerOf) }

  async readers (): Promise<FeedReader[]> {
    const all = [...await this.#db.read(() => this.#storedReaders()), ...[...this.#temporary.values()].map(reader => ({ ...reader }))]
    return all.sort((a, b) => a.name < b.name ? -1 : 1)
  }

  async reader (name: string): Promise<FeedReader | undefined> {
    const temporary = this.#temporary.get(name)
    if (temporary !== undefined) return { ...temporary }
    const doc = await this.#db.read(() => this.#db.feedReaders.findOne({ _id: name }))
    return doc === null ? undefined : readerOf(doc)
  }

  async end (): Promise<number> { return (await this.#db.read(() => this.#readEnd())).last }

  /** Alone, as every write: what is committed behind it is for the reader. */
  register (name: string, { from, createdAt, temporary = false }: FeedRegistration): Promise<FeedReader> {
    return this.#db.exclusive(async () => {
      const readers = await this.#storedReaders()
      const known = this.#temporary.get(name) ?? readers.find(reader => reader.name === name)
      if (known !== undefined) return { ...known }
      const end = await this.#readEnd()
      // What is held for others: older rows may lie there, of a time before one in which nobody read.
      const cursors = from === 'oldest' ? [...readers, ...this.#temporary.values()].map(({ position }) => position) : []
      const reader: FeedReader = { name, position: Math.min(end.last, ...cursors), createdAt, ...(temporary ? { temporary } : {}) }
      if (temporary) {
        this.#temporary.set(name, reader)
        return { ...reader }
      }
      try {
        await this.#db.feedReaders.insertOne({ _id: name, p: reader.position, at: createdAt })
      } catch (error) {
        if ((error as { code?: unknown }).code !== 11000) throw error
        // Another server was first.
        const doc = await this.#db.feedReaders.findOne({ _id: name })
        if (doc !== null) return readerOf(doc)
        throw error
      }
      this.#stored = true
      this.#lookedAt = performance.now()
      return reader
    })
  }

  async acknowledge (name: string, position: number): Promise<boolean> {
    return await this.#db.read(async () => {
      const to = position <= (this.#end?.last ?? 0) ? position : Math.min(position, (await this.#readEnd()).last)
      const temporary = this.#temporary.get(name)
      if (temporary === undefined) return (await this.#db.feedReaders.updateOne({ _id: name }, { $max: { p: to } })).matchedCount > 0
      temporary.position = Math.max(temporary.position, to)
      return true
    })
  }

  remove (name: string): Promise<boolean> {
    return this.#db.exclusive(async () => {
      if (this.#temporary.delete(name)) return true
      const { deletedCount } = await this.#db.feedReaders.deleteOne({ _id: name })
      await this.look()
      return deletedCount > 0
    })
  }

  async read (after: number, page: FeedPage): Promise<FeedEntry[]> {
    if (page.limit <= 0) return []
    return await this.#db.read(async () => {
      // The end first: rows that leave it meanwhile are in the collection then.
      const end = await this.#readEnd(true)
      if (after >= end.last) return []
      const { rows, isWhole } = await this.#rows(end, after, page.limit)
      return await feedEntries(feedRefs(rows, after, page.limit, end.last, isWhole), page, refs => this.#messagesAt(refs))
    })
  }

  async #rows (end: End, after: number, limit: number): Promise<{ rows: FeedRow[], isWhole: boolean }> {
    const rows: FeedRow[] = []
    let places = 0
    const add = (row: FeedRow): boolean => {
      // A row that was moved is in both.
      if (lastOf(row) <= after || lastOf(row) <= (rows.length === 0 ? 0 : lastOf(rows.at(-1) as FeedRow))) return false
      rows.push(row)
      places += lastOf(row) - Math.max(after, row.first - 1)
      return places >= limit
    }
    if ((end.rows[0]?.first ?? end.last + 1) > after + 1) {
      const [start] = await this.#db.feed.find({ _id: { $lte: after + 1 } }, whole).sort({ _id: -1 }).limit(1).toArray()
      if (start !== undefined && add(rowOf(start))) return { rows, isWhole: false }
      const cursor = this.#db.feed.find({ _id: { $gt: after + 1, $lte: end.last } }, { batchSize: endRows }).sort({ _id: 1 })
      try {
        for await (const doc of cursor) if (add(rowOf(doc))) return { rows, isWhole: false }
      } finally {
        await cursor.close()
      }
    }
    for (const row of end.rows) if (add(row)) return { rows, isWhole: false }
    return { rows, isWhole: true }
  }

  /** By the database alone: what another server has written is not in this one's memory. */
  async #messagesAt (refs: readonly FeedRef[]): Promise<Array<StoredMessage | undefined>> {
    if (refs.length === 0) return []
    const wanted = new Map<string, number[]>()
    for (const { conv, seq } of refs) {
      const c = place(conv)
      const seqs = wanted.get(c)
      if (seqs === undefined) wanted.set(c, [seq])
      else seqs.push(seq)
    }
    const filters = [...wanted].map(([c, seqs]) => ({ c, s: { $in: seqs } }))
    const [docs, heads] = await Promise.all([
      this.#db.messages.find({ $or: filters }, whole).toArray(),
      this.#db.rows.find({ _id: { $in: [...wanted.keys()] } }, whole).project<{ _id: string, ps?: number }>({ ps: 1 }).toArray()
    ])
    const purged = new Map(heads.map(({ _id, ps = 0 }) => [_id, ps]))
    const found = new Map(docs.map(doc => [`${doc.c} ${doc.s}`, doc]))
    return refs.map(({ conv, seq }) => {
      const c = place(conv)
      const doc = found.get(`${c} ${seq}`)
      return doc === undefined || seq <= (purged.get(c) ?? 0) ? undefined : storedMessage(doc)
    })
  }

  async since (position: number): Promise<TimeMs | undefined> {
    return await this.#db.read(async () => {
      const end = await this.#readEnd()
      if (position >= end.last) return undefined
      return (await this.#rows(end, position, 1)).rows[0]?.ts
    })
  }

  async trim (before: TimeMs, limit: number): Promise<number> {
    return await this.#db.read(async () => {
      // The rows first: whoever begins to read after that begins behind them.
      const rows = await this.#db.feed.find({}, whole).sort({ _id: 1 }).limit(limit).project<FeedRowDoc>({ m: 0 }).toArray()
      const cursors = [...await this.#storedReaders(), ...this.#temporary.values()].map(({ position }) => position)
      const passed = cursors.length === 0 ? Infinity : Math.min(...cursors)
      const kept = rows.findIndex(doc => doc._id + doc.n - 1 > passed && doc.t >= before)
      const gone = kept === -1 ? rows : rows.slice(0, kept)
      const last = gone.at(-1)
      if (last === undefined) return 0
      // The end is in its own document: nothing of it is lost.
      return (await this.#db.feed.deleteMany({ _id: { $lte: last._id } })).deletedCount
    })
  }
}

export function rowDoc ({ first, ts, count, items }: FeedRow): FeedRowDoc {
  return { _id: first, t: ts, n: count, m: items.map(item => ({ c: item.conv, s: item.seq, n: item.count })) }
}

export function rowOf ({ _id, t, n, m }: FeedRowDoc): FeedRow {
  return { first: _id, ts: t, count: n, items: m.map(item => ({ conv: item.c, seq: item.s, count: item.n })) }
}

export function readerOf ({ _id, p, at }: FeedReaderDoc): FeedReader { return { name: _id, position: p, createdAt: at } }
