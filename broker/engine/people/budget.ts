/** Counts what happens per key: so many at once, then so many in a time. A token bucket in its GCRA form (ITU-T I.371). Bounded. */
export interface BudgetLimits {
  /** What may happen at once. */
  burst: number
  perMinute: number
  /** Keys that are remembered; the ones that were used longest ago go first. */
  maxKeys: number
}

export class Budget {
  readonly #intervalMs: number
  readonly #depthMs: number
  readonly #maxKeys: number
  readonly #now: () => number
  /** When the bucket of a key is full again; in the order of use. */
  readonly #fullAt = new Map<string, number>()

  constructor ({ burst, perMinute, maxKeys }: BudgetLimits, now: () => number) {
    this.#intervalMs = 60_000 / perMinute
    this.#depthMs = burst * this.#intervalMs
    this.#maxKeys = maxKeys
    this.#now = now
  }

  get size (): number { return this.#fullAt.size }

  /** Milliseconds until the key has something left; 0 = it has. */
  waitMs (key: string): number {
    const now = this.#now()
    return Math.max(0, (this.#fullAt.get(key) ?? now) + this.#intervalMs - this.#depthMs - now)
  }

  /** Takes one, also where there is none: what is under way when the last one goes was let in before. */
  take (key: string): void {
    const now = this.#now()
    const fullAt = Math.min(Math.max(this.#fullAt.get(key) ?? now, now) + this.#intervalMs, now + this.#depthMs)
    this.#fullAt.delete(key)
    this.#fullAt.set(key, fullAt)
    for (const [oldest, full] of this.#fullAt) {
      if (this.#fullAt.size <= this.#maxKeys && full > now) break
      this.#fullAt.delete(oldest)
    }
  }
}
