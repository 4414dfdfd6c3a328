/** The key-value space of ordinary MQTT. */
import type { Records } from '../store.ts'
import type { Database } from './database.ts'
import { key } from './keys.ts'

export class LevelRecords implements Records {
  readonly #db: Database

  constructor (db: Database) { this.#db = db }

  async get (name: string): Promise<Uint8Array | undefined> {
    return await this.#db.reader.getBytes(key.record(name))
  }

  async * range (from: string, to: string, limit = Infinity): AsyncGenerator<[string, Uint8Array], void> {
    const start = key.record('').length
    // A row at `from` itself belongs to the range.
    for await (const rows of this.#db.reader.scanBytes({ gte: key.record(from), lt: key.record(to) }, { limit })) {
      for (const [name, value] of rows) yield [name.slice(start), value]
    }
  }

  async write (ops: Array<{ key: string, value: Uint8Array | null }>, sync: boolean): Promise<void> {
    if (ops.length === 0) return
    await this.#db.put(ops.map(op => ({ key: key.record(op.key), value: op.value })), sync)
  }
}
