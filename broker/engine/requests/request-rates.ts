/** How often a user may ask: a burst, then a steady rate, in two classes. Kept in memory: a restart fills all buckets. */
import { Refusal } from '../../errors.ts'

export interface Rate { perSecond: number, burst: number }

/** Users in memory; the one that asked first is forgotten beyond it. */
const maxUsers = 100_000

/** Token buckets in their GCRA form (ITU-T I.371), as in plugins/rate-limit.ts: one number a user, when the bucket is full again. */
class Buckets {
  readonly #intervalMs: number
  readonly #depthMs: number
  readonly #fullAt = new Map<string, number>()

  constructor ({ perSecond, burst }: Rate) {
    this.#intervalMs = 1000 / perSecond
    this.#depthMs = burst * this.#intervalMs
  }

  /** Takes `tokens` (a request that asks for more than a whole bucket takes that), or answers how many milliseconds are missing. */
  take (user: string, tokens: number, nowMs: number): number {
    const costMs = Math.min(tokens * this.#intervalMs, this.#depthMs)
    // Further ahead than a whole bucket: the clock went back.
    const fullAt = Math.min(Math.max(this.#fullAt.get(user) ?? nowMs, nowMs), nowMs + this.#depthMs)
    const waitMs = fullAt + costMs - this.#depthMs - nowMs
    // The sums of fractions are off by less than a microsecond.
    if (waitMs > 0.001) return Math.ceil(waitMs)
    this.#set(user, fullAt + costMs)
    return 0
  }

  /** Takes tokens that may not be there. */
  owe (user: string, tokens: number, nowMs: number): void {
    const fullAt = Math.max(this.#fullAt.get(user) ?? nowMs, nowMs) + tokens * this.#intervalMs
    this.#set(user, Math.min(fullAt, nowMs + this.#depthMs))
  }

  #set (user: string, fullAt: number): void {
    this.#fullAt.delete(user)
    if (this.#fullAt.size >= maxUsers) {
      const oldest = this.#fullAt.keys().next()
      if (oldest.done !== true) this.#fullAt.delete(oldest.value)
    }
    this.#fullAt.set(user, fullAt)
  }
}

export interface RequestRateOptions {
  /** All requests and read marks. */
  all: Rate
  /** Beside that, requests that read or change much. */
  heavy: Rate
}

export class RequestRates {
  readonly #all: Buckets
  readonly #heavy: Buckets
  readonly #now: () => number

  constructor ({ all, heavy }: RequestRateOptions, now: () => number) {
    this.#all = new Buckets(all)
    this.#heavy = new Buckets(heavy)
    this.#now = now
  }

  /** Throws `Refusal` (`rate_limited`). */
  take (user: string, heavy: boolean): void {
    const waitMs = this.#all.take(user, 1, this.#now())
    if (waitMs > 0) throw new Refusal('rate_limited', 'too many requests', waitMs)
    if (heavy) this.charge(user, 1)
  }

  /** What a request turns out to be worth beside its first token. Throws `Refusal` (`rate_limited`). */
  charge (user: string, tokens: number): void {
    const waitMs = this.#heavy.take(user, tokens, this.#now())
    if (waitMs > 0) throw new Refusal('rate_limited', 'too many large requests', waitMs)
  }

  /** The same for what was done already. */
  owe (user: string, tokens: number): void { this.#heavy.owe(user, tokens, this.#now()) }
}
