/** Answers whose time does not tell what was found. */

/** Between two beats, milliseconds: longer than a look at the store takes. */
const beatMs = 20

/** Calls `run` when it is time. */
export type Beat = (run: () => void) => NodeJS.Timeout | undefined

/**
 * What is asked is answered at the first beat at which it is done, and its beats begin with the question: what it took within a beat cannot be
 * seen. A wait that began with the end of the work would not do: its answers would be as far apart as what they took.
 */
export class EvenAnswers {
  readonly #beat: Beat
  readonly #waiting = new Set<() => void>()
  #closed = false

  constructor (beat: Beat = run => setTimeout(run, beatMs)) { this.#beat = beat }

  /** Settles as `work` does, at a beat. */
  async of<Result> (work: Promise<Result>): Promise<Result> {
    const state = { done: false }
    const end = (): void => { state.done = true }
    work.then(end, end)
    do await this.#next()
    while (!state.done && !this.#closed)
    return await work
  }

  /** From now on nothing waits. */
  close (): void {
    this.#closed = true
    for (const go of this.#waiting) go()
  }

  async #next (): Promise<void> {
    if (this.#closed) return
    await new Promise<void>(resolve => {
      const go = (): void => {
        clearTimeout(timer)
        this.#waiting.delete(go)
        resolve()
      }
      const timer = this.#beat(go)
      this.#waiting.add(go)
    })
  }
}
