/** Runs at most so many tasks at a time, in the order of the calls: what each of them holds in memory is bounded for all requests together. */
export class Slots {
  readonly #max: number
  #running = 0
  readonly #waiting: Array<() => void> = []

  constructor (max: number) { this.#max = max }

  /** Resolves or rejects as `task` does. */
  async run<Result> (task: () => Promise<Result>): Promise<Result> {
    if (this.#running >= this.#max) await new Promise<void>(resolve => { this.#waiting.push(resolve) })
    else this.#running++
    try {
      return await task()
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#running--
      else next()
    }
  }
}
