/**
 * Wills that wait: MQTT 5 sends a will when its delay has passed or the session ends, whichever happens first, and not at all when the
 * session goes on before [MQTT-3.1.3-9], [MQTT-3.1.2-10]. Ordinary ones and chat messages alike.
 */
import type { Will } from '../../mqtt/index.ts'

/** What a will takes beside its bytes. */
const overheadBytes = 500

export interface WillLimits {
  /** Waiting wills of one user. */
  delayedWillsPerUser: number
  /** Bytes of all waiting wills. */
  delayedWillBytes: number
}

interface Waiting { user: string, dueMs: number, bytes: number, publish: () => Promise<void> | undefined, discard: () => void }

export class WaitingWills {
  readonly #limits: WillLimits
  /** By session. */
  readonly #waiting = new Map<string, Waiting>()
  readonly #ofUser = new Map<string, number>()
  #bytes = 0

  constructor (limits: WillLimits) { this.#limits = limits }

  get size (): number { return this.#waiting.size }
  get bytes (): number { return this.#bytes }

  /** Keeps a will until `dueMs` (of the clock that `sweep` is given). Where there is no room it is published at once. */
  add (session: string, will: { user: string, dueMs: number, bytes: number, publish: () => Promise<void> | undefined, /** What is kept elsewhere goes. */ discard?: () => void }): void {
    this.goesOn(session)
    const { user, dueMs, publish, discard = nothing } = will
    const bytes = will.bytes + overheadBytes
    const count = this.#ofUser.get(user) ?? 0
    if (count >= this.#limits.delayedWillsPerUser || this.#bytes + bytes > this.#limits.delayedWillBytes) return unwaited(publish())
    this.#waiting.set(session, { user, dueMs, bytes, publish, discard })
    this.#ofUser.set(user, count + 1)
    this.#bytes += bytes
  }

  /** The session has a connection again: its will is not sent. */
  goesOn (session: string): void { this.#take(session)?.discard() }

  /** The session is over: its will is sent now. Resolves when it is sent, where the next session of its name could say something before it. */
  ended (session: string): Promise<void> | undefined { return this.#take(session)?.publish() }

  /** The user may not send any more. */
  discard (user: string): void {
    if (!this.#ofUser.has(user)) return
    for (const [session, waiting] of this.#waiting) if (waiting.user === user) this.goesOn(session)
  }

  /** Sends those that are due. */
  sweep (nowMs: number): void {
    for (const [session, { dueMs }] of this.#waiting) if (dueMs <= nowMs) unwaited(this.ended(session))
  }

  /** The server stops: they go on waiting at the next start. */
  close (): void {
    this.#waiting.clear()
    this.#ofUser.clear()
    this.#bytes = 0
  }

  #take (session: string): Waiting | undefined {
    const waiting = this.#waiting.get(session)
    if (waiting === undefined) return undefined
    this.#waiting.delete(session)
    this.#bytes -= waiting.bytes
    const left = (this.#ofUser.get(waiting.user) ?? 1) - 1
    if (left > 0) this.#ofUser.set(waiting.user, left)
    else this.#ofUser.delete(waiting.user)
    return waiting
  }
}

const nothing = (): void => {}

/** Nothing comes behind it that would have to wait. */
export function unwaited (work: Promise<void> | undefined): void { work?.catch(nothing) }

/** Bytes of a will's texts and payload, about. */
export function willBytes ({ topic, payload, properties }: Pick<Will, 'topic' | 'payload' | 'properties'>): number {
  return topic.length + payload.length + (properties === undefined ? 0 : JSON.stringify(properties).length)
}
