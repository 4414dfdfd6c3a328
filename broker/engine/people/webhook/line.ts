/** A few at a time, the others in turns by address: who floods waits behind themself. */
import { Refusal } from '../../../errors.ts'
import { FairQueue } from '../../../fair-queue.ts'

export class Line {
  readonly #concurrency: number
  readonly #waiting: FairQueue
  #running = 0

  /** `maxWaiting`: in all. */
  constructor (concurrency: number, maxWaiting: number) {
    this.#concurrency = concurrency
    this.#waiting = new FairQueue(maxWaiting)
  }

  /** Throws `Refusal` (`unavailable`) when too many wait. */
  async run<Result> (address: string, task: () => Promise<Result>): Promise<Result> {
    if (this.#running >= this.#concurrency) {
      await new Promise<void>((resolve, reject) => {
        this.#waiting.push(address, { run: resolve, refuse: () => { reject(new Refusal('unavailable', 'too many people sign in at the same time')) } })
      })
    } else this.#running++
    try {
      return await task()
    } finally {
      // The place goes to the next in line, or is given back.
      const next = this.#waiting.shift()
      if (next === undefined) this.#running--
      else next.run()
    }
  }
}
