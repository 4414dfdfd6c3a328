/** How often a user may ask: a burst, then a steady rate, in two classes. Kept in memory: a restart fills all buckets. */
import { Refusal } from '../../errors.ts'
import type { SharedLimits, Spend } from '../shared-limits.ts'

export interface Rate { perSecond: number, burst: number }

/** Users in memory; the one that asked first is forgotten beyond it. */
const maxUsers = 100_000
/** What other servers say was spent there may go so far beyond an empty bucket: full buckets at eight of them, and what is spent until they have heard of each other. */
const mostBuckets = 8
const mostDebtMs = 10_000

/** Token buckets in their GCRA form (ITU-T I.371), as in plugins/rate-limit.ts: one number a user, when the bucket is full again. */
class Buckets {
  readonly #intervalMs: number
  readonly #depthMs: number
  readonly #fullAt = new Map<string, number>()
  /** Tells the other servers; absent where there are none. */
  readonly #spent: Spend | undefined

  constructor (name: string, rate: Rate, now: () => number, shared: SharedLimits | undefined) {
    const { perSecond, burst } = rate
    this.#intervalMs = 1000 / perSecond
    this.#depthMs = burst * this.#intervalMs
    this.#spent = shared?.share(name, rate, (user, tokens) => {
      const nowMs = now()
      this.#set(user, Math.min(Math.max(this.#fullAt.get(user) ?? nowMs, nowMs) + tokens * this.#intervalMs, nowMs + this.#mostMs))
    })
  }

  /** A bucket is full again by then: what is further ahead is of a clock that went back. */
  get #mostMs (): number { return this.#spent === undefined ? this.#depthMs : mostBuckets * this.#depthMs + mostDebtMs }

  /** Takes `tokens` (a request that asks for more than a whole bucket takes that), or answers how many milliseconds are missing. */
  take (user: string, tokens: number, nowMs: number): number {
    const costMs = Math.min(tokens * this.#intervalMs, this.#depthMs)
    const fullAt = Math.min(Math.max(this.#fullAt.get(user) ?? nowMs, nowMs), nowMs + this.#mostMs)
    const waitMs = fullAt + costMs - this.#depthMs - nowMs
    // The sums of fractions are off by less than a microsecond.
    if (waitMs > 0.001) return Math.ceil(waitMs)
    this.#set(user, fullAt + costMs)
    this.#spent?.(user, costMs / this.#intervalMs)
    return 0
  }

  /** Takes tokens that may not be there. */
  owe (user: string, tokens: number, nowMs: number): void {
    const fullAt = Math.max(this.#fullAt.get(user) ?? nowMs, nowMs) + tokens * this.#intervalMs
    this.#set(user, Math.min(fullAt, nowMs + this.#mostMs))
    this.#spent?.(user, Math.min(tokens, this.#depthMs / this.#intervalMs))
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

  /** `shared`: where several servers count together. */
  constructor ({ all, heavy }: RequestRateOptions, now: () => number, shared?: SharedLimits) {
    this.#all = new Buckets('requests', all, now, shared)
    this.#heavy = new Buckets('heavy requests', heavy, now, shared)
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
