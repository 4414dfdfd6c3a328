/**
 * What all servers must know of ordinary topics, in the order in which it came about: subscriptions, sessions that are over, which messages are retained.
 * A list in Redis whose entries have numbers without gaps. Who writes to queues reads in the same transaction what it has not read of the log: so a
 * subscription that was granted before, by whichever server, has the message in its queue.
 */
import type { RedisClient } from '../../cluster/redis.ts'
import type { Command } from './library.ts'
import type { SubscriptionLike } from '../persistence-subscriptions.ts'

export type Change =
  | { kind: 'subscribed', session: string, subscriptions: SubscriptionLike[] }
  | { kind: 'unsubscribed', session: string, filters: string[] }
  /** Something is stored for it. */
  | { kind: 'kept', session: string }
  | { kind: 'ended', session: string }
  /** Bytes of the payload, none: it is gone; `expires`: milliseconds since the epoch, 0: never. */
  | { kind: 'retained', topic: string, bytes: number, expires: number }

const logKey = 'log'
const numberKey = 'log:number'
/** Entries that are kept, about. Who misses more reads all anew. */
const kept = 10_000

const appendScript = `
local n = redis.call('INCR', KEYS[2])
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], n .. '-1', 'c', ARGV[2])
return n`

type Row = [id: string, fields: [name: string, change: string]]

export class ChangeLog {
  /** Number of the last entry that was taken. */
  #last = 0
  readonly #take: (change: Change) => void
  readonly #lost: (emptied: boolean) => void

  /** `lost`: entries are missing, or (`emptied`) Redis has lost what it had: what the log has told is to be read anew. */
  constructor (take: (change: Change) => void, lost: (emptied: boolean) => void) {
    this.#take = take
    this.#lost = lost
  }

  get last (): number { return this.#last }

  append (change: Change): Command { return ['eval', appendScript, 2, logKey, numberKey, kept, JSON.stringify(change)] }

  /** Two commands whose answers `read` takes, and how far the log was read when they were asked. */
  look (): { commands: [Command, Command], since: number } {
    return { commands: [['xrange', logKey, `(${this.#last}-1`, '+'], ['get', numberKey]], since: this.#last }
  }

  /** Takes what is new. */
  read (rows: unknown, number: unknown, since: number): void {
    for (const [id, [, text]] of rows as Row[]) {
      const n = Number.parseInt(id)
      if (n <= this.#last) continue
      if (n !== this.#last + 1) return this.#lost(false)
      this.#last = n
      this.#take(JSON.parse(text) as Change)
    }
    // Redis has lost what it had.
    if (Number(number ?? 0) < since) this.#lost(true)
  }

  /** From here on what is behind number `n`. */
  startAt (n: number): void { this.#last = n }

  static async numberIn (redis: RedisClient): Promise<number> { return Number(await redis.get(numberKey) ?? 0) }
}
