/**
 * Reading rows, each held against its checksum. What is damaged is reported and left out of what many rows are read for, so that
 * whole rows are served; asked for by itself it is a `StoreDamagedError`.
 */
import type { ClassicLevel } from 'classic-level'
import { StoreDamagedError, StoreUnavailableError } from '../errors.ts'
import { hasCode, isCorruption, isReopening } from './failure.ts'
import { Gathered } from './gathered.ts'
import { parts } from './keys.ts'
import type { Range } from './keys.ts'
import { isSealed, unseal, unsealBytes } from './seal.ts'

type Level = ClassicLevel<string, string>

/** Bytes that one step of a scan may hold; LevelDB's own default, 16 kB, would cut pages of messages in pieces. */
const scanBytes = 256 * 1024
/** Rows of the first step of a scan, and of the longest; LevelDB's binding takes memory for as many as are asked for. */
const firstStepRows = 128
const mostStepRows = 1024
/** A last step of so many rows, or with a value of so many characters or bytes, is not left to the collector. */
const keptRows = 64
const keptLength = 2048
const bytes = { keyEncoding: 'utf8', valueEncoding: 'view' } as const

/** `highWaterMarkBytes`: of one step. */
export interface ScanOptions { limit?: number, reverse?: boolean, highWaterMarkBytes?: number }

export class Reader {
  /** The store has rows from before there were checksums. */
  mixed = false
  /** Called with each damaged row that is met, and why. */
  onDamage: (row: string, error?: unknown) => void = () => {}
  /** Resolves to the open database; waits while it is opened anew. */
  readonly #source: () => Promise<Level>
  readonly #gathered = new Gathered(keys => this.again(level => level.getMany(keys)))

  constructor (source: () => Promise<Level>) { this.#source = source }

  /** Throws `StoreDamagedError` when the row is damaged. */
  async get (key: string): Promise<string | undefined> {
    const stored = await this.#attempt(key, async () => (await this.#gathered.read([key]))[0])
    const value = this.whole(key, stored)
    if (stored !== undefined && value === undefined) throw damaged(key)
    return value
  }

  async getBytes (key: string): Promise<Uint8Array | undefined> {
    const stored = await this.#attempt(key, () => this.again(level => level.get<string, Uint8Array>(key, bytes)))
    if (stored === undefined) return undefined
    const value = unsealBytes(key, stored, this.mixed)
    if (value !== undefined) return value
    this.onDamage(key)
    throw damaged(key)
  }

  /**
   * Rows by key; `undefined` where there is none, and where it is damaged: then `onDamaged` is called with its place. `atOnce`: behind nobody else's
   * reads.
   */
  async getMany (keys: string[], onDamaged?: (at: number) => void, atOnce = false): Promise<Array<string | undefined>> {
    if (keys.length === 0) return []
    let found: Array<string | undefined>
    try {
      found = atOnce ? await this.again(level => level.getMany(keys)) : await this.#gathered.read(keys)
    } catch (error) {
      if (!isCorruption(error)) throw error
      return await this.#each(keys, onDamaged)
    }
    for (let i = 0; i < found.length; i++) {
      const stored = found[i]
      if (stored === undefined) continue
      const key = keys[i] as string
      found[i] = this.whole(key, stored)
      if (found[i] === undefined) onDamaged?.(i)
    }
    return found
  }

  async #each (keys: string[], onDamaged?: (at: number) => void): Promise<Array<string | undefined>> {
    const found: Array<string | undefined> = []
    for (const [i, key] of keys.entries()) {
      try {
        found.push(await this.get(key))
      } catch (error) {
        if (!(error instanceof StoreDamagedError)) throw error
        found.push(undefined)
        onDamaged?.(i)
      }
    }
    return found
  }

  /**
   * Rows of a range in order, as text; in pieces, so that a long range is not held in memory. Damaged rows are left out. Throws
   * `StoreDamagedError` where LevelDB cannot read on.
   */
  scan (range: Range, options: ScanOptions = {}): AsyncGenerator<Array<[string, string]>, void> {
    return this.#pieces<string>(range, 'utf8', options, (key, stored) => this.whole(key, stored))
  }

