/**
 * The memory of packet ids (ADR 4), for senders without a client message id: a resend with DUP whose content is that of the
 * last publish of (session, packet id), and whose answer is in doubt, is that one. The memory is the newest message with the packet id; only when the
 * purge removes a message, or when it is repeated on a later connection, is it written down.
 */
import { repeats } from '../resend.ts'
import type { Remembered } from '../resend.ts'
import type { NewMessage, Resend } from '../store.ts'
import { place, placed, resendKey } from './documents.ts'
import type { Connection } from './connection.ts'
import { whole } from './connection.ts'
import type { MessageDoc, ResendDoc } from './documents.ts'

/** The last publish of a packet id. */
export interface Memory extends Remembered { seq: number, n: number, id: string }

/** A message of a commit that failed: it may be stored, now or later. */
interface Doubt extends Remembered { key: string }

/** Messages in doubt that are remembered. */
const maxDoubts = 100_000

export class Resends {
  readonly #db: Connection
  readonly #windowMs: number
  readonly #doubts = new Map<string, Doubt>()

  constructor (db: Connection, windowMs: number) {
    this.#db = db
    this.#windowMs = windowMs
  }

  join (resend: { session: string, packetId: number }): string { return 'q ' + resendKey(resend) }

  /** True when `op` is a resend of what is remembered. */
  repeats (op: NewMessage, first: Remembered): boolean { return repeats(op, first, this.#windowMs) }

  /** The memories of joins, one query each: a packet id that is used for ever has many messages, and only the last counts. */
  async recall (joins: readonly string[]): Promise<Map<string, Memory>> {
    const names = joins.map(join => join.slice(2))
    const [kept, ...newest] = await Promise.all([
      this.#db.resends.find({ _id: { $in: names } }, whole).toArray(),
      ...names.map(q => this.#db.messages.find({ q }, whole).sort({ ts: -1, _id: -1 }).limit(1).project<MessageDoc>({ p: 0 }).toArray())
    ])
    const memories = new Map<string, Memory>()
    for (const doc of kept) memories.set('q ' + doc._id, memory(doc))
    for (const doc of newest.flat()) {
      const join = 'q ' + (doc.q as string)
      const older = memories.get(join)
      // Of the same message what was written down is the later word: it was repeated.
      if (older === undefined || (older.id !== doc.id && older.ts <= doc.ts)) memories.set(join, memory(doc))
    }
    return memories
  }

  /** The answers to repeats may be lost as the first ones were: their memories are those of the present connections from now on. */
  async move (moved: ReadonlyArray<{ first: Memory, op: NewMessage }>): Promise<void> {
    const operations = moved.flatMap(({ first, op }) => {
      const resend = op.resend as Resend
      if (first.epoch === resend.epoch) return []
      const { conv, seq: s, n, id, ts, digest: g } = first
      const replacement = { c: place(conv), s, n, id, ts, g: g ?? '', qe: resend.epoch, qn: resend.number }
      return [{ replaceOne: { filter: { _id: resendKey(resend) }, replacement, upsert: true } }]
    })
    if (operations.length > 0) await this.#db.bulk(this.#db.resends, operations, { ordered: true })
  }

  /** The commit of a message failed; `key`: the unique one that it was given. */
  doubt (join: string, key: string, op: NewMessage): void {
    const before = this.doubted(op)
    this.#doubts.delete(join)
    this.#doubts.set(join, { ...remembered(op), key: before ?? key })
    if (this.#doubts.size <= maxDoubts) return
    const [oldest] = this.#doubts.keys()
    this.#doubts.delete(oldest as string)
  }

  /** The unique key that the first try of a resend was given, when it is in doubt. */
  doubted (op: NewMessage): string | undefined {
    const doubt = op.resend === undefined ? undefined : this.#doubts.get(this.join(op.resend))
    return doubt !== undefined && this.repeats(op, doubt) ? doubt.key : undefined
  }

  /** Ends the doubt. */
  settled (join: string): void { this.#doubts.delete(join) }
}

/** The memory that a document holds. */
export function memory ({ c, s, n, id, ts, g, qe, qn }: MessageDoc | ResendDoc): Memory {
  return { conv: placed(c), seq: s, n, id, ts, digest: g, epoch: qe, number: qn }
}

/** What is remembered of a message that is on its way. */
export function remembered ({ conv, ts, resend }: NewMessage): Remembered {
  return { conv, ts, digest: resend?.digest, epoch: resend?.epoch, number: resend?.number }
}
