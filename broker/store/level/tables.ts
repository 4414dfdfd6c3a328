/** Rows of one kind with a bounded cache in front of them, and the view of one write on them. */
import type { Cursor, GroupMember, Member, StoredMessage } from '../store.ts'
import type { Codec, EventHeadRow, HeadRow } from './codec.ts'
import { countCodec, cursorCodec, eventHeadCodec, groupMemberCodec, headCodec, memberCodec } from './codec.ts'
import type { Batch } from './batch.ts'
import type { Database } from './database.ts'
import { parts, under } from './keys.ts'
import { Lists } from './lists.ts'
import { Lru } from '../cache/lru.ts'
import { rebuildEventHead, rebuildGroupSize, rebuildHead } from './rebuild.ts'
import { WeightedLru } from '../cache/weighted-lru.ts'

/**
 * How many rows of each kind stay in memory. Entries; a member's row takes about 300 bytes. `lists`: keys of the rows of users whose
 * conversations were listed, about 250 bytes each. `newest`: not rows but characters of the newest messages of conversations that
 * were listed; one or two bytes each.
 */
export interface CacheSizes { heads: number, members: number, groupMembers: number, groups: number, events: number, cursors: number, lists: number, newest: number }
export const defaultCacheSizes: CacheSizes = {
  heads: 50_000, members: 100_000, groupMembers: 50_000, groups: 5_000, events: 20_000, cursors: 50_000, lists: 100_000, newest: 16 * 1024 * 1024
}

/** What a message takes beside its content. */
const messageWeight = 300

type Rebuild<T> = (db: Database, key: string) => Promise<T | null>
interface Moment { changes: number, dropped: number }

/** Rows in the cache are never changed in place; `null` = known to be absent. */
export class Table<T extends object> {
  readonly codec: Codec<T>
  readonly cache: Lru<T | null>
  /** Grows with each change of a row: a reader must not cache what it read before the change. */
  changes = 0
  /** Hears of rows that were put in place or removed, not of those that were edited. */
  readonly onPlaced: ((key: string, placed: boolean) => void) | undefined
  /** Makes a row again that is damaged. Of other kinds a damaged row counts as absent: what it held was a mark or a role. */
  readonly rebuild: Rebuild<T> | undefined

  constructor (codec: Codec<T>, max: number, { onPlaced, rebuild }: { onPlaced?: (key: string, placed: boolean) => void, rebuild?: Rebuild<T> } = {}) {
    this.codec = codec
    this.cache = new Lru(max)
    this.onPlaced = onPlaced
    this.rebuild = rebuild
  }

  decode (text: string | undefined, key: string): T | null {
    return text === undefined ? null : this.codec.decode(text, key)
  }

  /** The rows of the keys, from the cache where they are in it. */
  async read (db: Database, keys: readonly string[]): Promise<Array<T | null>> {
    const found: Array<T | null | undefined> = keys.map(key => this.cache.get(key))
    const missing: string[] = []
    const places: number[] = []
    for (let i = 0; i < keys.length; i++) {
      if (found[i] !== undefined) continue
      missing.push(keys[i] as string)
      places.push(i)
    }
    if (missing.length > 0) {
      const since = this.now()
      const damaged = new Set<number>()
      const texts = await db.getMany(missing, at => { damaged.add(at) })
      for (let i = 0; i < missing.length; i++) {
        const key = missing[i] as string
        const row = damaged.has(i) && this.rebuild !== undefined ? await this.rebuild(db, key) : this.decode(texts[i], key)
        found[places[i] as number] = row
        this.keep(key, row, since)
      }
    }
    return found as Array<T | null>
  }

  /** The moment before a read, for `keep`. */
  now (): Moment { return { changes: this.changes, dropped: this.cache.dropped } }

