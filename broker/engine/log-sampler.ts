/** Keeps a line that could be written without end to a few a second. */
export class LogSampler {
  readonly #perSecond: number
  #since = -Infinity
  #written = 0
  #left = 0

  constructor (perSecond = 5) { this.#perSecond = perSecond }

  /** How many lines were left out since the last one that was written; `undefined` = leave this one out, too. */
  take (): number | undefined {
    const now = performance.now()
    if (now - this.#since >= 1000) {
      this.#since = now
      this.#written = 0
    }
    if (this.#written >= this.#perSecond) {
      this.#left += 1
      return undefined
    }
    this.#written += 1
    const left = this.#left
    this.#left = 0
    return left
  }
}
