import { reservedBytes } from './answers.ts'
import type { Connection } from './connection.ts'
import type { PublishFrame } from '../../mqtt/index.ts'

/**
 * The requests of one connection: how many the engine has, and how much of the answers the client has not taken. What exceeds that
 * waits in the socket, not here.
 */
export class Asking {
  readonly #connection: Connection
  readonly #submit: (packet: PublishFrame) => void
  /** Requests that the engine has. */
  #open = 0
  /** Bytes of answers that were written and may not be sent. */
  #unsent = 0
  /** The request that has to wait; the connection is held meanwhile. */
  #held: PublishFrame | undefined
  #waits = false
  #closed = false

  constructor (connection: Connection, submit: (packet: PublishFrame) => void) {
    this.#connection = connection
    this.#submit = submit
  }

  /** Submits a request, now or when there is room for its answer. */
  ask (packet: PublishFrame): void {
    if (this.#mayAsk()) {
      this.#submit(packet)
      return
    }
    this.#held = packet
    this.#connection.hold()
  }

  /** The engine answered a request, with so many bytes. To be followed by `taken`, when they are written. */
  answered (bytes: number): void {
    if (this.#closed) return
    this.#open--
    this.#unsent += bytes
    this.#connection.access.answers.change(this.#connection.user, bytes - reservedBytes)
  }

  /** The client may have taken something. */
  taken (): void {
    if (this.#unsent === 0 && this.#held === undefined) return
    const { access, output, user } = this.#connection
    const { unsentBytes } = output
    if (this.#unsent > unsentBytes) {
      const bytes = this.#unsent - unsentBytes
      this.#unsent = unsentBytes
      access.answers.change(user, -bytes)
    }
    this.#retry()
  }

  /** The connection has ended, and with it all that was for it. */
  close (): void {
    if (this.#closed) return
    this.#closed = true
    this.#held = undefined
    const { access, user } = this.#connection
    access.answers.change(user, -(this.#open * reservedBytes + this.#unsent))
  }

  #mayAsk (): boolean {
    const { access, output, user } = this.#connection
    if (this.#open >= access.limits.pendingRequests || output.unsentBytes >= access.limits.outputBytes) return false
    if (access.answers.take(user)) {
      this.#open++
      return true
    }
    if (!this.#waits) {
      this.#waits = true
      access.answers.wait(user, () => {
        this.#waits = false
        this.#retry()
      })
    }
    return false
  }

  #retry (): void {
    const held = this.#held
    if (held === undefined || !this.#mayAsk()) return
    this.#held = undefined
    this.#submit(held)
    this.#connection.release()
  }
}
