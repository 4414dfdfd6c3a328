/**
 * LevelDB with what the store needs around it: one queue of writes, reads that wait while the database is opened anew, and
 * a state that says whether writes can be taken.
 *
 * Writes go one after another because of the way LevelDB fails: when a write is cut (disk full), its log writer has lost
 * its place, and a later write to the same log would be unreadable after a restart; a failed sync or compaction makes it refuse
 * all that follows. So after any failed write nothing is written before the database was closed and opened again, which it does
 * by itself (recovery.ts).
 */
import { StoreClosedError } from '../errors.ts'
import { Batch } from './batch.ts'
import { StoreFailedError, StoreFullError, StoreLostError } from './failure.ts'
import { databasePath, formatVersion, mixedFormat, readsFormat } from './format.ts'
import { key } from './keys.ts'
import type { Range } from './keys.ts'
import { checkLogs, cutLogs, firstSequence } from './log-check.ts'
import { removeOrphans } from './manifest.ts'
import { formatOf, makeLevel, openFirst, writeBufferFor } from './opening.ts'
import type { Level, LevelSettings } from './opening.ts'
import { Reader } from './reader.ts'
import type { ScanOptions } from './reader.ts'
import { Trouble, canReopen } from './recovery.ts'
import { SharedScan } from './shared-scan.ts'

/** Places for tests to make writes fail or slow. */
export interface Faults {
  /** Called before each write; what it throws is the write's error. */
  beforeWrite?: (write: { rows: number, sync: boolean }) => void | Promise<void>
  /** Called after each write that LevelDB reported as done; what it throws is the write's error. */
  afterWrite?: (write: { rows: number, sync: boolean }) => void | Promise<void>
}

export interface DatabaseOptions extends LevelSettings {
  path: string
  /** Milliseconds before the first try to go on after a write failed. */
  retryIntervalMs: number
  /** True when there is no database yet, and one is to be made. */
  create: boolean
  /** Called once when the store failed and cannot be opened anew: the process has to end. */
  onLost?: (error: Error) => void
  onSync?: (rows: number) => void
  faults?: Faults
}

/** A row to write; `null` removes it. */
export interface Row { key: string, value: string | Uint8Array | null }

export class Database {
  readonly path: string
  readonly reader = new Reader(() => this.level())
  /** `rows` for short ranges of ASCII keys that many ask for at once. */
  readonly together = new SharedScan(() => this.reader.again(level => level.iterator()), (range, limit) => this.rows(range, limit), (name, stored) => this.reader.whole(name, stored))
  /** Called when what was cached may not be what is on disk. */
  onReopen: () => void = () => {}
  readonly #options: DatabaseOptions
  /** Set by `open`. */
  #level!: Level
  #writeBufferBytes: number
  #tail: Promise<unknown> = Promise.resolve()
  #trouble: Trouble | undefined
  #lost: StoreLostError | undefined
  /** Tries to open anew since the last write that succeeded. */
  #tries = 0
  #timer: NodeJS.Timeout | undefined
  #reopening: Promise<void> | undefined
  #closing: Promise<void> | undefined
  #closed = false
  /** LevelDB's number of the last row whose write succeeded. */
  #sequence = 0n
  /** Small writes that wait for their turn in the queue, and go in one batch. */
  #group: { rows: Row[], sync: boolean, done: Promise<void> } | undefined

  constructor (options: DatabaseOptions) {
    this.path = options.path
    this.#options = options
    this.#writeBufferBytes = options.writeBufferBytes
  }

  /** Throws `StoreFormatError` (damaged, incomplete, unknown version), `StoreLockedError`, `StoreFailedError` (what else LevelDB reports). */
  async open (): Promise<void> {
    await checkLogs(databasePath(this.path))
    this.#writeBufferBytes = await writeBufferFor(this.path, this.#writeBufferBytes)
    this.#level = await openFirst(this.path, this.#options.create, this.#settings)
    try {
      await this.#begin(await formatOf(this.path, this.#level))
    } catch (error) {
      await this.#level.close()
      throw error
    }
  }

