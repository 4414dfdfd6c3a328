/**
 * A map that is bounded by the weight of its values and forgets what was not used for long: two generations, as in lru.ts. What is
 * heavier than half of `max` is not kept. Each message that is stored comes here: set and read take 220 to 280 ns of CPU time, in lru-cache 11.5 with `maxSize` 340.
 */
export class WeightedLru<T> {
  readonly #half: number
  readonly #weigh: (value: T) => number
  #young = new Map<string, T>()
  #old = new Map<string, T>()
  #youngWeight = 0
  #oldWeight = 0

  /** `max`: weight of all values; `weigh` gives that of one, and always the same. */
  constructor (max: number, weigh: (value: T) => number) {
    this.#half = max / 2
    this.#weigh = weigh
  }

  get weight (): number { return this.#youngWeight + this.#oldWeight }

  get (key: string): T | undefined {
    const young = this.#young.get(key)
    if (young !== undefined) return young
    const old = this.#old.get(key)
    if (old !== undefined) this.set(key, old)
    return old
  }

  set (key: string, value: T): void {
    const weight = this.#weigh(value)
    const before = this.#young.get(key)
    if (before !== undefined) {
      // In its place: a map whose entries come and go leaves its tables behind, which live until the collector has marked everything.
      const together = this.#youngWeight - this.#weigh(before) + weight
      if (together <= this.#half) {
        this.#young.set(key, value)
        this.#youngWeight = together
        return
      }
    }
    this.delete(key)
    if (weight > this.#half) return
    if (this.#youngWeight + weight > this.#half) {
      this.#old = this.#young
      this.#oldWeight = this.#youngWeight
      this.#young = new Map()
      this.#youngWeight = 0
    }
    this.#young.set(key, value)
    this.#youngWeight += weight
  }

  delete (key: string): void {
    const young = this.#young.get(key)
    const old = this.#old.get(key)
    if (young !== undefined && this.#young.delete(key)) this.#youngWeight -= this.#weigh(young)
    if (old !== undefined && this.#old.delete(key)) this.#oldWeight -= this.#weigh(old)
  }

  clear (): void {
    this.#young.clear()
    this.#old.clear()
    this.#youngWeight = this.#oldWeight = 0
  }
}
