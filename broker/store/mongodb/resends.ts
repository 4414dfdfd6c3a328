/**
 * The memory of packet ids (ADR 4), for senders without a client message id: a resend with DUP whose content is that of the
 * last publish of (session, packet id) is that one. The memory is the newest message with the packet id; only when the
 * purge removes a message does it write it down.
 */
import type { NewMessage } from '../store.ts'
import { resendKey, placed } from './documents.ts'
import type { Connection } from './connection.ts'
import { whole } from './connection.ts'
import type { MessageDoc } from './documents.ts'

/** The last publish of a packet id. */
export interface Memory { conv: string, seq: number, n: number, id: string, ts: number, digest: string }

/** A message of a commit that failed: it may be stored, now or later. */
export interface Doubt { key: string, conv: string, digest: string }

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
  repeats (op: NewMessage, conv: string, digest: string | undefined, ts: number): boolean {
    return op.resend?.dup === true && op.resend.digest === digest && op.conv === conv && op.ts - ts < this.#windowMs
  }

  /** The memories of joins, one query each: a packet id that is used for ever has many messages, and only the last counts. */
  async recall (joins: readonly string[]): Promise<Map<string, Memory>> {
    const names = joins.map(join => join.slice(2))
    const [kept, ...newest] = await Promise.all([
      this.#db.resends.find({ _id: { $in: names } }, whole).toArray(),
      ...names.map(q => this.#db.messages.find({ q }, whole).sort({ ts: -1, _id: -1 }).limit(1).project<MessageDoc>({ p: 0 }).toArray())
    ])
    const memories = new Map<string, Memory>()
    for (const doc of kept) memories.set('q ' + doc._id, { conv: placed(doc.c), seq: doc.s, n: doc.n, id: doc.id, ts: doc.ts, digest: doc.g })
    for (const doc of newest.flat()) {
      const join = 'q ' + (doc.q as string)
      const older = memories.get(join)
      if (older === undefined || older.ts <= doc.ts) {
        memories.set(join, { conv: placed(doc.c), seq: doc.s, n: doc.n, id: doc.id, ts: doc.ts, digest: doc.g as string })
      }
    }
    return memories
  }

  /** The commit of a message failed. */
  doubt (join: string, doubt: Doubt): void {
    this.#doubts.delete(join)
    this.#doubts.set(join, doubt)
    if (this.#doubts.size <= maxDoubts) return
    const [oldest] = this.#doubts.keys()
    this.#doubts.delete(oldest as string)
  }

  /** The unique key that the first try of a resend was given, when it is in doubt. */
  doubted (join: string, op: NewMessage): string | undefined {
    const doubt = this.#doubts.get(join)
    return doubt !== undefined && doubt.conv === op.conv && doubt.digest === op.resend?.digest ? doubt.key : undefined
  }

  /** Ends the doubt. */
  settled (join: string): void { this.#doubts.delete(join) }
}
