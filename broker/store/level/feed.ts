/**
 * The feed of the embedded store: one row a commit (`w first`), in the commit's own batch, and one row a reader (`o name`). Both stand
 * in LevelDB's log in the order in which they were written, so a cursor need not be synced: what a power loss takes back of it,
 * it takes back of all that was written behind it, the removal of rows too.
 */
import type { Operation, Outcome, TimeMs } from '../store.ts'
import type { FeedEntry, FeedPage, FeedReader, FeedRegistration, FeedStore } from '../feed.ts'
import { feedEntries, feedRefs, feedRow, lastOf } from '../feed-rows.ts'
import type { FeedRow } from '../feed-rows.ts'
import type { Batch } from './batch.ts'
import type { Database } from './database.ts'
import { StoreDamagedError } from '../errors.ts'
import { isCorruption } from './failure.ts'
import { decodeFeedReader, decodeFeedRow, encodeFeedReader, encodeFeedRow } from './feed-codec.ts'
import { key, lastNumber, lastPart, under } from './keys.ts'
import type { Messages } from './messages.ts'

/** Positions that are left out behind the cursors when nobody knows which were given. */
const unreadablePlaces = 2 ** 40

export class LevelFeed implements FeedStore {
  readonly shared = false
  onAppend: () => void = () => {}
  readonly #db: Database
  readonly #readers: Map<string, FeedReader>
  /** What is known to be stored, and may be read. */
  #end: number
  #messages: Pick<Messages, 'messagesAt'> | undefined

  private constructor (db: Database, readers: Map<string, FeedReader>, end: number) {
    this.#db = db
    this.#readers = readers
    this.#end = end
  }

  /** What cannot be read at all is told, and the store opens all the same: who reads the feed there is told `damaged`. */
  static async open (db: Database): Promise<LevelFeed> {
    const level = await db.level()
    const rows = under(key.feed())
    const place = await orUnreadable(db, key.feed(), async () => {
      const last = await db.last(rows)
      // A damaged row has no length: what it held is a gap.
      const [firstKey] = await level.keys({ ...rows, limit: 1 }).all()
      const [lastKey] = await level.keys({ ...rows, reverse: true, limit: 1 }).all()
      return { first: positionOf(firstKey), end: Math.max(last === undefined ? 0 : lastOf(decodeFeedRow(last[1], last[0])), positionOf(lastKey)) }
    })
    const readers = new Map<string, FeedReader>()
    const names = await orUnreadable(db, key.feedReaders(), () => level.keys(under(key.feedReaders())).all()) ?? []
    const texts = await db.getMany(names)
    for (const [i, name] of names.entries()) {
      const text = texts[i]
      // A reader whose row is damaged begins again: twice rather than never, and a gap where it may be one.
      const reader = text === undefined ? { name: lastPart(name), position: Math.max(0, (place?.first ?? 0) - 1), createdAt: 0 } : decodeFeedReader(text, name)
      readers.set(reader.name, reader)
    }
    const passed = Math.max(0, ...[...readers.values()].map(({ position }) => position))
    return new LevelFeed(db, readers, place === undefined ? passed + unreadablePlaces : Math.max(place.end, passed))
  }

