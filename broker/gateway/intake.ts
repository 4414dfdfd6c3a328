import { FairQueue } from '../fair-queue.ts'

/** Publishes that a connection takes in at its turn while others wait for theirs; a run of the store (store/level/runs.ts) is as long. */
export const sliceMessages = 32

/**
 * How fast publishes are taken in, all connections together. Each is a dozen objects from then until it is committed, and what waits for long
 * is what the collector of garbage has to carry: bytes that are not read yet cost nothing. So when as many wait as a commit can use, connections
 * that have sent more are read on in turn, by user. What a connection sends first is always taken.
 * Only publishes wait: what a connection says before its next one, acknowledgements and pings, is heard.
 */
export class Intake {
  readonly #most: number
  readonly #waiting = new FairQueue(Infinity)
  /** Publishes of this turn of the event loop. */
  #taken = 0
  #full = false
  /** How often those who wait had a turn: who has had a publish taken in since then waits with the next one. */
  opened = 0

  /** `most`: publishes of one turn of the event loop. */
  constructor (most: number) { this.#most = most }

  /** No more is to be taken in for now. */
  get closed (): boolean { return this.#full || this.#taken >= this.#most }
  /** Others wait for their turn. */
  get crowded (): boolean { return this.#waiting.size > 0 }

  /** A publish was taken in. */
  take (): void { this.#taken++ }

  /** Runs `goOn` at the user's turn. */
  wait (user: string, goOn: () => void): void { this.#waiting.push(user, { run: goOn, refuse: goOn }) }

  /** The engine has enough to commit, or has not any more. */
  fill (full: boolean): void {
    this.#full = full
    this.#drain()
  }

  /** What this turn brought is the engine's. */
  turned (): void {
    this.#taken = 0
    this.#drain()
  }

  #drain (): void {
    if (this.closed) return
    this.opened++
    // Who is not done in a turn waits again: everybody is looked at once at most.
    for (let left = this.#waiting.size; left > 0 && !this.closed; left--) this.#waiting.shift()?.run()
  }
}
