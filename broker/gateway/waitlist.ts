/** Tries to take a place; true when there is nothing more to try. Does not reject. */
export type Attempt = () => Promise<boolean>

/** Sessions without a place in a share to which they subscribe: when there may be one they try again, those of a share one after the other (ADR 21). */
export class Waitlist {
  /** By the share's session, in the order in which they came. */
  readonly #waiting = new Map<string, Set<Attempt>>()
  readonly #trying = new Set<string>()

  add (share: string, attempt: Attempt): void {
    const waiting = this.#waiting.get(share)
    if (waiting === undefined) this.#waiting.set(share, new Set([attempt]))
    else waiting.add(attempt)
  }

  delete (share: string, attempt: Attempt): void {
    const waiting = this.#waiting.get(share)
    if (waiting?.delete(attempt) === true && waiting.size === 0) this.#waiting.delete(share)
  }

  /** There may be a place in a share. */
  next (share: string): void {
    const [attempt] = this.#waiting.get(share) ?? []
    if (attempt === undefined || this.#trying.has(share)) return
    this.#trying.add(share)
    attempt().then(done => {
      this.#trying.delete(share)
      // Where the first one gets nothing, neither does the next.
      if (!done) return
      this.delete(share, attempt)
      this.next(share)
    }).catch(() => { this.#trying.delete(share) /* the attempt has told its client */ })
  }

  /** To be called about once a second: what stood in the way may be at another server, or in another share. */
  sweep (): void { for (const share of [...this.#waiting.keys()]) this.next(share) }
}
