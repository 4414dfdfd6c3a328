/** Bytes that the answer to a request may have: the engine cuts its pages so that with names and numbers they are below it. */
export const reservedBytes = 640 * 1024

/**
 * Memory of answers: of those that are being made, and of those that their clients have not taken. A request goes to the engine when
 * there is room for its answer; until then its connection is not read. Who waits is asked by user in turn.
 */
export class AnswerRoom {
  readonly #maxBytes: number
  readonly #maxBytesOfUser: number
  readonly #users = new Map<string, number>()
  readonly #waiting = new Map<string, Array<() => void>>()
  #bytes = 0
  #waking = false

  /** One answer fits whatever the limits are. */
  constructor (maxBytes: number, maxBytesOfUser: number) {
    this.#maxBytes = Math.max(maxBytes, reservedBytes)
    this.#maxBytesOfUser = Math.max(maxBytesOfUser, reservedBytes)
  }

  get bytes (): number { return this.#bytes }

  /** Takes room for one answer; false when there is none. */
  take (user: string): boolean {
    if (this.#bytes + reservedBytes > this.#maxBytes || !this.#hasRoom(user)) return false
    this.change(user, reservedBytes)
    return true
  }

  /** An answer turned out to be of another size, or was taken by its client. */
  change (user: string, bytes: number): void {
    if (bytes === 0) return
    this.#bytes += bytes
    const left = this.#of(user) + bytes
    if (left === 0) this.#users.delete(user)
    else this.#users.set(user, left)
    if (bytes < 0) this.#wake()
  }

  /** Calls `retry` once, when there may be room for the user's next answer; not when what it returns was called before. */
  wait (user: string, retry: () => void): () => void {
    const queue = this.#waiting.get(user)
    if (queue === undefined) this.#waiting.set(user, [retry])
    else queue.push(retry)
    return () => {
      const left = this.#waiting.get(user)
      const at = left?.indexOf(retry) ?? -1
      if (left === undefined || at < 0) return
      left.splice(at, 1)
      if (left.length === 0) this.#waiting.delete(user)
    }
  }

  #hasRoom (user: string): boolean { return this.#of(user) + reservedBytes <= this.#maxBytesOfUser }

  #of (user: string): number { return this.#users.get(user) ?? 0 }

  #wake (): void {
    if (this.#waking) return
    this.#waking = true
    // One of each user, which goes behind the others then, where this loop comes to it again. Who has no room keeps its place, and its
    // hundred connections are not asked.
    try {
      for (const [user, queue] of this.#waiting) {
        if (this.#bytes + reservedBytes > this.#maxBytes) break
        if (!this.#hasRoom(user)) continue
        this.#waiting.delete(user)
        const retry = queue.shift() as () => void
        if (queue.length > 0) this.#waiting.set(user, queue)
        // It takes the room, or does not wait for any: this ends.
        retry()
      }
    } finally {
      this.#waking = false
    }
  }
}
