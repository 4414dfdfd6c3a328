import { sendingMs } from '../../turns.ts'

/** After so many messages for sessions that are behind, they pause while others are sending. */
const pauseMessages = 128
const pauseMs = 1

/** Something that is behind; it is woken after a pause. */
export interface Pausing { catchUp (): void }

/**
 * Those who catch up take the processor in turns with those who send: an event loop that is never idle has used its share of the
 * core, and then waits for the store's threads at each step of everybody's messages.
 */
export class Pauses {
  readonly #steady: () => number
  /** Messages that were read from the log since the last pause. */
  #readMessages = 0
  #committedAt = -Infinity
  #paused: Set<Pausing> | undefined
  #timer: NodeJS.Timeout | undefined

  /** `steady`: milliseconds of a clock that only goes forward. */
  constructor (steady: () => number) { this.#steady = steady }

  /** Something was committed. */
  committed (): void { this.#committedAt = this.#steady() }

  /** Something was committed a moment ago. */
  get sending (): boolean { return this.#steady() - this.#committedAt <= sendingMs }

  /** So many messages were read from the log. */
  wasRead (messages: number): void { this.#readMessages += messages }

  /** True when who is behind has to wait; it is woken. */
  holds (one: Pausing): boolean {
    if (this.#paused === undefined) {
      if (this.#readMessages < pauseMessages || !this.sending) return false
      this.#readMessages = 0
      this.#paused = new Set()
      this.#timer = setTimeout(() => {
        const paused = this.#paused ?? []
        this.#paused = undefined
        for (const each of paused) each.catchUp()
      }, pauseMs)
    }
    this.#paused.add(one)
    return true
  }

  close (): void { clearTimeout(this.#timer) }
}
