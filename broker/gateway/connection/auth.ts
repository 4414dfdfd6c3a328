import { Refusal, type Code } from '../../errors.ts'
import type { AuthStep, AuthStepRequest, Engine } from '../../link/port.ts'
import { ProtocolError, authReasons, encodeAuth, type AuthFrame, type ConnectFrame } from '../../mqtt/index.ts'
import type { Clock } from '../clock.ts'
import { authUnits, type Allowance } from './allowance.ts'
import type { Authentication } from './authentication.ts'
import { disconnectReasons } from './disconnect-reasons.ts'
import { valueOf } from './failure.ts'
import type { Output } from './output.ts'

/** A connection that proves who it is, at CONNECT or later. */
export interface ProvingClient {
  readonly user: string
  /** Who it says it is, until that is proven. */
  claims: string | undefined
  /** When what let it in ends, milliseconds since the epoch; undefined: it does not. */
  until: number | undefined
  /** The login whose token let it in. */
  grant: string | undefined
  readonly transport: { readonly address: string, readonly certified?: string | undefined }
  readonly output: Output
  readonly allowance: Allowance
  readonly authentication: Authentication | undefined
  /** The largest packet the client takes. */
  readonly maximumPacketBytes: number
  readonly isClosed: boolean
  /** Reads on. */
  release (): void
  close (how: { reason: number, why: string }): void
  fail (err: Error): void
}

export interface AuthContext {
  readonly engine: Pick<Engine, 'authenticateStep'>
  readonly clock: Pick<Clock, 'now'>
  /** The methods that are offered. */
  readonly methods: ReadonlySet<string>
}

/** Reason codes of the DISCONNECT behind a re-authentication that failed; 0x87 for all others. */
const reasons: Partial<Record<Code, number>> = { rate_limited: 0x97, unavailable: disconnectReasons.busy }

interface Exchange {
  /** What the client said first. */
  data: Uint8Array | undefined
  maximumPacketBytes: number
  /** Throws for a name that must not be. */
  check (user: string): void
  /** The client is to say more. */
  asked (): void
}

/** Enhanced authentication: of a client that connects, and again of one that is connected. */
export class AuthHandler {
  readonly #context: AuthContext

  constructor (context: AuthContext) { this.#context = context }

  /** The method is offered [MQTT-4.12.0-1]. */
  offers (method: string): boolean { return this.#context.methods.has(method) }

  /** Who connects. The connection is held, but for the client's answers. Undefined when it has ended. Throws `Refusal`. */
  async admit (client: ProvingClient, { username, properties }: ConnectFrame): Promise<string | undefined> {
    const { authentication } = client
    if (authentication === undefined) throw new Error('a CONNECT without a method')
    const done = await this.#exchange(client, authentication, {
      data: properties?.authenticationData,
      maximumPacketBytes: properties?.maximumPacketBytes ?? Infinity,
      check (user) {
        if (username !== undefined && username !== user) throw new Refusal('unauthorized', 'another user name than that of CONNECT')
        client.claims = user
      },
      asked () { client.release() }
    })
    authentication.data = done?.data
    client.until = done?.until
    return done?.user
  }

  /** AUTH of a client that is connected. Throws `ProtocolError`. */
  handle (client: ProvingClient, frame: AuthFrame): void {
    const { authentication } = client
    client.allowance.spend(authUnits)
    // [MQTT-4.12.0-7]
    if (authentication === undefined) throw new ProtocolError('AUTH of a client that named no method', 0x82)
    if (frame.reasonCode !== authReasons.beginAnew) return authentication.take(frame)
    authentication.check(frame)
    authentication.checkFree()
    authentication.begin(this.#context.clock.now)
    this.#again(client, authentication, frame).catch((err: Error) => {
      // [MQTT-4.12.1-2]
      if (err instanceof Refusal) client.close({ reason: reasons[err.code] ?? disconnectReasons.notAuthorized, why: `re-authentication failed: ${err.message}` })
      else client.fail(err)
    })
  }

  /** What else the client sends is served meanwhile. */
  async #again (client: ProvingClient, authentication: Authentication, { authenticationData }: AuthFrame): Promise<void> {
    const { maximumPacketBytes } = client
    const done = await this.#exchange(client, authentication, {
      data: authenticationData,
      maximumPacketBytes,
      check (user) { if (user !== client.user) throw new Refusal('unauthorized', 'another user than the one that is connected') },
      asked () { /* it is read all the time */ }
    })
    if (done === undefined) return
    client.until = done.until
    write(client.output, maximumPacketBytes, encodeAuth(authReasons.success, authentication.method, done.data))
    authentication.end()
  }

  /** Message for message until the engine knows who it is; undefined when the connection has ended. */
  async #exchange (client: ProvingClient, authentication: Authentication, exchange: Exchange): Promise<AuthStep | undefined> {
    const { method } = authentication
    const request: AuthStepRequest = { method, data: exchange.data ?? new Uint8Array(), address: client.transport.address }
    for (;;) {
      const step = valueOf(await this.#context.engine.authenticateStep(request))
      if (client.isClosed) return undefined
      exchange.check(step.user)
      if (step.state === undefined) return step
      const answer = authentication.answer()
      write(client.output, exchange.maximumPacketBytes, encodeAuth(authReasons.goOn, method, step.data))
      exchange.asked()
      const data = await answer
      if (data === undefined || client.isClosed) return undefined
      request.data = data
      request.state = step.state
    }
  }
}

/** [MQTT-3.1.2-24]: who has no room for what has to be said cannot be let in. */
function write (output: ProvingClient['output'], maximumPacketBytes: number, packet: Buffer): void {
  if (packet.length > maximumPacketBytes) throw new Refusal('forbidden', 'the AUTH is larger than its Maximum Packet Size')
  output.write(packet)
}
