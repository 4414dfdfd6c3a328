import type { PublishFrame } from '../../mqtt/index.ts'
import type { GatewayLimits } from '../limits.ts'
import { reservedBytes, type AnswerRoom } from './answers.ts'

/** The connection, as its requests need it. */
export interface AskingClient {
  readonly user: string
  readonly output: { readonly unsentBytes: number }
  hold (): void
  release (): void
}

export interface AskingContext {
  readonly answerRoom: AnswerRoom
  readonly limits: Pick<GatewayLimits, 'pendingRequests' | 'outputBytes'>
}

/**
 * The requests of one connection: how many the engine has, and how much of the answers the client has not taken. What exceeds that
 * waits in the socket, not here.
 */
export class Asking {
  readonly #client: AskingClient
  readonly #context: AskingContext
  readonly #submit: (packet: PublishFrame) => void
  /** Requests that the engine has. */
  #open = 0
  /** Bytes of answers that were written and may not be sent. */
  #unsent = 0
  /** The request that has to wait; the connection is held meanwhile. */
  #held: PublishFrame | undefined
  #waits = false
  #closed = false

  constructor (client: AskingClient, context: AskingContext, submit: (packet: PublishFrame) => void) {
    this.#client = client
    this.#context = context
    this.#submit = submit
  }

  /** Submits a request, now or when there is room for its answer. */
  ask (packet: PublishFrame): void {
    if (this.#mayAsk()) {
      this.#submit(packet)
      return
    }
    this.#held = packet
    this.#client.hold()
  }

  /** The engine answered a request, with so many bytes. To be followed by `taken`, when they are written. */
  answered (bytes: number): void {
    if (this.#closed) return
    this.#open--
    this.#unsent += bytes
    this.#context.answerRoom.change(this.#client.user, bytes - reservedBytes)
  }

  /** The client may have taken something. */
  taken (): void {
    if (this.#unsent === 0 && this.#held === undefined) return
    const { output, user } = this.#client
    const { unsentBytes } = output
    if (this.#unsent > unsentBytes) {
      const bytes = this.#unsent - unsentBytes
      this.#unsent = unsentBytes
      this.#context.answerRoom.change(user, -bytes)
    }
    this.#retry()
  }

  /** The connection has ended, and with it all that was for it. */
  close (): void {
    if (this.#closed) return
    this.#closed = true
    this.#held = undefined
    this.#context.answerRoom.change(this.#client.user, -(this.#open * reservedBytes + this.#unsent))
  }

  #mayAsk (): boolean {
    const { output, user } = this.#client
    const { answerRoom, limits } = this.#context
    if (this.#open >= limits.pendingRequests || output.unsentBytes >= limits.outputBytes) return false
    if (answerRoom.take(user)) {
      this.#open++
      return true
    }
    if (!this.#waits) {
      this.#waits = true
      answerRoom.wait(user, () => {
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
    this.#client.release()
  }
}
