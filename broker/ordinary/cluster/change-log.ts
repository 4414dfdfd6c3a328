/**
 * What all servers must know of ordinary topics, in the order in which it came about: subscriptions, sessions that are over, which messages are retained.
 * A list in Redis whose entries have numbers without gaps. Who writes to queues has read all of it: what is in a queue goes by the subscriptions of
 * all servers at the moment when it was written.
 */
import type { RedisClient } from '../../cluster/redis.ts'
import { numberKey, type Change } from './commit-script.ts'

type Row = [id: string, fields: [name: string, change: string]]

export class ChangeLog {
  /** Number of the last entry that was taken. */
  #last = 0
  #isWhole = true
  readonly #take: (change: Change) => void
  readonly #lost: (emptied: boolean) => void

  /** `lost`: entries are missing, or (`emptied`) Redis has lost what it had: what the log has told is to be read anew. */
  constructor (take: (change: Change) => void, lost: (emptied: boolean) => void) {
    this.#take = take
    this.#lost = lost
  }

  get last (): number { return this.#last }

  /** False from when entries are missing until what they told has been read anew. */
  get isWhole (): boolean { return this.#isWhole }

  /** Takes what is new. */
  read (rows: unknown, number: number, since: number): void {
    for (const [id, [, text]] of rows as Row[]) {
      const n = Number.parseInt(id)
      if (n <= this.#last) continue
      if (n !== this.#last + 1) return this.#miss(false)
      this.#last = n
      this.#take(JSON.parse(text) as Change)
    }
    // Redis has lost what it had.
    if (number < since) this.#miss(true)
  }

  #miss (emptied: boolean): void {
    this.#isWhole = false
    this.#lost(emptied)
  }

  /** From here on what is behind number `n`. */
  startAt (n: number): void {
    this.#last = n
    this.#isWhole = true
  }

  static async numberIn (redis: RedisClient): Promise<number> { return Number(await redis.get(numberKey) ?? 0) }
}
