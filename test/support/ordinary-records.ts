/** A small key-value space for tests of the ordinary topics' persistence: LevelDB in a folder, or memory. */
import { ClassicLevel } from 'classic-level'
import type { RecordsLike } from '../../broker/ordinary/persistence.ts'

/** Opens (or creates) a LevelDB in `path`. */
export async function levelRecords (path: string): Promise<RecordsLike & { close (): Promise<void> }> {
  const db = new ClassicLevel<string, Uint8Array>(path, { valueEncoding: 'view' })
  await db.open()
  return {
    get: async key => await db.get(key),
    range: (from, to, limit) => db.iterator({ gte: from, lt: to, ...limit !== undefined && { limit } }),
    write: async (ops, sync) => {
      await db.batch(ops.map(({ key, value }) => value === null ? { type: 'del' as const, key } : { type: 'put' as const, key, value }), { sync })
    },
    close: async () => { await db.close() }
  }
}

/** Rows in memory that count writes and can be told to fail or to wait. */
export class MemoryRecords implements RecordsLike {
  readonly rows = new Map<string, Uint8Array>()
  writes = 0
  synced = 0
  /** The next writes reject with it. */
  failure: Error | undefined
  /** Writes wait for it. */
  hold: Promise<void> | undefined
  /** Look-ups wait for it. */
  holdReads: Promise<void> | undefined

  async get (key: string): Promise<Uint8Array | undefined> {
    if (this.holdReads !== undefined) await this.holdReads
    return this.rows.get(key)
  }

  async * range (from: string, to: string, limit = Infinity): AsyncGenerator<[string, Uint8Array]> {
    const order = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b))
    const keys = [...this.rows.keys()].filter(key => order(key, from) >= 0 && order(key, to) < 0).sort(order).slice(0, limit)
    for (const key of keys) {
      const value = this.rows.get(key)
      if (value !== undefined) yield [key, value]
    }
  }

  async write (ops: Array<{ key: string, value: Uint8Array | null }>, sync: boolean): Promise<void> {
    this.writes++
    if (this.hold !== undefined) await this.hold
    else await Promise.resolve()
    if (this.failure !== undefined) throw this.failure
    if (sync) this.synced++
    for (const { key, value } of ops) {
      if (value === null) this.rows.delete(key)
      else this.rows.set(key, value)
    }
  }
}