  /** Caches a row that was read from disk, unless it may have been written since the moment. */
  keep (key: string, row: T | null, since: Moment): void {
    // A row that was written meanwhile came into the cache then, and is still there unless the cache is very small.
    if (since.changes === this.changes || (this.cache.dropped - since.dropped < 2 && this.cache.get(key) === undefined)) this.cache.set(key, row)
  }

  async readOne (db: Database, key: string): Promise<T | null> {
    const cached = this.cache.get(key)
    return cached !== undefined ? cached : (await this.read(db, [key]))[0] as T | null
  }

  clear (): void {
    this.changes++
    this.cache.dropped += 2
    this.cache.clear()
  }
}

export class Tables {
  readonly heads: Table<HeadRow>
  readonly members: Table<Member>
  readonly groupMembers: Table<GroupMember>
  readonly groupSizes: Table<{ count: number }>
  readonly eventHeads: Table<EventHeadRow>
  readonly cursors: Table<Cursor>
  readonly lists: Lists
  /** By conversation. A message never changes; whether it is the newest one, and not purged, its head tells. */
  readonly newest: WeightedLru<Readonly<StoredMessage>>

  constructor (sizes: CacheSizes) {
    this.lists = new Lists(sizes.lists)
    this.newest = new WeightedLru(sizes.newest, ({ content }) => content.length + messageWeight)
    this.heads = new Table(headCodec, sizes.heads, { rebuild: rebuildHead })
    this.members = new Table(memberCodec, sizes.members, { onPlaced: (name, placed) => { this.lists.placed(parts(name)[1] as string, name, placed) } })
    this.groupMembers = new Table(groupMemberCodec, sizes.groupMembers)
    this.groupSizes = new Table(countCodec, sizes.groups, { rebuild: rebuildGroupSize })
    this.eventHeads = new Table(eventHeadCodec, sizes.events, { rebuild: rebuildEventHead })
    this.cursors = new Table(cursorCodec, sizes.cursors)
  }

  clear (): void {
    for (const table of [this.heads, this.members, this.groupMembers, this.groupSizes, this.eventHeads, this.cursors]) table.clear()
    this.lists.clear()
    this.newest.clear()
  }
}

/** What one write sees of a table and changes in it. Nothing of it is visible outside before `settle`. */
export class Sheet<T extends object> {
  readonly #table: Table<T>
  readonly #rows = new Map<string, T | null>()
  readonly #dirty = new Set<string>()
  readonly #placed: string[] = []

