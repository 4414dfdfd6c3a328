/** Reading the log of conversations. */
import { codes } from '../../errors.ts'
import type { Head, StoredMessage } from '../store.ts'
import { StoreDamagedError } from '../errors.ts'
import { headCodec, shownHead } from './codec.ts'
import type { HeadRow, MessageRow } from './codec.ts'
import type { Database } from './database.ts'
import { key, lastNumber, under } from './keys.ts'
import { messagesAt } from './message-lookup.ts'
import { rebuildHead } from './rebuild.ts'
import { decodeStoredRun, firstOf } from './runs.ts'
import { scanLog } from './segments.ts'
import type { LogRange } from './segments.ts'
import type { Tables } from './tables.ts'

export interface MessageRange { after?: number, before?: number, limit: number, maxBytes?: number, newest?: boolean }

/** So few messages are read by their keys, whatever their size: others' reads share the trip. */
const fewMessages = 2
/** Keys of one read where rows are damaged. */
const stepDamaged = 256

/**
 * What readers get in the place of a message that is damaged: its number, and what to do. It has nobody as its sender and does
 * not count, and whoever catches up goes on behind it.
 */
function damagedMessage (conv: string, seq: number, neighbour?: StoredMessage): StoredMessage {
  const { n = 0, ts = 0 } = neighbour ?? {}
  const body = { code: 'damaged', conv, seq, reason: codes.damaged.text }
  const content = `"id":"damaged-${seq}","from":"","ts":${ts},"type":"damaged","body":${JSON.stringify(body)}`
  return { seq, n, counts: false, id: `damaged-${seq}`, from: '', ts, content }
}

function isDamaged ({ seq, id, from }: StoredMessage): boolean { return from === '' && id === `damaged-${seq}` }

/** The messages of a row that are within the range, in its order. */
function messagesOf ([name, text]: [string, string], { after, before, reverse }: LogRange): StoredMessage[] {
  const messages = decodeStoredRun(text, lastNumber(name))
  const within = messages.filter(({ seq }) => seq > after && seq < before)
  return reverse ? within.reverse() : within
}

/** A message without the part that the contract does not show. */
function stored ({ cid, ...message }: MessageRow): StoredMessage { return message }