  /** `scan` of rows of bytes. */
  scanBytes (range: Range | { gte: string, lt: string }, options: ScanOptions = {}): AsyncGenerator<Array<[string, Uint8Array]>, void> {
    return this.#pieces<Uint8Array>(range, 'view', options, (key, stored) => {
      const value = unsealBytes(key, stored, this.mixed)
      if (value === undefined) this.onDamage(key)
      return value
    })
  }

  /** `limit` counts whole rows: whoever gets fewer is at the end. */
  async * #pieces<V extends { readonly length: number }> (range: Range | { gte: string, lt: string }, valueEncoding: 'utf8' | 'view', options: ScanOptions, whole: (key: string, stored: V) => V | undefined): AsyncGenerator<Array<[string, V]>, void> {
    const reverse = options.reverse === true
    let left = options.limit ?? Infinity
    if (left <= 0) return
    let rest: { gt?: string, gte?: string, lt: string } = range
    const begin = async () => await this.again(level => level.iterator<string, V>({ ...rest, reverse, keyEncoding: 'utf8', valueEncoding, highWaterMarkBytes: options.highWaterMarkBytes ?? scanBytes }))
    let iterator = await begin()
    let heavy = false
    let stepRows = firstStepRows
    try {
      while (left > 0) {
        let rows: Array<[string, V]>
        try {
          rows = await iterator.nextv(Math.min(left, stepRows))
          stepRows = Math.min(stepRows * 2, mostStepRows)
          heavy = isHeavy(rows)
        } catch (error) {
          this.#endUnlessReopening(error, rest)
          iterator = await begin()
          heavy = false
          continue
        }
        if (rows.length === 0) return
        const [last] = rows.at(-1) as [string, V]
        rest = reverse ? { ...rest, lt: last } : { gt: last, lt: rest.lt }
        keepWhole(rows, whole)
        left -= rows.length
        if (rows.length > 0) yield rows
      }
    } finally {
      if (heavy) await this.#forget(iterator, reverse ? 'gt' in range ? range.gt : range.gte : range.lt)
      await iterator.close()
    }
  }

  /** Throws what ends a scan with `rest` still to be read; a database that is being opened anew does not. */
  #endUnlessReopening (error: unknown, rest: { gt?: string, gte?: string }): void {
    if (isCorruption(error)) {
      const at = rest.gt ?? rest.gte ?? ''
      this.onDamage(at, error)
      throw damaged(at, error)
    }
    if (!isReopening(error)) throw unreadable(error)
  }

  /**
   * A closed iterator keeps what it read last in native memory until the collector finds it, and the collector does not know of it.
   * One row takes its place. At the end of its range the binding reads nothing any more: then it is sent there again, where it has been,
   * so that a seek, which holds up the event loop, finds what it needs in LevelDB's cache.
   */
  async #forget (iterator: { seek (target: string): void, nextv (size: number): Promise<unknown[]> }, end: string): Promise<void> {
    try {
      if ((await iterator.nextv(1)).length > 0) return
      iterator.seek(end)
      await iterator.nextv(1)
    } catch (error) {
      // The database closes, or is opened anew: nothing is left to forget. Damage outside the range is not this reader's.
      if (!isReopening(error) && !isCorruption(error)) throw error
    }
  }

  /** A stored value without its checksum; `undefined` when it is damaged, which is reported. */
  whole (key: string, stored: string | undefined): string | undefined {
    if (stored === undefined || !isSealed(key)) return stored
    const value = unseal(key, stored, this.mixed)
    if (value === undefined) this.onDamage(key)
    return value
  }

  async #attempt<T> (key: string, read: () => Promise<T>): Promise<T> {
    try {
      return await read()
    } catch (error) {
      if (!isCorruption(error)) throw error
      this.onDamage(key, error)
      throw damaged(key, error)
    }
  }

  /** A read that came upon a database that is being opened anew is done again on the new one. */
  async again<T> (read: (level: Level) => T | Promise<T>): Promise<T> {
    try {
      return await read(await this.#source())
    } catch (error) {
      if (!isReopening(error)) throw unreadable(error)
      return await read(await this.#source())
    }
  }
}

function isHeavy (rows: ReadonlyArray<[string, { readonly length: number }]>): boolean {
  return rows.length >= keptRows || rows.some(([, value]) => value.length >= keptLength)
}

/** Unseals rows in their place; damaged ones are left out. */
function keepWhole<V> (rows: Array<[string, V]>, whole: (key: string, stored: V) => V | undefined): void {
  let count = 0
  for (const row of rows) {
    const value = whole(row[0], row[1])
    if (value === undefined) continue
    row[1] = value
    rows[count++] = row
  }
  rows.length = count
}

/** A row's key as people may read it. */
export function shownKey (key: string): string { return parts(key).join(' ') }

/** What LevelDB cannot read for want of something, as descriptors or memory, may be asked for again. */
function unreadable (error: unknown): unknown {
  return hasCode(error, 'LEVEL_IO_ERROR') && !isCorruption(error) ? new StoreUnavailableError('the store cannot be read', { cause: error }) : error
}

function damaged (key: string, cause?: unknown): StoreDamagedError {
  return new StoreDamagedError(`the row '${shownKey(key)}' of the store is damaged`, { cause })
}
