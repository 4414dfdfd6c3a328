/**
 * How far a session has had its streams that are not in memory: what is said of them late or twice is known by it, and so is a number that was
 * left out. A note is kept until the second `age` after it.
 */
export class Passed {
  /** When the session was opened, milliseconds since the epoch. */
  readonly since: number
  #young = new Map<string, number>()
  #old = new Map<string, number>()

  constructor (since: number) { this.since = since }

  /** The session has had the stream up to this number, or need not have it. */
  note (id: string, seq: number): void { this.#young.set(id, Math.max(seq, this.get(id) ?? 0)) }

  get (id: string): number | undefined { return this.#young.get(id) ?? this.#old.get(id) }

  /** `atLeast`: only when so many are known. */
  age (atLeast = 0): void {
    if (this.#young.size < atLeast) return
    this.#old = this.#young
    this.#young = new Map()
  }
}
