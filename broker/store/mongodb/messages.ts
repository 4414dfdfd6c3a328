/** Reading the log of conversations. */
import { ObjectId } from 'mongodb'
import type { Head, StoredMessage } from '../store.ts'
import type { Connection } from './connection.ts'
import { whole } from './connection.ts'
import { expiringKey, place, placed, shownHead, storedMessage } from './documents.ts'
import type { HeadRow, MessageDoc } from './documents.ts'
import { pieces } from './rows.ts'
import type { Rows } from './rows.ts'

export interface MessageRange { after?: number, before?: number, limit: number, maxBytes?: number, newest?: boolean }

/** Most messages of one query. */
const messagesOfQuery = 1000
/** Bytes of a message, as long as none was read. */
const usualBytes = 200
const pairsOfQuery = 200
const insertedOfQuery = 5000

export class Messages {
  readonly #db: Connection
  readonly #rows: Rows
  /** Reads that are under way. */
  readonly #reading = new Map<string, Promise<readonly MessageDoc[]>>()
  /** Bytes of a message in the ranges read lately. What a query brings beyond a limit of bytes was read for nothing. */
  #meanBytes = usualBytes

  constructor (db: Connection, rows: Rows) {
    this.#db = db
    this.#rows = rows
  }

  async heads (convs: readonly string[]): Promise<Array<Head | undefined>> {
    const { heads } = await this.#rows.read(convs, [])
    return convs.map(conv => {
      const row = heads.get(conv)
      return row == null || row.seq === 0 ? undefined : shownHead(row)
    })
  }

  /** What was inserted since then: ids of documents begin with the second in which they were made (`_id` has an index). */
  async * inserted (since: number): AsyncGenerator<Array<{ conv: string, seq: number, from: string }>> {
    let after = ObjectId.createFromTime(Math.max(0, Math.floor(since / 1000) - 1))
    for (;;) {
      const docs = await this.#db.read(() => this.#db.messages.find({ _id: { $gt: after } }, { ...whole, readPreference: 'primary' }).sort({ _id: 1 }).limit(insertedOfQuery)
        .project<Pick<MessageDoc, 'c' | 's' | 'f'> & { _id: ObjectId }>({ c: 1, s: 1, f: 1 }).toArray())
      if (docs.length > 0) yield docs.map(({ c, s, f }) => ({ conv: placed(c), seq: s, from: f }))
      const last = docs.at(-1)
      if (last === undefined || docs.length < insertedOfQuery) return
      after = last._id
    }
  }

  async expiring (conv: string, after: number, limit: number): Promise<Array<{ seq: number, expiresAt: number }>> {
    const head = (await this.#rows.read([conv], [])).heads.get(conv)
    const floor = Math.max(after, head?.purgedSeq ?? 0)
    if (head == null || head.expiring <= floor || limit <= 0) return []
    const range = { $gt: expiringKey(place(conv), floor), $lte: expiringKey(place(conv), Number.MAX_SAFE_INTEGER) }
    const docs = await this.#db.messages.find({ ec: range }, whole).sort({ ec: 1 }).limit(limit).project<Pick<MessageDoc, 's' | 'e'>>({ _id: 0, s: 1, e: 1 }).toArray()
    return docs.map(({ s, e }) => ({ seq: s, expiresAt: e as number }))
  }

  async messages (conv: string, range: MessageRange): Promise<StoredMessage[]> {
    const head = (await this.#rows.read([conv], [])).heads.get(conv)
    if (head == null || range.limit <= 0) return []
    const { newest: reverse = false, maxBytes = Infinity } = range
    let { after, before } = boundsOf(range, head)
    const found: StoredMessage[] = []
    for (let bytes = 0, full = false, guess = 1; !full && found.length < range.limit && before > after + 1; guess *= 2) {
      const limit = Math.min(range.limit - found.length, messagesOfQuery, Math.ceil(guess * (maxBytes - bytes) / this.#meanBytes) + 1)
      const docs = await this.#read(head.seq, [conv, after, before, reverse, limit])
      for (const doc of docs) {
        bytes += Buffer.byteLength(doc.p)
        full = bytes > maxBytes && found.length > 0
        if (full) break
        found.push(storedMessage(doc))
      }
      const last = docs.at(-1)
      if (last === undefined || docs.length < limit) break
      if (reverse) before = last.s
      else after = last.s
    }
    return reverse ? found.reverse() : found
  }

  /** `end`: of the log. What can only find what is there already is read once for all who ask for it meanwhile. */
  #read (end: number, range: [conv: string, after: number, before: number, reverse: boolean, limit: number]): Promise<readonly MessageDoc[]> {
    if (range[2] > end + 1) return this.#between(...range)
    const key = range.join(' ')
    let reading = this.#reading.get(key)
    if (reading === undefined) {
      reading = this.#between(...range).finally(() => { this.#reading.delete(key) })
      this.#reading.set(key, reading)
    }
    return reading
  }

  async #between (conv: string, after: number, before: number, reverse: boolean, limit: number): Promise<MessageDoc[]> {
    const docs = await this.#db.messages.find({ c: place(conv), s: { $gt: after, $lt: before } }, whole).sort({ s: reverse ? -1 : 1 }).limit(limit).toArray()
    this.#learn(docs)
    return docs
  }

  #learn (docs: readonly MessageDoc[]): void {
    if (docs.length === 0) return
    // Length in UTF-16 is near enough.
    const mean = docs.reduce((sum, doc) => sum + doc.p.length, 0) / docs.length
    this.#meanBytes = Math.max(1, (this.#meanBytes + mean) / 2)
  }

  async messagesAt (at: ReadonlyArray<{ conv: string, seq: number }>): Promise<Array<StoredMessage | undefined>> {
    if (at.length === 0) return []
    const { heads } = await this.#rows.read(at.map(({ conv }) => conv), [])
    const wanted = at.filter(({ conv, seq }) => seq > (heads.get(conv)?.purgedSeq ?? Infinity))
    const found = new Map<string, StoredMessage>()
    const perConv = new Map<string, number[]>()
    for (const { conv, seq } of wanted) {
      const seqs = perConv.get(conv)
      if (seqs === undefined) perConv.set(conv, [seq])
      else seqs.push(seq)
    }
    const filters = [...perConv].map(([conv, seqs]) => ({ c: place(conv), s: { $in: seqs } }))
    await Promise.all(pieces(filters, pairsOfQuery).map(async some => {
      for (const doc of await this.#db.messages.find({ $or: some }, whole).toArray()) found.set(`${doc.c} ${doc.s}`, storedMessage(doc))
    }))
    return at.map(({ conv, seq }) => {
      const message = found.get(`${place(conv)} ${seq}`)
      return message === undefined ? undefined : { ...message }
    })
  }
}

/** The numbers around what is asked for and not purged. */
function boundsOf (range: MessageRange, head: HeadRow): { after: number, before: number } {
  return { after: Math.max(range.after ?? 0, head.purgedSeq), before: Math.min(range.before ?? Infinity, Number.MAX_SAFE_INTEGER) }
}
