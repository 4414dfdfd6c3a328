/** Milliseconds without a failure that end a burst. */
const quietMs = 10_000

/** Failures that follow each other, of which only the first is worth a line in the log. */
export class Burst {
  #lastMs = Number.NEGATIVE_INFINITY

  /** Call it with each failure: true when none came in the ten seconds before it. `nowMs` is a monotonic clock. */
  begins (nowMs = performance.now()): boolean {
    const begins = nowMs - this.#lastMs >= quietMs
    this.#lastMs = nowMs
    return begins
  }
}
