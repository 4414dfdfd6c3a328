/** Rows that are written together, each with its checksum. */
import type { ClassicLevel } from 'classic-level'
import { isSealed, seal, sealBytes, sealIn, sealLength } from './seal.ts'

type Chained = ReturnType<ClassicLevel<string, string>['batch']>

const view = { valueEncoding: 'view' } as const

/** Larger values get room of their own. */
const roomBytes = 256 * 1024
/** LevelDB copies a value at once. */
const room = Buffer.allocUnsafeSlow(roomBytes)

export class Batch {
  readonly #chained: Chained

  constructor (level: ClassicLevel<string, string>) { this.#chained = level.batch() }

  /** Rows so far. */
  get length (): number { return this.#chained.length }

  put (key: string, value: string | Uint8Array): void {
    if (typeof value !== 'string') this.#chained.put(key, isSealed(key) ? sealBytes(key, value) : value, view)
    else this.#chained.put(key, isSealed(key) ? seal(key, value) : value)
  }

  /** A row with a checksum, of which the parts are at hand: they are written once, and not put together as text before. */
  putTexts (key: string, start: string, texts: readonly string[]): void {
    let most = start.length * 3 + sealLength
    for (const text of texts) most += text.length * 3
    const bytes = most <= roomBytes ? room : Buffer.allocUnsafe(most)
    let length = bytes.write(start, 0)
    for (const text of texts) length += bytes.write(text, length)
    this.#chained.put(key, bytes.subarray(0, sealIn(key, bytes, length)), view)
  }

  del (key: string): void { this.#chained.del(key) }
  async write (sync: boolean): Promise<void> { await this.#chained.write({ sync }) }
  async close (): Promise<void> { await this.#chained.close() }
}
