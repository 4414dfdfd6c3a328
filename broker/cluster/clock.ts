/**
 * The time of a cluster is Redis' clock: sessions, messages and wills that end at a time are judged by other servers than the one that has set it. Where the machine's
 * clock is off by less than can be told, it is taken as it is.
 */
import type { TimeMs } from '../store/store.ts'

/** A difference that is smaller is none, milliseconds: clocks that are kept right differ by less. */
const toleratedMs = 1_000

export class ClusterClock {
  readonly #wall: () => TimeMs
  readonly #steady: () => number
  #aheadMs = 0

  /** `wall`: the machine's clock. */
  constructor (wall: () => TimeMs = Date.now, steady: () => number = () => performance.now()) {
    this.#wall = wall
    this.#steady = steady
  }

  /** Milliseconds by which the cluster's time is ahead of the machine's clock. While Redis is away it is what it was. */
  get aheadMs (): number { return this.#aheadMs }

  now (): TimeMs { return this.#wall() + this.#aheadMs }

  /** Compares the clocks: `ask` resolves to what Redis' one says, milliseconds since the epoch. Resolves to how far it is ahead of the machine's. */
  async compare<T> (ask: () => Promise<T>, timeOf: (answer: T) => TimeMs): Promise<{ answer: T, offsetMs: number }> {
    const [before, began] = [this.#wall(), this.#steady()]
    const answer = await ask()
    const tookMs = this.#steady() - began
    // At some moment between.
    const offsetMs = Math.round(timeOf(answer) - before - tookMs / 2)
    if (Math.abs(offsetMs - this.#aheadMs) > toleratedMs + tookMs / 2) this.#aheadMs = Math.abs(offsetMs) <= toleratedMs ? 0 : offsetMs
    return { answer, offsetMs }
  }
}
