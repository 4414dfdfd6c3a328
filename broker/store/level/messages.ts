/** Reading the log of conversations. */
import type { Head, StoredMessage } from '../store.ts'
import { decodeStored, shownHead } from './codec.ts'
import type { HeadRow } from './codec.ts'
import type { Database } from './database.ts'
import { key, lastNumber, under } from './keys.ts'
import { messageKeys, scanLog } from './segments.ts'
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
    return rows.map(row => row === null ? undefined : shownHead(row))
  }

  async expiring (conv: string, after: number, limit: number): Promise<Array<{ seq: number, expiresAt: number }>> {
    const head = await this.#tables.heads.readOne(this.#db, key.head(conv))
    const floor = Math.max(after, head?.purgedSeq ?? 0)
    if (head === null || head.expiring <= floor || limit <= 0) return []
    const rows = await this.#db.rows({ gt: key.expiring(conv, floor), lt: under(key.expirings(conv)).lt }, limit)
    return rows.map(([name, time]) => ({ seq: lastNumber(name), expiresAt: Number(time) }))
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
    let full = false
    for await (const rows of scanLog(this.#db, conv, head, { after, before, limit: range.limit, reverse })) {
      for (const [name, text] of rows) {
        const message = decodeStored(text, lastNumber(name))
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
    const { newest } = this.#tables
    const found: Array<StoredMessage | undefined> = new Array(at.length).fill(undefined)
    const wanted: Array<{ conv: string, seq: number, head: HeadRow }> = []
    const places: number[] = []
    at.forEach(({ conv, seq }, i) => {
      const head = heads[i] as HeadRow | null
      if (head === null || seq <= head.purgedSeq) return
      const known = newest.get(conv)
      if (known?.seq === seq) {
        found[i] = { ...known }
      } else {
        wanted.push({ conv, seq, head })
        places.push(i)
      }
    })
    if (wanted.length === 0) return found
    const texts = await this.#db.getMany(await messageKeys(this.#db, wanted))
    texts.forEach((text, j) => {
      if (text === undefined) return
      const { conv, seq, head } = wanted[j] as { conv: string, seq: number, head: HeadRow }
      const message = decodeStored(text, seq)
      found[places[j] as number] = message
      // Conversation lists ask for it again and again.
      if (seq === head.seq) newest.set(conv, { ...message })
    })
    return found
  }
}