  /** The first write after opening: it tells where LevelDB's numbers of rows stand. */
  async #begin (format: string): Promise<void> {
    await this.#level.put(key.format(), format, { sync: true })
    this.reader.mixed = format === mixedFormat
    const sequence = await firstSequence(databasePath(this.path))
    if (sequence === undefined) throw new Error('the log does not hold what was just written to it')
    if (sequence <= this.#sequence) throw new StoreLostError(this.path, 'opened anew, it lacks rows that were acknowledged')
    this.#sequence = sequence
  }

  /** Runs `job` alone: no other job and no write of another one while it runs. Rejects when writes cannot be taken. */
  exclusive<T> (job: () => Promise<T>): Promise<T> {
    this.#group = undefined // what is written later stays behind this job
    if (this.#closing !== undefined) return Promise.reject(new StoreClosedError())
    const run = this.#tail.then(async () => {
      if (this.#lost !== undefined) throw this.#lost
      if (this.#trouble !== undefined) await this.#recover(this.#trouble)
      return await job()
    })
    // The error belongs to the caller; the queue goes on.
    this.#tail = run.then(() => undefined, () => undefined)
    return run
  }

  /** Writes rows that depend on nothing else, atomically; calls that wait for the disk share one write. */
  put (rows: readonly Row[], sync: boolean): Promise<void> {
    if (this.#group === undefined) {
      const group = { rows: [] as Row[], sync: false, done: Promise.resolve() }
      group.done = this.exclusive(async () => {
        if (this.#group === group) this.#group = undefined
        const batch = this.batch()
        for (const { key, value } of group.rows) {
          if (value === null) batch.del(key)
          else batch.put(key, value)
        }
        if (batch.length === 0) await batch.close()
        else await this.write(batch, group.sync)
      })
      this.#group = group
    }
    for (const row of rows) this.#group.rows.push(row)
    this.#group.sync ||= sync
    return this.#group.done
  }

  batch (): Batch { return new Batch(this.#level) }

  /** Writes a batch, inside `exclusive`; with `sync` it is on disk when it resolves. */
  async write (batch: Batch, sync: boolean): Promise<void> {
    const rows = batch.length
    const { faults, onSync } = this.#options
    try {
      if (faults?.beforeWrite !== undefined) await faults.beforeWrite({ rows, sync })
      await batch.write(sync)
      if (faults?.afterWrite !== undefined) await faults.afterWrite({ rows, sync })
    } catch (error) {
      throw this.#fail(error)
    }
    this.#sequence += BigInt(rows)
    this.#tries = 0
    if (sync) onSync?.(rows)
  }

  get (name: string): Promise<string | undefined> { return this.reader.get(name) }
  getMany (names: string[], onDamaged?: (at: number) => void, atOnce?: boolean): Promise<Array<string | undefined>> { return this.reader.getMany(names, onDamaged, atOnce) }
  scan (range: Range, options: ScanOptions = {}): AsyncGenerator<Array<[string, string]>, void> { return this.reader.scan(range, options) }

  /** All rows of a range; for ranges that are short or limited. */
  async rows (range: Range, limit?: number): Promise<Array<[string, string]>> {
    const all: Array<[string, string]> = []
    for await (const rows of this.scan(range, limit === undefined ? {} : { limit })) {
      for (const row of rows) all.push(row)
    }
    return all
  }

  /** The last row of a range. */
  async last (range: Range): Promise<[string, string] | undefined> {
    const last: Array<[string, string]> = []
    for await (const rows of this.scan(range, { limit: 1, reverse: true })) last.push(...rows)
    return last[0]
  }

  /** Bytes of a range on the disk, about; without what was written last. */
  async size ({ gt, lt }: Range): Promise<number> { return await (await this.level()).approximateSize(gt, lt) }

  /** LevelDB itself, for reads; waits while it is opened anew. */
  async level (): Promise<Level> {
    if (this.#reopening !== undefined) await this.#reopening.catch(() => { /* told below */ })
    if (this.#closed) throw new StoreClosedError()
    if (this.#level.status !== 'open') throw this.#lost ?? this.#told(this.#trouble)
    return this.#level
  }

  /** True when the store failed and cannot be opened anew. */
  get lost (): boolean { return this.#lost !== undefined }

  /** Rejects when the store does not take writes; tries to open it anew when it is time. */
  async health (): Promise<void> {
    if (this.#lost !== undefined) throw this.#lost
    if (this.#trouble !== undefined) await this.exclusive(async () => {})
    if (!readsFormat(await this.get(key.format()) ?? '')) throw new StoreFailedError(this.path, 'the format version is gone')
  }

  /** Waits for the jobs that were taken, then closes. */
  close (): Promise<void> {
    clearTimeout(this.#timer)
    this.#closing ??= this.#tail.then(async () => {
      clearTimeout(this.#timer)
      this.#closed = true
      try {
        if (this.#trouble === undefined && this.#lost === undefined) await this.#flush()
      } finally {
        await this.#level.close()
        // What failed and was refused must not be there at the next start.
        if (this.#trouble !== undefined && this.#lost === undefined) await cutLogs(databasePath(this.path), this.#sequence)
      }
    })
    return this.#closing
  }

  /** Makes a table of what LevelDB has in memory and log: opening would have to replay it. The range itself is empty. */
  async #flush (): Promise<void> { await this.#level.compactRange('\x00', '\x00') }

  get #settings (): LevelSettings { return { blockCacheBytes: this.#options.blockCacheBytes, writeBufferBytes: this.#writeBufferBytes } }

  #fail (error: unknown): StoreFailedError {
    this.#trouble = new Trouble(error, this.#tries, this.#options.retryIntervalMs)
    this.#schedule(this.#trouble)
    return this.#told(this.#trouble)
  }

  #told (trouble: Trouble | undefined): StoreFailedError {
    return trouble?.kind === 'full' ? new StoreFullError(this.path, trouble.error) : new StoreFailedError(this.path, trouble?.error ?? 'not open')
  }

  /** The next try by itself, also when nobody writes. */
  #schedule (trouble: Trouble): void {
    clearTimeout(this.#timer)
    if (this.#closing !== undefined) return
    this.#timer = setTimeout(() => {
      // A timer may come a moment early.
      trouble.nextAt = 0
      this.exclusive(async () => {}).catch(() => { /* kept in #trouble, and the next try is scheduled */ })
    }, Math.max(1, trouble.nextAt - performance.now()))
    this.#timer.unref()
  }

  /** Opens the database anew when it is time and there is what that needs; throws while not. Inside the queue. */
  async #recover (trouble: Trouble): Promise<void> {
    if (performance.now() < trouble.nextAt) throw this.#told(trouble)
    try {
      if (trouble.hopeless) throw trouble.error
      if (!await canReopen(this.path)) {
        trouble.wait()
        throw new StoreFailedError(this.path, trouble.error)
      }
      this.#reopening = this.#reopen()
      await this.#reopening
    } catch (error) {
      if (!(error instanceof StoreFailedError) || error instanceof StoreLostError) trouble.failed(error)
      if (trouble.hopeless || error instanceof StoreLostError) throw this.#lose(error)
      this.#schedule(trouble)
      throw this.#told(trouble)
    } finally {
      this.#reopening = undefined
    }
    this.#trouble = undefined
    this.#tries = trouble.tries + 1
    clearTimeout(this.#timer)
  }

  #lose (error: unknown): StoreLostError {
    const lost = error instanceof StoreLostError ? error : new StoreLostError(this.path, error)
    this.#lost = lost
    clearTimeout(this.#timer)
    this.#options.onLost?.(lost)
    return lost
  }

  async #reopen (): Promise<void> {
    await this.#level.close()
    // Closing lets the C library write what was left of the failed write, and a commit that was rejected would be there
    // after all.
    try {
      await cutLogs(databasePath(this.path), this.#sequence)
      await checkLogs(databasePath(this.path))
    } catch (error) {
      throw (error as NodeJS.ErrnoException).code === undefined ? new StoreLostError(this.path, error) : error
    }
    await removeOrphans(databasePath(this.path))
    this.onReopen()
    const level = makeLevel(this.path, false, this.#settings)
    await level.open()
    this.#level = level
    try {
      await this.#begin(this.reader.mixed ? mixedFormat : String(formatVersion))
    } catch (error) {
      await level.close()
      throw error
    }
  }
}
