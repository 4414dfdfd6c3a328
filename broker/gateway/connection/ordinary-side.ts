/** A connection's way to ordinary topics: a client there, made when it is needed first; a client that only chats never has one. */
import { packetTypes, type ProtocolVersion } from '../../mqtt/index.ts'
import type { Session } from '../delivery/session.ts'
import type { GatewayLimits } from '../limits.ts'
import type { OpenTopics, TopicRights } from '../open-topics.ts'
import type { OrdinaryClient, OrdinaryPeer, OrdinaryTopics } from '../ordinary-topics.ts'
import type { Traffic } from '../traffic.ts'
import type { Output } from './output.ts'
import type { Publishes } from './publishes.ts'
import { SendWindow } from './send-window.ts'
import type { GivenAliases } from './topic-aliases.ts'

/** The connection, as its ordinary topics need it. */
export interface OrdinarySideClient extends NamedClient {
  readonly version: ProtocolVersion
  readonly session: Session | undefined
  readonly maximumPacketBytes: number
  /** Messages that the client takes unacknowledged. */
  readonly sendMaximum: number
  readonly aliases: GivenAliases | undefined
  readonly isClosed: boolean
  readonly output: Output
  readonly traffic: Traffic
  readonly publishes: Publishes
  ordinary: OrdinaryClient | undefined
  /** Ordinary filters of the session, as far as this connection knows. */
  ordinaryFilters: Set<string> | undefined
  hold (): void
  release (): void
  close (): void
  cutOff (): void
  during (work: Promise<void>): void
}

/** A connection, as what it may do depends on it. */
export interface NamedClient {
  readonly user: string
  readonly clientId: string
  /** Set when it is needed first. */
  rights: TopicRights | undefined
}

export interface OrdinarySideContext {
  readonly openTopics: OpenTopics
  readonly ordinary: OrdinaryTopics | undefined
  readonly limits: Pick<GatewayLimits, 'inflight'>
}

export class OrdinarySide {
  readonly #context: OrdinarySideContext

  constructor (context: OrdinarySideContext) { this.#context = context }

  /** There are ordinary topics. */
  get open (): boolean { return this.#context.ordinary !== undefined }

  /** Subscriptions to ordinary topics may be shared. */
  get shares (): boolean { return this.#context.ordinary?.shares === true }

  mayPublish (client: NamedClient, topic: string): boolean { return this.open && this.#rightsOf(client).mayPublish(topic) }
  maySubscribe (client: NamedClient, filter: string): boolean { return this.open && this.#rightsOf(client).maySubscribe(filter) }
  retains (topic: string, payloadBytes: number): boolean { return this.#context.ordinary?.retains(topic, payloadBytes) === true }
  /** As a will, before the client has its session. */
  mayLeave (user: string, clientId: string, topic: string): boolean { return this.open && this.#context.openTopics.of(user, clientId).mayPublish(topic) }

  #rightsOf (client: NamedClient): TopicRights { return (client.rights ??= this.#context.openTopics.of(client.user, client.clientId)) }

  /** True when something is stored for the session, so that its connection needs a client at once. */
  knows (session: string): boolean { return this.#context.ordinary?.knows(session) === true }

  /** Removes what is stored for a session that is over. */
  async forget (session: string): Promise<void> { await this.#context.ordinary?.forget(session) }

  /** Gives the client's packet on, at once if there is a client; the connection is held until then. */
  forward (client: OrdinarySideClient, frame: Buffer): void {
    if (client.ordinary !== undefined) return client.ordinary.forward(frame)
    client.during(this.attach(client).then(ordinary => { ordinary.forward(frame) }))
  }

  /** The connection's client, made when there is none. */
  async attach (client: OrdinarySideClient): Promise<OrdinaryClient> {
    if (client.ordinary !== undefined) return client.ordinary
    const { session } = client
    if (client.isClosed || session === undefined) throw new Error('the connection closed')
    const { ordinary, limits } = this.#context
    if (ordinary === undefined) throw new Error('no ordinary topics are open')
    const attached = await ordinary.attach(new Peer(client, session, new SendWindow(session, limits.inflight, client.sendMaximum)))
    if (client.isClosed) {
      attached.end(false)
      throw new Error('the connection closed')
    }
    client.ordinary = attached
    client.ordinaryFilters ??= new Set()
    for (const filter of attached.filters()) client.ordinaryFilters.add(filter)
    return attached
  }
}

class Peer implements OrdinaryPeer {
  readonly session: Session
  readonly version: ProtocolVersion
  readonly maximumPacketBytes: number
  readonly window: SendWindow
  readonly #client: OrdinarySideClient

  constructor (client: OrdinarySideClient, session: Session, window: SendWindow) {
    this.window = window
    this.#client = client
    this.session = session
    this.version = client.version
    this.maximumPacketBytes = client.maximumPacketBytes
  }

  get closed (): boolean { return this.#client.isClosed }
  get aliases (): GivenAliases | undefined { return this.#client.aliases }
  get unsentBytes (): number { return this.#client.output.unsentBytes }

  write (packet: Buffer): void {
    if ((packet[0] as number) >> 4 === packetTypes.publish) this.#client.traffic.sent++
    this.#client.output.write(packet)
  }

  acknowledged (qos: 1 | 2): void { this.#client.publishes.ordinaryEnds(qos) }
  hold (): void { this.#client.hold() }
  release (): void { this.#client.release() }
  close (): void { this.#client.close() }
  cutOff (): void { this.#client.cutOff() }
}
