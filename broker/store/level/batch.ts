/** Rows that are written together, each with its checksum. */
import type { ClassicLevel } from 'classic-level'
import { isSealed, seal, sealBytes } from './seal.ts'

type Chained = ReturnType<ClassicLevel<string, string>['batch']>

export class Batch {
  readonly #chained: Chained

  constructor (level: ClassicLevel<string, string>) { this.#chained = level.batch() }

  /** Rows so far. */
  get length (): number { return this.#chained.length }

  put (key: string, value: string | Uint8Array): void {
    if (typeof value !== 'string') this.#chained.put(key, isSealed(key) ? sealBytes(key, value) : value, { valueEncoding: 'view' })
    else this.#chained.put(key, isSealed(key) ? seal(key, value) : value)
  }

  del (key: string): void { this.#chained.del(key) }
  async write (sync: boolean): Promise<void> { await this.#chained.write({ sync }) }
  async close (): Promise<void> { await this.#chained.close() }
}
