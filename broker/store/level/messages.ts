/** Reading the log of conversations. */
import type { Head, StoredMessage } from '../store.ts'
import { decodeMessage, publicMessage } from './codec.ts'
import type { Database } from './database.ts'
import { key, lastNumber } from './keys.ts'
import type { Tables } from './tables.ts'

export interface MessageRange { after?: number, before?: number, limit: number, maxBytes?: number, newest?: boolean }

export class Messages {
  readonly #db: Database
  readonly #tables: Tables

  constructor (db: Database, tables: Tables) {
    this.#db = db
    this.#tables = tables
  }

  async heads (convs: readonly string[]): Promise<Array<Head | undefined>> {
    const rows = await this.#tables.heads.read(this.#db, convs.map(conv => key.head(conv)))
    return rows.map(row => row === null ? undefined : { seq: row.seq, n: row.n, ts: row.ts })
  }

  async messages (conv: string, range: MessageRange): Promise<StoredMessage[]> {
    const head = await this.#tables.heads.readOne(this.#db, key.head(conv))
    if (head === null || range.limit <= 0) return []
    const after = Math.max(range.after ?? 0, head.purgedSeq)
    const before = Math.min(range.before ?? Infinity, Number.MAX_SAFE_INTEGER)
    if (before <= after + 1) return []
    const reverse = range.newest === true
    const maxBytes = range.maxBytes ?? Infinity
    const found: StoredMessage[] = []
    let bytes = 0
    const keys = { gt: key.message(conv, after), lt: key.message(conv, before) }
    let full = false
    for await (const rows of this.#db.scan(keys, { limit: range.limit, reverse })) {
      for (const [name, text] of rows) {
        const message = publicMessage(decodeMessage(text, lastNumber(name)))
        bytes += Buffer.byteLength(message.content)
        full = bytes > maxBytes && found.length > 0
        if (full) break
        found.push(message)
      }
      if (full) break
    }
    return reverse ? found.reverse() : found
  }

  async messagesAt (at: ReadonlyArray<{ conv: string, seq: number }>): Promise<Array<StoredMessage | undefined>> {
    const heads = await this.#tables.heads.read(this.#db, at.map(({ conv }) => key.head(conv)))
    const texts = await this.#db.getMany(at.map(({ conv, seq }) => key.message(conv, Math.max(0, seq))))
    return at.map(({ seq }, i) => {
      const text = texts[i]
      const head = heads[i]
      if (text === undefined || head === null || head === undefined || seq <= head.purgedSeq) return undefined
      return publicMessage(decodeMessage(text, seq))
    })
  }
}
