import { ProtocolError, authReasons, type AuthFrame } from '../../mqtt/index.ts'

/** The enhanced authentication of one connection (MQTT 5.0, section 4.12): which method, and how far an exchange has come. */
export class Authentication {
  readonly method: string
  /** What the CONNACK has to say to the client. */
  data: Uint8Array | undefined
  /** When the exchange began that is under way, or the connection was not read last; undefined when there is none. */
  #since: number | undefined
  #answered: ((data: Uint8Array | undefined) => void) | undefined

  constructor (method: string) { this.method = method }

  /** To be asked now and then: an exchange is under way for longer than `maxMs`. `held`: the connection is not read, and what the client owes may wait in its socket. */
  overdue (now: number, maxMs: number, held: boolean): boolean {
    if (this.#since === undefined) return false
    if (held) this.#since = now
    return now - this.#since > maxMs
  }

  begin (now: number): void { this.#since = now }
  end (): void { this.#since = undefined }

  /** Resolves to what the client says next; undefined when the connection has ended. */
  answer (): Promise<Uint8Array | undefined> { return new Promise(resolve => { this.#answered = resolve }) }

  /** An AUTH that goes on with the exchange. Throws `ProtocolError` for one that nobody waits for, or of another method ([MQTT-4.12.0-5]). */
  take (frame: AuthFrame): void {
    this.check(frame)
    if (frame.reasonCode !== authReasons.goOn || this.#answered === undefined) throw new ProtocolError('AUTH out of turn', 0x82)
    this.#settle(frame.authenticationData)
  }

  /** An AUTH that begins anew. Throws `ProtocolError` while an exchange is under way. */
  checkFree (): void {
    if (this.#since !== undefined) throw new ProtocolError('AUTH begins anew while an exchange is under way', 0x82)
  }

  /** [MQTT-4.12.1-1] */
  check ({ authenticationMethod }: AuthFrame): void {
    if (authenticationMethod !== this.method) throw new ProtocolError('AUTH of another method than that of CONNECT', 0x82)
  }

  /** The connection has ended. */
  close (): void { this.#settle(undefined) }

  #settle (data: Uint8Array | undefined): void {
    const answered = this.#answered
    this.#answered = undefined
    answered?.(data)
  }
}
