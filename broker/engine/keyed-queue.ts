/** Runs tasks of the same key one after the other, in the order of the calls; different keys do not wait for each other. */
export class KeyedQueue {
  readonly #tails = new Map<string, Promise<void>>()

  /** Resolves or rejects as `task` does. */
  run<Result> (key: string, task: () => Promise<Result>): Promise<Result> {
    const result = (this.#tails.get(key) ?? Promise.resolve()).then(task)
    const done = (): void => { if (this.#tails.get(key) === tail) this.#tails.delete(key) }
    const tail: Promise<void> = result.then(done, done)
    this.#tails.set(key, tail)
    return result
  }
}
