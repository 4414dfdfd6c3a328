/** The part of a session's outgoing queue that is on disk only. */
import type { BodyPlace } from './persistence-bodies.ts'

/** A state row. */
export interface State { id: number, rel?: 1 }

/** What is known of a message on disk. */
export interface ColdEntry { seq: number, place: BodyPlace | undefined, state: State | undefined }

/** Messages `from <= seq < to`, without gaps: a number each. Which of them have a packet id is known while their session is connected. */
export class ColdRange {
  from: number
  to: number
  /** From number `#base` on; absent where there is no body. */
  #places: Array<BodyPlace | undefined> = []
  #base: number
  /** Of those that were sent before; `undefined` while they are not read from their rows. */
  #states: Map<number, State> | undefined
  readonly #ids = new Map<number, number>()

  constructor (at: number) { this.from = this.to = this.#base = at }

  get size (): number { return this.to - this.from }
  /** The states were read. */
  get known (): boolean { return this.#states !== undefined }

  /** Of nobody yet: begins with `seq`, where it is. */
  startAt (seq: number): void {
    this.from = this.to = this.#base = seq
    this.#places = []
  }

  /** The states of a session's messages; those of others than these are left out. */
  know (states: ReadonlyMap<number, State>): void {
    this.#states = new Map()
    this.#ids.clear()
    for (const [seq, state] of states) {
      if (seq < this.from || seq >= this.to) continue
      this.#states.set(seq, state)
      this.#ids.set(state.id, seq)
    }
  }

  /** From here on the states are on disk only. */
  forget (): void {
    this.#states = undefined
    this.#ids.clear()
  }

  /** Which message has this packet id. */
  seqOf (messageId: number): number | undefined { return this.#ids.get(messageId) }

  /** Takes the first one out. */
  shift (): ColdEntry {
    const seq = this.from++
    const place = this.#places[seq - this.#base]
    const state = this.#states?.get(seq)
    if (state !== undefined) {
      this.#states?.delete(seq)
      this.#ids.delete(state.id)
    }
    // Seldom, as it moves all others.
    if (this.size === 0 || this.from - this.#base > this.#places.length / 2) this.#trim()
    return { seq, place, state }
  }

  #trim (): void {
    this.#places = this.#places.slice(this.from - this.#base)
    this.#base = this.from
  }

  push (place: BodyPlace | undefined): void {
    this.#places.push(place)
    this.to++
  }

  /** Puts these before the first one. */
  unshift (places: ReadonlyArray<BodyPlace | undefined>): void {
    this.#places = [...places, ...this.#places.slice(this.from - this.#base)]
    this.from -= places.length
    this.#base = this.from
  }
}
