import { Aedes, type AedesOptions, type Client, type PublishPacket } from 'aedes'
import mqttPacket from 'mqtt-packet'
import type { Logger } from 'pino'
import { logFailure } from '../gateway/connection/failure.ts'
import { maxChatPacketId } from '../gateway/connection/packet-ids.ts'
import type { GatewayLimits } from '../gateway/limits.ts'
import type { OpenTopics } from '../gateway/open-topics.ts'
import type { OrdinaryClient, OrdinaryPeer, OrdinaryTopics } from '../gateway/ordinary-topics.ts'
import { packetTypes, type Subscription, type Will } from '../mqtt/index.ts'
import { grantedQos } from './persistence-grant.ts'
import type { PacketLike } from './persistence-packets.ts'
import { recordsPersistence, type RecordsLike, type RecordsPersistence } from './persistence.ts'
import { AedesStream } from './stream.ts'

/** Aedes' fields that its types do not have; pinned to 2.0.0-beta.1 (docs/adr/0002). */
interface ClientInternals { _nextId: number, will: PacketLike | null, _will: PacketLike | null }
interface BrokerInternals { closed: boolean, scheduleWill: (client: Client, will: PacketLike, delaySeconds: number) => void }
interface ForwardedPacket { messageId?: number | undefined, qos: number, topic: string }

const neverExpires = 0xffffffff

export interface OrdinaryOptions {
  records: RecordsLike
  openTopics: OpenTopics
  limits: Pick<GatewayLimits, 'offlineQueue' | 'offlineQueueBytes' | 'offlineBytes' | 'retained' | 'retainedBytes' | 'outputBytes'>
  log: Logger
}

/** Every dependence on Aedes: ordinary topics of the sessions that use them. Chat topics never pass here. */
export class OrdinaryBroker implements OrdinaryTopics {
  readonly #broker: Aedes
  readonly #persistence: RecordsPersistence
  /** Clients that Aedes has; resolved when it has done with them. */
  readonly #leaving = new Map<string, { gone: Promise<void>, leave: () => void }>()
  readonly #peers = new WeakMap<Client, OrdinaryPeer>()
  readonly #outputBytes: number

