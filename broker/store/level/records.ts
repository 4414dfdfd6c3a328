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

  async create (name: string, value: Uint8Array): Promise<Uint8Array> {
    return await this.#db.exclusive(async () => {
      const row = key.record(name)
      const present = await this.#db.reader.getBytes(row)
      if (present !== undefined) return present
      const batch = this.#db.batch()
      batch.put(row, value)
      await this.#db.write(batch, true)
      return value
    })
  }

  async swap (name: string, from: Uint8Array, to: Uint8Array | null): Promise<boolean> {
    return await this.#db.exclusive(async () => {
      const row = key.record(name)
      const present = await this.#db.reader.getBytes(row)
      if (present === undefined || Buffer.compare(present, from) !== 0) return false
      const batch = this.#db.batch()
      if (to === null) batch.del(row)
      else batch.put(row, to)
      await this.#db.write(batch, true)
      return true
    })
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
