import { Refusal } from '../../errors.ts'
import type { Engine } from '../../link/port.ts'
import type { ConnectFrame } from '../../mqtt/index.ts'
import { isId, type Topics } from '../../topics.ts'
import type { AuthHandler, ProvingClient } from './auth.ts'
import { valueOf } from './failure.ts'
import type { OrdinarySide } from './ordinary-side.ts'

export interface AdmissionContext {
  readonly engine: Pick<Engine, 'authenticate' | 'willRefusal'>
  readonly auth: Pick<AuthHandler, 'admit'>
  readonly topics: Topics
  readonly ordinarySide: Pick<OrdinarySide, 'mayLeave'>
  /** Clients without a user name may use ordinary topics. */
  readonly anonymous: boolean
  /** A user name need not be given: what a client brings says who it is. */
  readonly nameless: boolean
}

const protocols = { 3: 'mqtt3.1', 4: 'mqtt3.1.1', 5: 'mqtt5' } as const

/** Who connects, and may that user leave the will. */
export class Admission {
  readonly #context: AdmissionContext

  constructor (context: AdmissionContext) { this.#context = context }

  /** The user's id ('' for an anonymous client of ordinary topics); undefined when the client has gone. Throws `Refusal`. */
  async admit (client: ProvingClient, frame: ConnectFrame): Promise<string | undefined> {
    const { certified } = client.transport
    const user = client.authentication !== undefined ? await this.#context.auth.admit(client, frame) : certified !== undefined ? await this.#byCertificate(client, certified, frame) : await this.#byPassword(client, frame)
    if (certified !== undefined && user !== undefined && user !== certified) throw notOf(certified)
    if (frame.will !== undefined && user !== undefined) await this.#mayLeave(frame.will, user, frame.clientId)
    return user
  }

  /** A password is not looked at. */
  async #byCertificate (client: ProvingClient, certified: string, { username }: ConnectFrame): Promise<string> {
    if (username !== undefined && username !== '' && username !== certified) throw notOf(certified)
    client.claims = certified
    return valueOf(await this.#context.engine.authenticate({ user: certified, password: undefined, address: client.transport.address, certified: true })).user
  }

  async #byPassword (client: ProvingClient, { username: given, password, clientId, protocolVersion }: ConnectFrame): Promise<string> {
    const { engine, anonymous, nameless } = this.#context
    // Before MQTT 5 nobody can give a password without a name [MQTT-3.1.2-22].
    const username = nameless && given === '' ? undefined : given
    if (username === undefined && anonymous) return ''
    if (username !== undefined && !nameless && !isId(username)) throw new Refusal('bad_payload', 'a user name is 1 to 64 of A-Z a-z 0-9 . _ -')
    client.claims = username
    const { user, until, grant } = valueOf(await engine.authenticate({ user: username, password, address: client.transport.address, clientId, protocol: protocols[protocolVersion] }))
    client.claims = user
    client.until = until
    client.grant = grant
    return user
  }

  /** Throws `Refusal` for a will that the user may not publish. */
  async #mayLeave (will: NonNullable<ConnectFrame['will']>, user: string, clientId: string): Promise<void> {
    const { engine, ordinarySide, topics } = this.#context
    const target = topics.isChat(will.topic) ? topics.target(will.topic) : undefined
    if (target === undefined) {
      if (!ordinarySide.mayLeave(user, clientId, will.topic)) throw mayNotLeave()
      return
    }
    if (user === '' || 'refuse' in target || target.kind === 'rpc') throw mayNotLeave()
    const { contentType, payloadFormat } = will.properties ?? {}
    const wrong = await engine.willRefusal({ user, target, payload: will.payload, contentType, utf8: payloadFormat === 1 })
    // Whatever it is: 3.1.1 has no other code that would say that it is not the password (section 3.2.2.3).
    if (wrong !== undefined) throw mayNotLeave(`: ${wrong}`)
  }
}

function notOf (certified: string): Refusal { return new Refusal('unauthorized', `the certificate is that of ${certified}`) }

function mayNotLeave (why = ''): Refusal { return new Refusal('forbidden', `the will may not be published${why}`) }