  private constructor (broker: Aedes, persistence: RecordsPersistence, outputBytes: number) {
    this.#broker = broker
    this.#persistence = persistence
    this.#outputBytes = outputBytes
    // Aedes would hold its client and a timer for each delayed will, and know nothing of the session's end.
    const internals = broker as unknown as BrokerInternals
    internals.scheduleWill = (client, will, delaySeconds) => { if (!internals.closed) this.#delayWill(client, will, delaySeconds) }
    broker.on('clientDisconnect', client => {
      this.#leaving.get(client.id)?.leave()
      this.#leaving.delete(client.id)
    })
  }

  static async start (options: OrdinaryOptions): Promise<OrdinaryBroker> {
    const { openTopics, log, limits } = options
    const persistence = recordsPersistence({
      records: options.records,
      ...limits,
      minPacketId: maxChatPacketId + 1,
      log,
      onDrop: dropped => { log.warn(dropped, 'a limit of ordinary topics was reached') }
    })
    const settings: AedesOptions = {
      persistence,
      // One stalled subscriber would hold up everybody otherwise; stalled connections are cut off by ourselves.
      concurrency: 0,
      drainTimeout: 0,
      // Internal ids are `{user}/{clientId}`; the client's own id was checked before.
      maxClientsIdLength: 1024,
      preConnect: (_client, _packet, done) => { done(null, true) },
      authenticate: (_client, _user, _password, done) => { done(null, true) },
      // Publishes of clients were judged before they came here; wills of an earlier run were not.
      authorizePublish: (client, packet, done) => {
        if (!openTopics.mayPublish(packet.topic)) return done(new Error('this topic is not open'))
        // Aedes acknowledges right after this hook: what has to be on disk by then is written here.
        const written = persistence.prepare(client, packet)
        if (written === undefined) done(null)
        else written.then(() => { done(null) }, done)
      },
      // Also asked when a session is restored: the configuration may have changed.
      authorizeSubscribe: (_client, subscription, done) => { done(null, openTopics.maySubscribe(subscription.topic) ? subscription : null) },
      authorizeForward: (client, packet) => {
        if (!openTopics.mayPublish(packet.topic)) return null
        const granted = grantedQos(client as unknown as Parameters<typeof grantedQos>[0], packet.topic)
        if (granted !== undefined && granted < packet.qos) packet.qos = granted
        if (packet.qos > 0) assignPacketId(client, packet as ForwardedPacket)
        return packet
      }
    }
    const broker = new Aedes(settings)
    broker.on('error' as 'closed', ((err: Error) => { logFailure(log, err, {}, 'Aedes') }) as () => void)
    await broker.listen()
    return new OrdinaryBroker(broker, persistence, limits.outputBytes)
  }

  /** True when something is stored for the session, so that it has to be attached when it comes back. */
  knows (session: string): boolean { return this.#persistence.filtersOf(session).length > 0 }

  async forget (session: string): Promise<void> { await this.#persistence.forget(session) }

  /** Makes a client for the connection: Aedes sees a CONNECT of our own making, its CONNACK goes no further. */
  async attach (peer: OrdinaryPeer): Promise<OrdinaryClient> {
    const { session, will, version } = peer
    // Aedes takes its time to let a client go; the end of the old one must not be taken for the new one's.
    await this.#leaving.get(session.id)?.gone
    const stream = new AedesStream(peer, this.#outputBytes)
    const client = this.#broker.handle(stream)
    this.#peers.set(client, peer)
    const internals = client as unknown as ClientInternals
    internals._nextId = maxChatPacketId + 1
    const connected = new Promise<void>((resolve, reject) => {
      client.once('connected', resolve)
      stream.once('close', () => { reject(new Error('Aedes closed the connection')) })
    })
    stream.push(mqttPacket.generate({
      cmd: 'connect',
      protocolId: version === 3 ? 'MQIsdp' : 'MQTT',
      protocolVersion: version,
      clientId: session.id,
      clean: !session.persistent,
      keepalive: 0,
      ...(version === 5 && session.persistent ? { properties: { sessionExpiryInterval: neverExpires } } : {}),
      ...(will !== undefined ? { will: willPacket(will) } : {})
    }))
    let leave = (): void => {}
    const gone = new Promise<void>(resolve => { leave = resolve })
    // From here on, also when the connection ends meanwhile: then the client is let go as soon as Aedes has it.
    this.#leaving.set(session.id, { gone, leave })
    try {
      await connected
    } catch (err) {
      this.#leaving.delete(session.id)
      leave()
      throw err
    }
    // Aedes ends a client that breaks its rules; when the connection itself ended, this finds it closed.
    stream.once('close', () => { peer.close() })
    return new AttachedClient(client, stream, this.#persistence, session.id, version)
  }

  #delayWill (client: Client, will: PacketLike, delaySeconds: number): void {
    const peer = this.#peers.get(client)
    const bytes = will.topic.length + will.payload.length + (will.properties === undefined ? 0 : JSON.stringify(will.properties).length)
    const { publish, discard } = this.#willOf(client.id, will)
    if (peer === undefined) publish()
    else peer.delayWill({ bytes, delaySeconds, publish, discard })
  }

  /** What may become of a will. Holds the packet and the session's id alone; the session's next will is not touched. */
  #willOf (id: string, will: PacketLike): { publish: () => void, discard: () => void } {
    const broker = this.#broker
    const persistence = this.#persistence
    const discard = (): void => { persistence.dropWill(id, will) }
    const publish = (): void => {
      broker.authorizePublish(null, will as PublishPacket, error => {
        if (error) discard()
        else broker.publish(will as PublishPacket, discard)
      })
    }
    return { publish, discard }
  }

  async close (): Promise<void> {
    await new Promise<void>(resolve => { this.#broker.close(resolve) })
    await this.#persistence.destroy()
  }
}

/** Packet ids above `maxChatPacketId` are Aedes': the two sides of a connection never use the same one. */
function assignPacketId (client: Client, packet: ForwardedPacket): void {
  if (packet.messageId !== undefined && packet.messageId > maxChatPacketId) return
  const internals = client as unknown as ClientInternals
  if (internals._nextId <= maxChatPacketId) internals._nextId = maxChatPacketId + 1
  packet.messageId = internals._nextId++
  if (internals._nextId > 0xffff) internals._nextId = maxChatPacketId + 1
}

function willPacket (will: Will): NonNullable<mqttPacket.IConnectPacket['will']> {
  const { properties } = will
  return {
    topic: will.topic,
    payload: will.payload,
    qos: will.qos,
    retain: will.retain,
    ...(properties !== undefined
      ? {
          properties: {
            ...(properties.willDelaySeconds !== undefined ? { willDelayInterval: properties.willDelaySeconds } : {}),
            ...(properties.payloadFormat !== undefined ? { payloadFormatIndicator: properties.payloadFormat === 1 } : {}),
            ...(properties.messageExpirySeconds !== undefined ? { messageExpiryInterval: properties.messageExpirySeconds } : {}),
            ...(properties.contentType !== undefined ? { contentType: properties.contentType } : {}),
            ...(properties.responseTopic !== undefined ? { responseTopic: properties.responseTopic } : {}),
            ...(properties.correlationData !== undefined ? { correlationData: properties.correlationData } : {})
          }
        }
      : {})
  }
}

class AttachedClient implements OrdinaryClient {
  readonly #client: Client
  readonly #stream: AedesStream
  readonly #persistence: RecordsPersistence
  readonly #session: string
  readonly #version: number

  constructor (client: Client, stream: AedesStream, persistence: RecordsPersistence, session: string, version: number) {
    this.#client = client
    this.#stream = stream
    this.#persistence = persistence
    this.#session = session
    this.#version = version
  }

  forward (frame: Buffer): void { this.#stream.feed(frame) }

  async subscribe (subscriptions: Subscription[], identifier: number | undefined, granted: () => void): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#client.subscribe({
        cmd: 'subscribe',
        subscriptions: subscriptions.map(({ filter, qos, noLocal, rap, rh }) => ({ topic: filter, qos, ...(this.#version === 5 ? { nl: noLocal, rap, rh } : {}) })),
        ...(identifier !== undefined ? { properties: { subscriptionIdentifier: identifier } } : {})
      }, err => {
        if (err) return reject(err)
        granted()
        resolve()
      })
    })
  }

  async unsubscribe (filters: string[]): Promise<void> {
    // Without a message id Aedes sends no UNSUBACK of its own, and does not touch what is stored.
    await this.#persistence.removeSubscriptions({ id: this.#session }, filters)
    await new Promise<void>((resolve, reject) => {
      this.#client.unsubscribe({ cmd: 'unsubscribe', unsubscriptions: filters }, err => { if (err) reject(err); else resolve() })
    })
  }

  filters (): string[] { return Object.keys((this.#client as unknown as { subscriptions: Record<string, unknown> }).subscriptions) }

  dropWill (): void {
    const internals = this.#client as unknown as ClientInternals
    const { will } = internals
    internals.will = internals._will = null
    if (will !== null) this.#persistence.dropWill(this.#session, will)
  }

  end (graceful: boolean): void {
    if (this.#stream.destroyed) return
    if (graceful) this.#stream.push(Buffer.from([packetTypes.disconnect << 4, 0]))
    else this.#stream.destroy()
  }
}
