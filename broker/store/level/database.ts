/**
 * LevelDB with what the store needs around it: one queue of writes, reads that wait while the database is opened anew, and
 * a state that says whether writes can be taken.
 *
 * Writes go one after another because of the way LevelDB fails: when a write is cut (disk full), its log writer has lost
 * its place, and a later write to the same log would be unreadable after a restart. So after any failed write nothing
 * is written before the database was closed and opened again.
 */
import { statfs, truncate } from 'node:fs/promises'
import { ClassicLevel } from 'classic-level'
import { StoreClosedError, StoreFailedError, StoreFormatError, StoreFullError, StoreLockedError, isFull, isLocked } from './failure.ts'
import { databasePath, formatVersion } from './format.ts'
import { key } from './keys.ts'
import { SharedScan } from './shared-scan.ts'
import type { Range } from './keys.ts'
import { checkLogs, newestLog } from './log-check.ts'

/** Places for tests to make writes fail or slow. */
export interface Faults {
  /** Called before each write; what it throws is the write's error. */
  beforeWrite?: (write: { rows: number, sync: boolean }) => void | Promise<void>
  /** Called after each write that LevelDB reported as done; what it throws is the write's error. */
  afterWrite?: (write: { rows: number, sync: boolean }) => void | Promise<void>
}

export interface DatabaseOptions {
  path: string
  /** Bytes of LevelDB's cache of blocks. */
  blockCacheBytes: number
  /** Bytes that LevelDB collects in memory and log before it writes a table. */
  writeBufferBytes: number
  /** Milliseconds between two tries to go on after the disk was full. */
  retryIntervalMs: number
  onSync?: (rows: number) => void
  faults?: Faults
}

/** A row to write; `null` removes it. */
export interface Row { key: string, value: string | Uint8Array | null }

export type Batch = ReturnType<ClassicLevel<string, string>['batch']>
type Full = { error: unknown, log: { file: string, bytes: number } | undefined, triedAt: number }

/** Bytes that one step of a scan may hold; LevelDB's own default, 16 kB, would cut pages of messages in pieces. */
const scanBytes = 256 * 1024

export class Database {
  readonly path: string
  /** `rows` for short ranges of ASCII keys that many ask for at once. */
  readonly together = new SharedScan(async () => (await this.level()).iterator(), (range, limit) => this.rows(range, limit))
  /** Called when what was cached may not be what is on disk. */
  onReopen: () => void = () => {}
  readonly #options: DatabaseOptions
  /** Made by `open`: LevelDB starts to open as soon as it is made. */
  #level!: ClassicLevel<string, string>
  #tail: Promise<unknown> = Promise.resolve()
  #failed: StoreFailedError | undefined
  #full: Full | undefined
  #reopening: Promise<void> | undefined
  #closing: Promise<void> | undefined
  #closed = false
  /** Small writes that wait for their turn in the queue, and go in one batch. */
  #group: { rows: Row[], sync: boolean, done: Promise<void> } | undefined

  constructor (options: DatabaseOptions) {
    this.path = options.path
    this.#options = options
  }

