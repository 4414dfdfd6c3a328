/** The newest time that a message or event was ever given: written with each commit that moves it, in the same batch. */
import type { TimeMs } from '../store.ts'
import { headCodec } from './codec.ts'
import type { Batch } from './batch.ts'
import type { Database } from './database.ts'
import { key, under } from './keys.ts'

export class Newest {
  #ts: TimeMs

  private constructor (ts: TimeMs) { this.#ts = ts }

  /** A store of an earlier version, or one that was migrated, has no such row yet: then the heads know it. */
  static async open (db: Database): Promise<Newest> {
    const text = await db.get(key.newest())
    let ts = Number(text ?? 0)
    if (text === undefined) {
      for await (const rows of db.scan(under(key.heads()))) {
        for (const [name, row] of rows) ts = Math.max(ts, headCodec.decode(row, name).ts)
      }
    }
    return new Newest(ts)
  }

  get ts (): TimeMs { return this.#ts }

  put (batch: Batch, ts: TimeMs): void { if (ts > this.#ts) batch.put(key.newest(), String(ts)) }

  /** The batch is on disk. */
  settle (ts: TimeMs): void { if (ts > this.#ts) this.#ts = ts }
}
