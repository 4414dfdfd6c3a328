/** A connection's way to ordinary topics: a client there, made when it is needed first; a client that only chats never has one. */
import type { ProtocolVersion, Will } from '../../mqtt/index.ts'
import type { Topics } from '../../topics.ts'
import type { Session } from '../delivery/session.ts'
import type { OpenTopics } from '../open-topics.ts'
import type { OrdinaryClient, OrdinaryPeer, OrdinaryTopics, WaitingWill } from '../ordinary-topics.ts'
import type { Output } from './output.ts'
import type { Publishes } from './publishes.ts'

/** The connection, as its ordinary topics need it. */
export interface OrdinarySideClient {
  readonly version: ProtocolVersion
  readonly session: Session | undefined
  readonly will: Will | undefined
  /** Whatever becomes of the connection, it leaves no will. */
  readonly silenced: boolean
  readonly maximumPacketBytes: number
  readonly isClosed: boolean
  readonly output: Output
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

export interface OrdinarySideContext {
  readonly topics: Topics
  readonly openTopics: OpenTopics
  readonly ordinary: OrdinaryTopics | undefined
  delayWill (session: Session, will: WaitingWill): void
}

export class OrdinarySide {
  readonly #context: OrdinarySideContext

  constructor (context: OrdinarySideContext) { this.#context = context }

  mayPublish (topic: string): boolean { return this.#context.ordinary !== undefined && this.#context.openTopics.mayPublish(topic) }
  maySubscribe (filter: string): boolean { return this.#context.ordinary !== undefined && this.#context.openTopics.maySubscribe(filter) }

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
    const { ordinary, topics } = this.#context
    if (ordinary === undefined) throw new Error('no ordinary topics are open')
    const will = client.will !== undefined && !topics.isChat(client.will.topic) ? client.will : undefined
    const attached = await ordinary.attach(new Peer(client, session, will, waiting => { this.#context.delayWill(session, waiting) }))
    if (client.isClosed) {
      if (client.silenced) attached.dropWill()
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
  readonly will: Will | undefined
  readonly maximumPacketBytes: number
  readonly delayWill: (will: WaitingWill) => void
  readonly #client: OrdinarySideClient

  constructor (client: OrdinarySideClient, session: Session, will: Will | undefined, delayWill: (will: WaitingWill) => void) {
    this.#client = client
    this.session = session
    this.version = client.version
    this.will = will
    this.maximumPacketBytes = client.maximumPacketBytes
    this.delayWill = delayWill
  }

  get closed (): boolean { return this.#client.isClosed }
  get unsentBytes (): number { return this.#client.output.unsentBytes }
  write (packet: Buffer): void { this.#client.output.write(packet) }
  acknowledged (): void { this.#client.publishes.ordinaryEnds() }
  hold (): void { this.#client.hold() }
  release (): void { this.#client.release() }
  close (): void { this.#client.close() }
  cutOff (): void { this.#client.cutOff() }
}