function copied (text: string): string { return Buffer.from(text).toString() }

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
    const log = {
      after: Math.max(range.after ?? 0, head.purgedSeq),
      before: Math.min(range.before ?? Infinity, Number.MAX_SAFE_INTEGER),
      limit: range.limit,
      reverse: range.newest === true
    }
    if (log.before <= log.after + 1) return []
    const found = await this.#whole(conv, head, log, range.maxBytes ?? Infinity)
    if (found === undefined) return await this.#damaged(conv, range)
    return log.reverse ? found.reverse() : found
  }

  /** In the order of reading; `undefined` where some are damaged. */
  async #whole (conv: string, head: HeadRow, range: LogRange, maxBytes: number): Promise<StoredMessage[] | undefined> {
    const { after, before, limit, reverse } = range
    const found: StoredMessage[] = []
    let bytes = 0
    /** The number that comes next: a log has no gaps. */
    let next = reverse ? Math.min(before - 1, head.seq) : after + 1
    try {
      for await (const rows of this.#rows(conv, head, range)) {
        for (const message of rows.flatMap(row => messagesOf(row, range))) {
          if (message.seq !== next && message.seq <= head.seq) return undefined
          next += reverse ? -1 : 1
          bytes += Buffer.byteLength(message.content)
          if (bytes > maxBytes && found.length > 0) return found
          found.push(message)
          if (found.length === limit) return found
        }
      }
    } catch (error) {
      if (!(error instanceof StoreDamagedError)) throw error
      return undefined
    }
    const ended = reverse ? next <= after : next >= Math.min(before, head.seq + 1)
    return ended ? found : undefined
  }

  /** As `scanLog`; damaged and missing rows are left out. */
  async * #rows (conv: string, head: HeadRow, range: LogRange): AsyncGenerator<Array<[string, string]>, void> {
    const last = Math.min(range.before - 1, head.seq)
    const few = last - range.after <= fewMessages && range.after + 1 >= head.segmentFirst && last - range.after <= range.limit
    const rows = few ? await this.#few(conv, head.segment, range.after, last) : undefined
    if (rows === undefined) yield * scanLog(this.#db, conv, head, range)
    else yield range.reverse ? rows.reverse() : rows
  }

  /** The rows of the messages behind `after` up to `last`, by their keys; `undefined` when those are not the last ones of their runs. */
  async #few (conv: string, segment: number, after: number, last: number): Promise<Array<[string, string]> | undefined> {
    const names = Array.from({ length: Math.max(0, last - after) }, (_, i) => key.message(segment, conv, after + 1 + i))
    const texts = await this.#db.getMany(names)
    const rows: Array<[string, string]> = []
    let next = last
    for (let i = names.length - 1; i >= 0; i--) {
      const text = texts[i]
      if (text === undefined) continue
      if (after + 1 + i !== next) return undefined
      rows.unshift([names[i] as string, text])
      next = firstOf(text, next) - 1
    }
    return next <= after ? rows : undefined
  }

  /** `messages` one by one, where some are damaged: those are told by a message in their place. */
  async #damaged (conv: string, range: MessageRange): Promise<StoredMessage[]> {
    const head = await this.#storedHead(conv)
    if (head === null) return []
    const found = await this.#oneByOne(conv, head, range)
    if (!found.some(isDamaged)) return found
    const purgedSeq = (await this.#storedHead(conv))?.purgedSeq ?? 0
    const left = found.filter(message => message.seq > purgedSeq)
    for (const message of left) if (isDamaged(message)) this.#db.reader.onDamage(key.message(0, conv, message.seq))
    return left
  }

  /** Not from the cache: a purge may have moved its mark since the last look. */
  async #storedHead (conv: string): Promise<HeadRow | null> {
    const text = await this.#db.get(key.head(conv)).catch((error: unknown) => { if (!(error instanceof StoreDamagedError)) throw error })
    return text === undefined ? await rebuildHead(this.#db, key.head(conv)) : headCodec.decode(text, '')
  }

  /** How far conversations are purged by now: what was not found there is not damaged. */
  async #purged (convs: readonly string[]): Promise<Map<string, number>> {
    const marks = new Map<string, number>()
    for (const conv of new Set(convs)) marks.set(conv, (await this.#storedHead(conv))?.purgedSeq ?? 0)
    return marks
  }

  async #oneByOne (conv: string, head: HeadRow, range: MessageRange): Promise<StoredMessage[]> {
    const reverse = range.newest === true
    const first = Math.max(range.after ?? 0, head.purgedSeq) + 1
    const last = Math.min((range.before ?? Infinity) - 1, head.seq)
    const found: StoredMessage[] = []
    let bytes = 0
    for (let done = 0; done <= last - first && found.length < range.limit; done += stepDamaged) {
      const seqs = Array.from({ length: Math.min(stepDamaged, last - first + 1 - done, range.limit - found.length) }, (_, i) => reverse ? last - done - i : first + done + i)
      const rows = await messagesAt(this.#db, seqs.map(seq => ({ conv, seq, head })))
      for (const [i, seq] of seqs.entries()) {
        const row = rows[i]
        const message = row === undefined ? damagedMessage(conv, seq, found.at(-1)) : stored(row)
        bytes += Buffer.byteLength(message.content)
        if (bytes > (range.maxBytes ?? Infinity) && found.length > 0) return reverse ? found.reverse() : found
        found.push(message)
      }
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
    const damaged = new Set<number>()
    const rows = await messagesAt(this.#db, wanted, at => { damaged.add(at) })
    const marks = await this.#purged([...damaged].map(j => (wanted[j] as { conv: string }).conv))
    rows.forEach((row, j) => {
      const { conv, seq, head } = wanted[j] as { conv: string, seq: number, head: HeadRow }
      if (row === undefined) {
        if (damaged.has(j) && seq > (marks.get(conv) as number)) found[places[j] as number] = damagedMessage(conv, seq)
        return
      }
      const message = stored(row)
      found[places[j] as number] = message
      // Conversation lists ask for it again and again. A part of a text keeps all of it in memory.
      if (seq === head.seq) newest.set(conv, { ...message, id: copied(message.id), from: copied(message.from), content: copied(message.content) })
    })
    return found
  }
}
