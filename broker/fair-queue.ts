/** Those who wait, in turns by key: one key that has many of them is not served more often than one that has a single one. Bounded. */
export interface Waiting { run (): void, refuse (): void }

export class FairQueue {
  readonly #max: number
  /** By key, in the order of their turns. */
  readonly #keys = new Map<string, Waiting[]>()
  #size = 0

  constructor (max: number) { this.#max = max }

  get size (): number { return this.#size }

  /** When it is full, the newest of the key that has most gives way; that may be this one. */
  push (key: string, waiting: Waiting): void {
    let line = this.#keys.get(key)
    if (line === undefined) this.#keys.set(key, line = [])
    line.push(waiting)
    this.#size += 1
    if (this.#size > this.#max) this.#refuseOne(key)
  }

  /** The next one; its key has its next turn behind all others. */
  shift (): Waiting | undefined {
    const first = this.#keys.entries().next()
    if (first.done === true) return undefined
    const [key, line] = first.value
    const next = line.shift()
    this.#size -= 1
    this.#keys.delete(key)
    if (line.length > 0) this.#keys.set(key, line)
    return next
  }

  #refuseOne (newest: string): void {
    let [longest, most] = [newest, this.#keys.get(newest)?.length ?? 0]
    for (const [key, line] of this.#keys) if (line.length > most) [longest, most] = [key, line.length]
    const line = this.#keys.get(longest) as Waiting[]
    const gone = line.pop()
    if (line.length === 0) this.#keys.delete(longest)
    this.#size -= 1
    gone?.refuse()
  }
}
