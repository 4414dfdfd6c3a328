/** What the engine was given and has not answered; refs are this process's own numbers. */
export class PendingPublishes<P> {
  readonly #byRef = new Map<number, P>()
  #next = 1

  add (pending: P): number {
    const ref = this.#next++
    this.#byRef.set(ref, pending)
    return ref
  }

  /** A ref that nobody waits for. */
  skip (): number { return this.#next++ }

  get size (): number { return this.#byRef.size }

  /** What waits for the answer with this ref; it does not any more. */
  take (ref: number): P | undefined {
    const pending = this.#byRef.get(ref)
    if (pending !== undefined) this.#byRef.delete(ref)
    return pending
  }
}
