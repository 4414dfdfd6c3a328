/** Counts failures per key and says how long the key has to wait: the longer, the more of them. Bounded; forgets. */
export interface BackoffLimits {
  /** Failures that cost nothing. */
  freeFailures: number
  /** The wait after the first one that does, milliseconds; it doubles with each further one. */
  firstDelayMs: number
  maxDelayMs: number
  /** A key without failures for this long is forgotten, milliseconds. */
  forgetMs: number
  /** Keys that are remembered; the ones that failed longest ago go first. */
  maxKeys: number
}

interface Failures { count: number, at: number, waitUntil: number }

export class Backoff {
  readonly #limits: BackoffLimits
  readonly #now: () => number
  /** In the order of the last failure. */
  readonly #keys = new Map<string, Failures>()

  constructor (limits: BackoffLimits, now: () => number) {
    this.#limits = limits
    this.#now = now
  }

  get size (): number { return this.#keys.size }

  /** Milliseconds that the key still has to wait; 0 = none. */
  waitMs (key: string): number {
    const known = this.#keys.get(key)
    return known === undefined ? 0 : Math.max(0, known.waitUntil - this.#now())
  }

  /** Whether the key failed lately. */
  failed (key: string): boolean {
    const known = this.#keys.get(key)
    return known !== undefined && this.#now() - known.at <= this.#limits.forgetMs
  }

  fail (key: string): void {
    const { freeFailures, firstDelayMs, maxDelayMs, forgetMs, maxKeys } = this.#limits
    const now = this.#now()
    const known = this.#keys.get(key)
    const count = known === undefined || now - known.at > forgetMs ? 1 : known.count + 1
    const delayMs = count <= freeFailures ? 0 : Math.min(maxDelayMs, firstDelayMs * 2 ** Math.min(30, count - freeFailures - 1))
    this.#keys.delete(key)
    this.#keys.set(key, { count, at: now, waitUntil: now + delayMs })
    for (const [oldest, failures] of this.#keys) {
      if (this.#keys.size <= maxKeys && now - failures.at <= forgetMs) break
      this.#keys.delete(oldest)
    }
  }

  forget (key: string): void { this.#keys.delete(key) }
}