  /** Where messages are read. */
  use (messages: Pick<Messages, 'messagesAt'>): void { this.#messages = messages }

  /** Puts what a commit stores into its batch, when anybody reads; gives the last position, for `settle`. */
  put (batch: Batch, operations: readonly Operation[], outcomes: readonly Outcome[]): number {
    if (this.#readers.size === 0) return this.#end
    const messages: Array<{ conv: string, seq: number, ts: TimeMs }> = []
    for (let i = 0; i < operations.length; i++) {
      const op = operations[i] as Operation
      const outcome = outcomes[i] as Outcome
      if (op.op === 'message' && !outcome.replay) messages.push({ conv: op.conv, seq: outcome.seq, ts: outcome.ts })
    }
    const row = feedRow(this.#end + 1, messages)
    if (row === undefined) return this.#end
    batch.put(key.feedRow(row.first), encodeFeedRow(row))
    return lastOf(row)
  }

  /** The batch is on disk, and the caches know of it. */
  settle (end: number): void {
    if (end === this.#end) return
    this.#end = end
    this.onAppend()
  }

  async readers (): Promise<FeedReader[]> { return [...this.#readers.values()].map(reader => ({ ...reader })).sort((a, b) => a.name < b.name ? -1 : 1) }

  async reader (name: string): Promise<FeedReader | undefined> {
    const reader = this.#readers.get(name)
    return reader === undefined ? undefined : { ...reader }
  }

  async end (): Promise<number> { return this.#end }

  register (name: string, { from, createdAt, temporary = false }: FeedRegistration): Promise<FeedReader> {
    return this.#db.exclusive(async () => {
      const known = this.#readers.get(name)
      if (known !== undefined) return { ...known }
      // What is held for others: older rows may lie there, of a time before one in which nobody read.
      const cursors = from === 'oldest' ? [...this.#readers.values()].map(({ position }) => position) : []
      const reader: FeedReader = { name, position: Math.min(this.#end, ...cursors), createdAt, ...(temporary ? { temporary } : {}) }
      if (!temporary) await this.#write(reader, true)
      this.#readers.set(name, reader)
      return { ...reader }
    })
  }

  async acknowledge (name: string, position: number): Promise<boolean> {
    const known = this.#readers.get(name)
    if (known === undefined) return false
    if (known.temporary === true) {
      this.#move(known, position)
      return true
    }
    return await this.#db.exclusive(async () => {
      const reader = this.#readers.get(name)
      if (reader === undefined) return false
      const moved = { ...reader }
      if (!this.#move(moved, position)) return true
      await this.#write(moved, false)
      this.#readers.set(name, moved)
      return true
    })
  }

  #move (reader: FeedReader, position: number): boolean {
    const to = Math.min(position, this.#end)
    if (to <= reader.position) return false
    reader.position = to
    return true
  }

  async #write (reader: FeedReader, sync: boolean): Promise<void> {
    const batch = this.#db.batch()
    batch.put(key.feedReader(reader.name), encodeFeedReader(reader))
    await this.#db.write(batch, sync)
  }

  remove (name: string): Promise<boolean> {
    return this.#db.exclusive(async () => {
      const reader = this.#readers.get(name)
      if (reader === undefined) return false
      if (reader.temporary !== true) {
        const batch = this.#db.batch()
        batch.del(key.feedReader(name))
        await this.#db.write(batch, true)
      }
      this.#readers.delete(name)
      return true
    })
  }

  async read (after: number, page: FeedPage): Promise<FeedEntry[]> {
    const end = this.#end
    if (after >= end || page.limit <= 0) return []
    const { rows, isWhole } = await this.#rows(after, page.limit, end)
    const messages = this.#messages
    if (messages === undefined) throw new Error('the feed has no log to read')
    return await feedEntries(feedRefs(rows, after, page.limit, end, isWhole), page, refs => messages.messagesAt(refs))
  }

  /** Rows that hold what comes behind `after` and is known to be stored. */
  async #rows (after: number, limit: number, end: number): Promise<{ rows: FeedRow[], isWhole: boolean }> {
    const start = await this.#db.last({ gt: under(key.feed()).gt, lt: key.feedRow(after + 2) })
    const rows = start === undefined ? [] : [decodeFeedRow(start[1], start[0])]
    let places = rows.reduce((sum, row) => sum + Math.max(0, lastOf(row) - after), 0)
    for await (const piece of this.#db.scan({ gt: key.feedRow(after + 1), lt: key.feedRow(end + 1) })) {
      for (const [name, text] of piece) {
        const row = decodeFeedRow(text, name)
        rows.push(row)
        places += row.count
        if (places >= limit) return { rows, isWhole: false }
      }
    }
    return { rows, isWhole: true }
  }

  async since (position: number): Promise<TimeMs | undefined> {
    if (position >= this.#end) return undefined
    const { rows } = await this.#rows(position, 1, this.#end)
    return rows.find(row => lastOf(row) > position)?.ts
  }

  trim (before: TimeMs, limit: number): Promise<number> {
    return this.#db.exclusive(async () => {
      const passed = Math.min(this.#end, ...[...this.#readers.values()].map(({ position }) => position))
      const range = under(key.feed())
      const rows = await this.#db.rows(range, limit)
      const stays = rows.find(([name, text]) => {
        const row = decodeFeedRow(text, name)
        // The newest row says where the feed ends, unless a cursor does.
        return lastOf(row) > passed && (row.ts >= before || lastOf(row) >= this.#end)
      })
      const kept = stays?.[0] ?? (rows.length === limit ? `${rows.at(-1)?.[0]}\x00` : range.lt)
      // Keys, not rows: a damaged row goes too.
      const names = await (await this.#db.level()).keys({ gt: range.gt, lt: kept, limit }).all()
      if (names.length === 0) return 0
      const batch = this.#db.batch()
      for (const name of names) batch.del(name)
      await this.#db.write(batch, false)
      return names.length
    })
  }
}

/** The first position of a row; 0 when there is none, or when its key is no key any more. */
function positionOf (name: string | undefined): number {
  const position = name === undefined ? 0 : lastNumber(name)
  return key.feedRow(position) === name ? position : 0
}

/** `undefined` when LevelDB cannot read there. */
async function orUnreadable<T> (db: Database, where: string, read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read()
  } catch (error) {
    if (!(error instanceof StoreDamagedError) && !isCorruption(error)) throw error
    db.reader.onDamage(where, error)
    return undefined
  }
}
