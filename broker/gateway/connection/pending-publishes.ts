/** Places for what waits; more are made when half of them are taken. */
const firstPlaces = 1024
const mostPlaces = 65_536

/**
 * What the engine was given and has not answered; refs are this process's own numbers. Answers come about in the order of the refs, so each has its place in a
 * ring. A map would be made anew every few entries, and the tables that it leaves behind keep each other, and what was in them, alive for the collector.
 */
export class PendingPublishes<P> {
  #refs: number[] = new Array<number>(firstPlaces).fill(0)
  #places: Array<P | undefined> = new Array<P | undefined>(firstPlaces).fill(undefined)
  /** What waits so long that its place was needed. */
  readonly #late = new Map<number, P>()
  #next = 1
  #size = 0

  add (pending: P): number {
    const ref = this.#next++
    if (++this.#size > this.#places.length / 2 && this.#places.length < mostPlaces) this.#grow()
    this.#put(ref, pending)
    return ref
  }

  #put (ref: number, pending: P): void {
    const at = ref % this.#places.length
    const before = this.#places[at]
    if (before !== undefined) this.#late.set(this.#refs[at] as number, before)
    this.#places[at] = pending
    this.#refs[at] = ref
  }

  #grow (): void {
    const [refs, places] = [this.#refs, this.#places]
    this.#refs = new Array<number>(places.length * 2).fill(0)
    this.#places = new Array<P | undefined>(places.length * 2).fill(undefined)
    for (let i = 0; i < places.length; i++) {
      const pending = places[i]
      if (pending !== undefined) this.#put(refs[i] as number, pending)
    }
  }

  /** A ref that nobody waits for. */
  skip (): number { return this.#next++ }

  get size (): number { return this.#size }

  /** What waits for the answer with this ref; it does not any more. */
  take (ref: number): P | undefined {
    const at = ref % this.#places.length
    let pending = this.#refs[at] === ref ? this.#places[at] : undefined
    if (pending !== undefined) this.#places[at] = undefined
    else if ((pending = this.#late.get(ref)) !== undefined) this.#late.delete(ref)
    if (pending !== undefined) this.#size--
    return pending
  }
}
