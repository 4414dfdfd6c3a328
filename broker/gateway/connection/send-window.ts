import type { OrdinaryWindow } from '../ordinary-topics.ts'

/** The session's chat side, as far as it shares what may be under way. */
export interface WindowSession {
  /** Entries that were sent and not acknowledged, and how many of them there may be. */
  readonly inflight: number
  readonly capacity: number
  readonly sent: number
  /** Streams that have more to send. */
  readonly behindCount: number
  /** So many places of the window are taken by others. */
  lend (entries: number): void
  catchUp (): void
}

/**
 * What may be sent on ordinary topics and not be acknowledged. With chat it is never more than the client's Receive Maximum [MQTT-3.3.4-9 of
 * MQTT 5]; each side by itself has `mqtt.limits.inflight`.
 */
export class SendWindow implements OrdinaryWindow {
  readonly #session: WindowSession
  readonly #most: number
  readonly #both: number
  #taken = 0
  /** What chat had sent when a place was left to it; -1: none is. */
  #leftAt = -1

  /** `most`: on ordinary topics alone; `both`: together with chat. */
  constructor (session: WindowSession, most: number, both: number) {
    this.#session = session
    this.#most = most
    this.#both = both
  }

  get room (): boolean { return this.free > 0 }
  get free (): number { return Math.min(this.#most - this.#taken, this.#both - this.#taken - this.#session.inflight - this.#left) }

  /** Chat reads from the log what it has to send, and would find the place taken each time: it is left to it until it has had its turn. */
  get #left (): 0 | 1 {
    if (this.#leftAt === -1) return 0
    const { sent, behindCount } = this.#session
    if (sent === this.#leftAt && behindCount > 0) return 1
    this.#leftAt = -1
    return 0
  }

  take (): void {
    this.#taken++
    this.#lend()
  }

  give (): void {
    this.#taken--
    if (!this.#lend()) return
    this.#leftAt = this.#session.sent
    this.#session.catchUp()
  }

  /** True when chat had, or has, less room than it would have alone. */
  #lend (): boolean {
    const alone = this.#both - this.#session.capacity
    this.#session.lend(Math.max(0, this.#taken - alone))
    return this.#taken >= alone
  }
}
