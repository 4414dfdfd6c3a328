/** The key-value space of ordinary MQTT. */
import type { Records } from '../store.ts'
import type { Database } from './database.ts'
import { key } from './keys.ts'

const bytes = { keyEncoding: 'utf8', valueEncoding: 'view' } as const

export class LevelRecords implements Records {
  readonly #db: Database

  constructor (db: Database) { this.#db = db }

  async get (name: string): Promise<Uint8Array | undefined> {
    return await (await this.#db.level()).get<string, Uint8Array>(key.record(name), bytes)
  }

  async * range (from: string, to: string, limit = Infinity): AsyncGenerator<[string, Uint8Array], void> {
    if (limit <= 0) return
    const level = await this.#db.level()
    const start = key.record('').length
    const iterator = level.iterator<string, Uint8Array>({ ...bytes, gte: key.record(from), lt: key.record(to), limit })
    try {
      for (;;) {
        const rows = await iterator.nextv(100)
        if (rows.length === 0) return
        for (const [name, value] of rows) yield [name.slice(start), value]
      }
    } finally {
      await iterator.close()
    }
  }

  async write (ops: Array<{ key: string, value: Uint8Array | null }>, sync: boolean): Promise<void> {
    if (ops.length === 0) return
    await this.#db.put(ops.map(op => ({ key: key.record(op.key), value: op.value })), sync)
  }
}
