import type { Stream } from './stream.ts'

/**
 * The entries that were sent to a session and not acknowledged, in the order of sending. A cursor follows the oldest of
 * them, so an acknowledgement out of order moves no cursor past a message that may be lost.
 */
export class Window {
  readonly capacity: number
  /** Places that something else has taken. */
  lent = 0
  /** Entries that were ever added. */
  added = 0
  /** It had entries of streams that had gone. */
  orphaned = false
  /** Logs of which it may have such entries, and no stream has taken them over. */
  readonly #orphans = new Set<string>()
  #streams: Array<Stream | undefined> = []
  #seqs: number[] = []
  #acked: boolean[] = []
  /** When each was sent. */
  #at: number[] = []
  #first = 0
  #count = 0

  constructor (capacity: number) { this.capacity = capacity }

  get count (): number { return this.#count }
  get free (): number { return this.capacity - this.#count - this.lent }
  /** When the oldest of them was sent; Infinity when there is none. */
  get oldestAt (): number { return this.#count === 0 ? Infinity : this.#at[this.#first] as number }

  /** Adds an entry that was sent at the time `now`; there is room for it. */
  add (stream: Stream, seq: number, now: number): void {
    const at = (this.#first + this.#count) % this.capacity
    this.#streams[at] = stream
    this.#seqs[at] = seq
    this.#acked[at] = false
    this.#at[at] = now
    this.#count++
    this.added++
    stream.inflight++
  }

  /** An entry was acknowledged; `settled` is called for each that no older one waits before. False when there is no such entry. */
  acknowledge (id: string, seq: number, settled: (stream: Stream, seq: number) => void): boolean {
    let offset = 0
    let at = this.#first
    while (offset < this.#count) {
      at = (this.#first + offset) % this.capacity
      if (this.#seqs[at] === seq && this.#acked[at] === false && this.#streams[at]?.id === id) break
      offset++
    }
    if (offset === this.#count) return false
    this.#acked[at] = true
    while (this.#count > 0 && this.#acked[this.#first] === true) {
      const stream = this.#streams[this.#first] as Stream
      const settledSeq = this.#seqs[this.#first] as number
      this.#streams[this.#first] = undefined
      this.#first = (this.#first + 1) % this.capacity
      this.#count--
      stream.inflight--
      settled(stream, settledSeq)
    }
    return true
  }

  /** What is not acknowledged, in the order of sending. */
  list (): Array<{ stream: string, seq: number }> {
    const open = []
    for (let offset = 0; offset < this.#count; offset++) {
      const at = (this.#first + offset) % this.capacity
      if (this.#acked[at] === false) open.push({ stream: (this.#streams[at] as Stream).id, seq: this.#seqs[at] as number })
    }
    return open
  }

  /** The stream of a log goes, or is none: its entries stay. */
  orphan (id: string): void {
    this.orphaned = true
    this.#orphans.add(id)
  }

  /** What is not acknowledged of a log has no stream. */
  hasOrphans (id: string): boolean {
    if (!this.#orphans.has(id)) return false
    for (let offset = 0; offset < this.#count; offset++) {
      const at = (this.#first + offset) % this.capacity
      if (this.#acked[at] === false && this.#streams[at]?.id === id) return true
    }
    return false
  }

  /** The entries of an earlier stream of the same log belong to `stream` from now on. */
  adopt (stream: Stream): void {
    if (!this.#orphans.delete(stream.id)) return
    for (let offset = 0; offset < this.#count; offset++) {
      const at = (this.#first + offset) % this.capacity
      if (this.#streams[at]?.id !== stream.id) continue
      this.#streams[at] = stream
      stream.inflight++
      const seq = this.#seqs[at] as number
      stream.sentTo = Math.max(stream.sentTo, seq)
      // The cursor of a share is past what an earlier life of it left: nobody has acknowledged that.
      stream.acked = Math.min(stream.acked, seq - 1)
    }
  }
}
