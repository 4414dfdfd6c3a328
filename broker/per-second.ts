const windowMs = 1000

/** Counts by key, second by second. */
export class PerSecond {
  readonly #most: number
  readonly #now: () => number
  readonly #counts = new Map<string, number>()
  #windowEnd = 0

  /** `most` of each key in a second; `now` is a monotonic clock, milliseconds. */
  constructor (most: number, now: () => number = () => performance.now()) {
    this.#most = most
    this.#now = now
  }

  /** Counts one; false when the key has had its share of this second. */
  take (key: string): boolean {
    const count = this.#count(key) + 1
    this.#counts.set(key, count)
    return count <= this.#most
  }

  /** Whether `take` would be true. */
  has (key: string): boolean { return this.#count(key) < this.#most }

  #count (key: string): number {
    const now = this.#now()
    if (now >= this.#windowEnd) {
      this.#windowEnd = now + windowMs
      this.#counts.clear()
    }
    return this.#counts.get(key) ?? 0
  }
}