  async open (): Promise<void> {
    await checkLogs(databasePath(this.path))
    this.#level = this.#make()
    try {
      await this.#level.open()
    } catch (error) {
      if (isLocked(error)) throw new StoreLockedError(this.path, error)
      const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
      throw new StoreFailedError(this.path, cause)
    }
    try {
      const format = await this.#level.get(key.format())
      if (format === undefined) {
        if ((await this.#level.keys({ limit: 1 }).all()).length > 0) {
          throw new StoreFormatError(`'${this.path}' is not a Sabethes store: its database holds rows, but no format version`)
        }
        await this.#level.put(key.format(), String(formatVersion), { sync: true })
      } else if (format !== String(formatVersion)) {
        throw new StoreFormatError(`the database of '${this.path}' has format version ${format}, and this program knows version ${formatVersion}`)
      }
    } catch (error) {
      await this.#level.close()
      throw error
    }
  }

  /** Runs `job` alone: no other job and no write of another one while it runs. Rejects when writes cannot be taken. */
  exclusive<T> (job: () => Promise<T>): Promise<T> {
    this.#group = undefined // what is written later stays behind this job
    if (this.#closing !== undefined) return Promise.reject(new StoreClosedError())
    const run = this.#tail.then(async () => {
      if (this.#failed !== undefined) throw this.#failed
      if (this.#full !== undefined) await this.#recover(this.#full)
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
          else if (typeof value === 'string') batch.put(key, value)
          else batch.put(key, value, { valueEncoding: 'view' })
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

  batch (): Batch { return this.#level.batch() }

  /** Writes a batch, inside `exclusive`; with `sync` it is on disk when it resolves. */
  async write (batch: Batch, sync: boolean): Promise<void> {
    const rows = batch.length
    const { faults, onSync } = this.#options
    try {
      if (faults?.beforeWrite !== undefined) await faults.beforeWrite({ rows, sync })
      await batch.write({ sync })
      if (faults?.afterWrite !== undefined) await faults.afterWrite({ rows, sync })
    } catch (error) {
      throw await this.#fail(error)
    }
    if (sync) onSync?.(rows)
  }

  async get (name: string): Promise<string | undefined> {
    if (this.#reopening !== undefined) await this.#reopening
    return await this.#open().get(name)
  }

  async getMany (names: string[]): Promise<Array<string | undefined>> {
    if (names.length === 0) return []
    if (this.#reopening !== undefined) await this.#reopening
    return await this.#open().getMany(names)
  }

  /** Rows of a range in order, as text; in pieces, so that a long range is not held in memory. */
  async * scan (range: Range, options: { limit?: number, reverse?: boolean } = {}): AsyncGenerator<Array<[string, string]>, void> {
    if (this.#reopening !== undefined) await this.#reopening
    const limit = options.limit ?? Infinity
    if (limit <= 0) return
    const iterator = this.#open().iterator({ ...range, limit, reverse: options.reverse === true, highWaterMarkBytes: scanBytes })
    try {
      for (let left = limit; left > 0;) {
        const rows = await iterator.nextv(Math.min(left, 1000))
        if (rows.length === 0) return
        yield rows
        left -= rows.length
      }
    } finally {
      await iterator.close()
    }
  }

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

  /** LevelDB itself, for bytes and snapshots; reads only. */
  async level (): Promise<ClassicLevel<string, string>> {
    if (this.#reopening !== undefined) await this.#reopening
    return this.#open()
  }

  /** Rejects when the store cannot serve; ends the state "disk full" when there is room again. */
  async health (): Promise<void> {
    if (this.#full !== undefined) await this.exclusive(async () => {})
    if (this.#failed !== undefined) throw this.#failed
    if (await this.get(key.format()) !== String(formatVersion)) throw new StoreFailedError(this.path, 'the format version is gone')
  }

  /** Waits for the jobs that were taken, then closes. */
  close (): Promise<void> {
    this.#closing ??= this.#tail.then(async () => {
      this.#closed = true
      try {
        if (this.#failed === undefined && this.#full === undefined) await this.#flush()
      } finally {
        await this.#level.close()
      }
    })
    return this.#closing
  }

  /** Makes a table of what LevelDB has in memory and log: opening would have to replay it. The range itself is empty. */
  async #flush (): Promise<void> { await this.#level.compactRange('\x00', '\x00') }

  #open (): ClassicLevel<string, string> {
    if (this.#closed) throw new StoreClosedError()
    return this.#level
  }

  #make (): ClassicLevel<string, string> {
    return new ClassicLevel<string, string>(databasePath(this.path), {
      keyEncoding: 'utf8',
      valueEncoding: 'utf8',
      cacheSize: this.#options.blockCacheBytes,
      writeBufferSize: this.#options.writeBufferBytes,
      // Fewer and larger tables than LevelDB's 2 MB: less compaction work a message.
      maxFileSize: 8 * 1024 * 1024
    })
  }

  async #fail (error: unknown): Promise<StoreFailedError> {
    if (!isFull(error)) {
      this.#failed = new StoreFailedError(this.path, error)
      return this.#failed
    }
    const full: Full = { error, log: undefined, triedAt: performance.now() }
    this.#full = full
    try {
      full.log = await newestLog(databasePath(this.path))
    } catch (cause) {
      // Without the size, what was rejected could come back: no recovery then.
      this.#failed = new StoreFailedError(this.path, new AggregateError([error, cause], 'disk full, and its log cannot be read'))
      return this.#failed
    }
    return new StoreFullError(this.path, error)
  }

  /** Opens the database anew when there is room; throws while there is none. */
  async #recover (full: Full): Promise<void> {
    const now = performance.now()
    if (now - full.triedAt < this.#options.retryIntervalMs) throw new StoreFullError(this.path, full.error)
    full.triedAt = now
    const { bavail, bsize } = await statfs(this.path)
    // LevelDB writes what its log holds into a table when it opens.
    if (bavail * bsize < 2 * (full.log?.bytes ?? 0) + 1024 * 1024) throw new StoreFullError(this.path, full.error)
    this.#reopening = this.#reopen(full)
    try {
      await this.#reopening
    } catch (error) {
      throw new StoreFullError(this.path, error)
    } finally {
      this.#reopening = undefined
    }
    this.#full = undefined
  }

  async #reopen (full: Full): Promise<void> {
    await this.#level.close()
    // Closing lets the C library write what was left of the failed write, and a commit that was rejected would be there
    // after all. What was acknowledged ends before this size.
    if (full.log !== undefined) await truncate(full.log.file, full.log.bytes)
    full.log = undefined
    this.onReopen()
    const level = this.#make()
    await level.open()
    this.#level = level
  }
}
