/**
 * Requests that are served at the same time: so many in all, and fewer of one user. Those that wait are taken by user in turn, so
 * that one user's thousand requests delay another's by a handful, from however many sessions they come.
 */
export class RequestQueue {
  readonly #max: number
  readonly #maxOfUser: number
  readonly #waiting = new Map<string, Array<() => void>>()
  readonly #running = new Map<string, number>()
  #total = 0

  constructor (max: number, maxOfUser: number) {
    this.#max = max
    this.#maxOfUser = maxOfUser
  }

  /** Resolves when the user's request may begin, to the function that ends it. */
  enter (user: string): Promise<() => void> {
    return new Promise(resolve => {
      const begin = (): void => {
        this.#total++
        this.#running.set(user, this.#of(user) + 1)
        resolve(() => { this.#leave(user) })
      }
      const queue = this.#waiting.get(user)
      if (queue !== undefined) queue.push(begin)
      else if (this.#total < this.#max && this.#of(user) < this.#maxOfUser) begin()
      else this.#waiting.set(user, [begin])
    })
  }

  #of (user: string): number { return this.#running.get(user) ?? 0 }

  #leave (user: string): void {
    this.#total--
    const left = this.#of(user) - 1
    if (left > 0) this.#running.set(user, left)
    else this.#running.delete(user)
    for (const [next, queue] of this.#waiting) {
      if (this.#of(next) >= this.#maxOfUser) continue
      // Whoever had a turn goes behind the others.
      this.#waiting.delete(next)
      const begin = queue.shift()
      if (queue.length > 0) this.#waiting.set(next, queue)
      begin?.()
      return
    }
  }
}