  constructor (table: Table<T>) { this.#table = table }

  has (key: string): boolean { return this.#rows.has(key) }

  /** Takes the row from the cache; false when it must be loaded. */
  recall (key: string): boolean {
    if (this.#rows.has(key)) return true
    const row = this.#table.cache.get(key)
    if (row === undefined) return false
    this.#rows.set(key, row)
    return true
  }

  load (key: string, text: string | undefined): void {
    if (!this.#rows.has(key)) this.#rows.set(key, this.#table.decode(text, key))
  }

  /** `load` of a row that is damaged. */
  async repair (db: Database, key: string): Promise<void> {
    if (!this.#rows.has(key)) this.#rows.set(key, await this.#table.rebuild?.(db, key) ?? null)
  }

  get (key: string): T | null {
    const row = this.#rows.get(key)
    if (row === undefined) throw new Error(`row was not loaded: ${JSON.stringify(key)}`)
    return row
  }

  /** The row, free to be changed; `null` when there is none. */
  edit (key: string): T | null {
    const row = this.get(key)
    if (row === null || this.#dirty.has(key)) return row
    const copy = { ...row }
    this.#rows.set(key, copy)
    this.#dirty.add(key)
    return copy
  }

  set (key: string, row: T | null): void {
    this.#rows.set(key, row)
    this.#dirty.add(key)
    if (this.#table.onPlaced !== undefined) this.#placed.push(key)
  }

  entries (): IterableIterator<[string, T | null]> { return this.#rows.entries() }

  put (batch: Batch): void {
    for (const key of this.#dirty) {
      const row = this.get(key)
      if (row === null) batch.del(key)
      else batch.put(key, this.#table.codec.encode(row))
    }
  }

  /** After the write: what it changed and read becomes the cache's. */
  settle (): void {
    if (this.#dirty.size > 0) this.#table.changes++
    for (const [key, row] of this.#rows) this.#table.cache.set(key, row)
    for (const key of this.#placed) this.#table.onPlaced?.(key, this.get(key) !== null)
  }
}

interface Loader {
  load (key: string, text: string | undefined): void
  repair? (db: Database, key: string): Promise<void>
}

/** The view of one write on all tables, and one read for what it lacks. */
export class Draft {
  readonly heads: Sheet<HeadRow>
  readonly members: Sheet<Member>
  readonly groupMembers: Sheet<GroupMember>
  readonly groupSizes: Sheet<{ count: number }>
  readonly eventHeads: Sheet<EventHeadRow>
  readonly cursors: Sheet<Cursor>
  readonly #wanted: string[] = []
  readonly #into: Loader[] = []

  constructor (tables: Tables) {
    this.heads = new Sheet(tables.heads)
    this.members = new Sheet(tables.members)
    this.groupMembers = new Sheet(tables.groupMembers)
    this.groupSizes = new Sheet(tables.groupSizes)
    this.eventHeads = new Sheet(tables.eventHeads)
    this.cursors = new Sheet(tables.cursors)
  }

  want (sheet: Sheet<HeadRow> | Sheet<Member> | Sheet<GroupMember> | Sheet<{ count: number }> | Sheet<EventHeadRow> | Sheet<Cursor>, key: string): void {
    if (!sheet.recall(key)) this.wantText(key, sheet)
  }

  /** A row that is not cached. */
  wantText (key: string, into: Loader): void {
    this.#wanted.push(key)
    this.#into.push(into)
  }

  async load (db: Database): Promise<void> {
    if (this.#wanted.length === 0) return
    const damaged = new Set<number>()
    // All messages wait for this write, and it for no look-ups of those who come back: there is one at a time.
    const texts = await db.getMany(this.#wanted, at => { damaged.add(at) }, true)
    await this.#findHeadless(db, texts, damaged)
    for (let i = 0; i < texts.length; i++) {
      const into = this.#into[i] as Loader
      const key = this.#wanted[i] as string
      if (damaged.has(i) && into.repair !== undefined) await into.repair(db, key)
      else into.load(key, texts[i])
    }
    this.#wanted.length = 0
    this.#into.length = 0
  }

  /** A conversation without a head is new, or its head is gone: then its numbers must not be given again. Each is looked for once. */
  async #findHeadless (db: Database, texts: ReadonlyArray<string | undefined>, damaged: Set<number>): Promise<void> {
    let places: Map<string, number> | undefined
    for (let i = 0; i < texts.length; i++) {
      if (texts[i] !== undefined || this.#into[i] !== this.heads || damaged.has(i)) continue
      places ??= new Map()
      const key = this.#wanted[i] as string
      if (!places.has(key)) places.set(key, i)
    }
    if (places === undefined) return
    await Promise.all([...places].map(async ([key, i]) => {
      const segments = await db.together.rows(under(key.replace('h', 'j')), 1)
      if (segments.length > 0) damaged.add(i)
    }))
  }

  /** Writes what was changed. */
  async write (db: Database, sync: boolean): Promise<void> {
    const batch = db.batch()
    this.put(batch)
    if (batch.length === 0) await batch.close()
    else await db.write(batch, sync)
    this.settle()
  }

  put (batch: Batch): void {
    for (const sheet of this.#sheets()) sheet.put(batch)
  }

  settle (): void {
    for (const sheet of this.#sheets()) sheet.settle()
  }

  #sheets (): Array<Pick<Sheet<HeadRow>, 'put' | 'settle'>> {
    return [this.heads, this.members, this.groupMembers, this.groupSizes, this.eventHeads, this.cursors]
  }
}
