/** Numbers that look random and are the same for the same seed (mulberry32). */
export class Random {
  #state: number

  constructor (seed: number) { this.#state = seed >>> 0 }

  /** 0 and more, less than 1. */
  next (): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }

  /** A whole number from `least` to `most`, both included. */
  int (least: number, most: number): number { return least + Math.floor(this.next() * (most - least + 1)) }
  chance (probability: number): boolean { return this.next() < probability }
  pick<T> (list: readonly T[]): T { return list[this.int(0, list.length - 1)] as T }

  /** One of the keys, each as often as its weight says. */
  weighted<K extends string> (weights: Readonly<Record<K, number>>): K {
    const entries = Object.entries(weights) as Array<[K, number]>
    let left = this.next() * entries.reduce((sum, [, weight]) => sum + weight, 0)
    for (const [key, weight] of entries) if ((left -= weight) < 0) return key
    return (entries.at(-1) as [K, number])[0]
  }
}
