import { Aedes, type AedesOptions, type Client, type PublishPacket } from 'aedes'
import mqttPacket from 'mqtt-packet'
import type { Logger } from 'pino'
import { logFailure } from '../gateway/connection/failure.ts'
import { maxChatPacketId } from '../gateway/connection/packet-ids.ts'
import type { GatewayLimits } from '../gateway/limits.ts'
import type { OpenTopics, TopicRights } from '../gateway/open-topics.ts'
import type { OrdinaryClient, OrdinaryPeer, OrdinaryTopics } from '../gateway/ordinary-topics.ts'
import type { Will } from '../mqtt/index.ts'
import { AttachedClient, propertiesOf } from './attached-client.ts'
import type { ClusterSetup, ClusterSide } from './cluster/open.ts'
import { sendQueue } from './cluster/queue-sending.ts'
import type { SessionQueue } from './cluster/session-queue.ts'
import { nextPacketId } from './next-packet-id.ts'
import type { Groups, Persistence } from './persistence-interface.ts'
import { recordsPersistence, type RecordsLike, type RecordsPersistence } from './persistence.ts'
import { Router } from './router.ts'
import type { Dealer } from './shared-group.ts'
import { SharedGroups } from './shared-groups.ts'
import { AedesStream } from './stream.ts'
import { willPacket } from './will-packet.ts'

/** Aedes' fields that its types do not have; pinned to 2.0.0-beta.1 (docs/adr/0002). */
interface ClientInternals { conn: AedesStream }
interface ForwardedPacket { messageId?: number | undefined, qos: number, topic: string, messageExpiry?: number }

const neverExpires = 0xffffffff

export interface OrdinaryOptions {
  records: RecordsLike
  openTopics: OpenTopics
  limits: Pick<GatewayLimits, 'offlineQueue' | 'offlineQueueBytes' | 'offlineBytes' | 'retained' | 'retainedBytes' | 'outputBytes'>
  log: Logger
  /** Where several servers have them together: what is kept is in Redis. */
  cluster?: ClusterSetup | undefined
}

/** What the broker is made of, alone or with others. */
interface Parts {
  persistence: Persistence
  router: Router
  /** Alone: what sessions that fell behind have left. */
  backlog: RecordsPersistence | undefined
  side: ClusterSide | undefined
}

/** Every dependence on Aedes: ordinary topics of the sessions that use them. Chat topics never pass here. */
export class OrdinaryBroker implements OrdinaryTopics {
  readonly #broker: Aedes
  readonly #parts: Parts
  readonly #persistence: Persistence
  readonly #router: Router
  readonly #groups: Groups<Dealer>
  readonly #log: Logger
  /** Clients that Aedes has; resolved when it has done with them. */
  readonly #leaving = new Map<string, { gone: Promise<void>, leave: () => void }>()
  /** Wills that are stored with what they leave behind, and that Aedes has not taken, by the keys of their rows. */
  readonly #stored = new Map<string, PublishPacket>()
  readonly #openTopics: OpenTopics
  readonly #outputBytes: number

  private constructor (broker: Aedes, parts: Parts, { openTopics, limits, log }: OrdinaryOptions) {
    const { persistence, router } = parts
    this.#broker = broker
    this.#parts = parts
    this.#persistence = persistence
    this.#router = router
    this.#groups = groupsOf(parts, openTopics, log)
    this.#log = log
    this.#openTopics = openTopics
    this.#outputBytes = limits.outputBytes
    broker.on('clientDisconnect', client => {
      this.#leaving.get(client.id)?.leave()
      this.#leaving.delete(client.id)
    })
  }

  static async start (options: OrdinaryOptions): Promise<OrdinaryBroker> {
    const { log } = options
    const parts = await partsOf(options)
    const { persistence, router } = parts
    const settings: AedesOptions = {
      persistence,
      mq: router,
      drainTimeout: 0,
      // Internal ids are `{user}/{clientId}`; the client's own id was checked before.
      maxClientsIdLength: 1024,
      preConnect: (_client, _packet, done) => { done(null, true) },
      authenticate: (_client, _user, _password, done) => { done(null, true) },
      // Publishes of clients were judged before they came here; nobody else's come this way.
      authorizePublish: (client, packet, done) => {
        if (client === null || !rightsOf(client).mayPublish(packet.topic)) return done(new Error('this topic is not open'))
        if (client.version === 5 && packet.qos > 0 && !router.hears(packet.topic, client.id) && !persistence.expects(packet.topic, client.id)) {
          (client as unknown as ClientInternals).conn.unheard.add(packet.messageId as number)
        }
        // Aedes acknowledges right after this hook: what has to be on disk by then is written here.
        const written = persistence.prepare(client, packet)
        if (written === undefined) done(null)
        else written.then(() => { done(null) }, (err: Error) => { unwritten(client, err, done) })
      },
      authorizeForward: (client, packet) => {
        // What is live was judged when it was published; what was stored may be of a time when more was open.
        if ((packet as ForwardedPacket).messageId !== undefined && !rightsOf(client).mayRead(packet.topic)) return null
        if (packet.qos > 0) nameForwarded(client, packet as ForwardedPacket, persistence)
        return packet
      }
    }
    const broker = new Aedes(settings)
    broker.on('error' as 'closed', ((err: Error) => { logFailure(log, err, {}, 'Aedes') }) as () => void)
    await broker.listen()
    return new OrdinaryBroker(broker, parts, options)
  }

  /** True when something is stored for the session, so that it has to be attached when it comes back. */
  knows (session: string): boolean { return this.#persistence.keeps(session) }

  /** Several servers have no queue that they deal from together. */
  get shares (): boolean { return this.#parts.side === undefined }

  counts (): { retained: number, queuedBytes: number, dropped: number } { return this.#persistence.counts() }
  retains (topic: string, payloadBytes: number): boolean { return this.#persistence.retains(topic, payloadBytes) }

  async forget (session: string): Promise<void> {
    await this.#groups.ended(session)
    await this.#persistence.forget(session)
  }

  /** Makes a client for the connection: Aedes sees a CONNECT of our own making, its CONNACK goes no further. */
  async attach (peer: OrdinaryPeer): Promise<OrdinaryClient> {
    const { session, version } = peer
    // A session that goes on has what waits for it, also when it is to end with this connection: the engine says when it is over.
    const kept = session.persistent || this.knows(session.id)
    // Aedes takes its time to let a client go; the end of the old one must not be taken for the new one's.
    await this.#leaving.get(session.id)?.gone
    const { backlog, side } = this.#parts
    const queue = kept ? side?.persistence.queueOf(session.id) : undefined
    let join = (): void => {}
    const stream: AedesStream = new AedesStream(peer, this.#openTopics.ofSession(session.id), this.#outputBytes, {
      connected: () => { join() },
      woken: () => { this.#groups.wake(session.id) },
      fellBehind: kept && backlog !== undefined ? () => attached.fallBehind() : undefined,
      caughtUp: () => { attached.catchUp() },
      settled: (packetId, begun) => { attached.settled(packetId, begun) }
    })
    const client = this.#broker.handle(stream)
    const attached: AttachedClient = new AttachedClient({
      client,
      stream,
      router: this.#router,
      groups: this.#groups,
      persistence: this.#persistence,
      queue,
      backlog,
      session: session.id,
      kept,
      onError: err => { logFailure(this.#log, err, { session: session.id }, 'retained messages were not sent') }
    })
    // Not when Aedes calls it connected: that is when all that waited for the session was sent, for which the client has to acknowledge.
    const connected = new Promise<void>((resolve, reject) => {
      join = () => {
        attached.join()
        resolve()
      }
      stream.once('close', () => { reject(new Error('Aedes closed the connection')) })
    })
    stream.push(connectPacket(session.id, version, kept))
    let leave = (): void => {}
    const gone = new Promise<void>(resolve => { leave = resolve })
    // From here on, also when the connection ends meanwhile: then the client is let go as soon as Aedes has it.
    this.#leaving.set(session.id, { gone, leave })
    try {
      await connected
    } catch (err) {
      this.#leaving.delete(session.id)
      queue?.close()
      leave()
      throw err
    }
    // Which packet ids its queue has is known before anything else has one.
    if (kept) await this.#persistence.warm(session.id)
    // Aedes ends a client that breaks its rules; when the connection itself ended, this finds it closed.
    stream.once('close', () => {
      queue?.close()
      peer.close()
    })
    if (queue !== undefined) this.#send(queue, attached, stream, client)
    return attached
  }

  /** The queue is sent as long as the connection lasts. */
  #send (queue: SessionQueue, attached: AttachedClient, stream: AedesStream, client: Client): void {
    sendQueue({ queue, client, stream, nextId: () => attached.nextId(), properties: body => propertiesOf(body, []) })
      .catch((err: Error) => { stream.destroy(err) })
  }

  async publishWill (session: string, will: Will, key: string): Promise<void> {
    const removal = [{ key, value: null }]
    // The configuration may have changed since it was announced.
    if (!this.#openTopics.ofSession(session).mayPublish(will.topic)) return await this.#persistence.write(removal)
    // Named like a message of the session, for No Local [MQTT-3.8.3-3].
    let packet = this.#stored.get(key)
    if (packet === undefined) {
      packet = { cmd: 'publish', ...willPacket(will), dup: false, clientId: session } as PublishPacket
      await this.#persistence.leave(packet, removal)
      this.#stored.set(key, packet)
    }
    await this.#publish(packet)
    this.#stored.delete(key)
  }

  async #publish (packet: PublishPacket): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#broker.publish(packet, error => { if (error) reject(error); else resolve() })
    })
  }

  async close (): Promise<void> {
    await new Promise<void>(resolve => { this.#broker.close(resolve) })
    await this.#persistence.destroy()
    this.#parts.side?.close()
  }
}

async function partsOf ({ records, limits, log, cluster }: OrdinaryOptions): Promise<Parts> {
  const onDrop = (dropped: object): void => { log.warn(dropped, 'a limit of ordinary topics was reached') }
  if (cluster !== undefined) {
    // Loaded by those who use it.
    const { openClusterSide } = await import('./cluster/open.ts')
    const side = await openClusterSide({ setup: cluster, records, ...limits, onDrop, onError: err => { logFailure(log, err as Error, {}, 'ordinary topics: Redis did not do what it was asked') } })
    return { persistence: side.persistence, router: side.router, backlog: undefined, side }
  }
  const persistence = recordsPersistence({ records, ...limits, minPacketId: maxChatPacketId + 1, routed: true, log, onDrop })
  return { persistence, router: new Router(), backlog: persistence, side: undefined }
}

function groupsOf ({ backlog, router }: Parts, openTopics: OpenTopics, log: Logger): Groups<Dealer> {
  if (backlog === undefined) return noGroups
  const groups = new SharedGroups({
    queues: backlog.shared,
    router,
    mayShare: (session, filter) => openTopics.ofSession(session).maySubscribe(filter),
    onError: err => { logFailure(log, err, {}, 'a shared subscription was not served') }
  })
  groups.restore()
  return groups
}

function connectPacket (session: string, version: OrdinaryPeer['version'], kept: boolean): Buffer {
  return mqttPacket.generate({
    cmd: 'connect',
    protocolId: version === 3 ? 'MQIsdp' : 'MQTT',
    protocolVersion: version,
    clientId: session,
    clean: !kept,
    keepalive: 0,
    ...(version === 5 && kept ? { properties: { sessionExpiryInterval: neverExpires } } : {})
  })
}

function rightsOf (client: Client): TopicRights { return (client as unknown as ClientInternals).conn.rights }

/** Aedes would tell a client of MQTT 5 that it may not publish: its connection ends, and the message comes again. */
function unwritten (client: Client | null, err: Error, done: (err: Error) => void): void {
  if (client === null) done(err)
  else (client as unknown as ClientInternals).conn.destroy(err)
}

/** A packet above QoS 0 that is about to be sent: its packet id, and when it expires, which a client before MQTT 5 is not told. */
function nameForwarded (client: Client, packet: ForwardedPacket, queues: Pick<Persistence, 'hasPacketId'>): void {
  assignPacketId(client, packet, queues)
  if (client.version !== 5) (client as unknown as ClientInternals).conn.expires(packet.messageId as number, packet.messageExpiry)
}

/** Packet ids above `maxChatPacketId` are Aedes': the two sides of a connection never use the same one. */
function assignPacketId (client: Client, packet: ForwardedPacket, queues: Pick<Persistence, 'hasPacketId'>): void {
  if (packet.messageId !== undefined && packet.messageId > maxChatPacketId) return
  const { inFlight } = (client as unknown as ClientInternals).conn
  packet.messageId = nextPacketId(client, id => inFlight.has(id) || queues.hasPacketId(client.id, id))
}

/** Shared subscriptions are not there for several servers. */
const noGroups: Groups<Dealer> = {
  join: () => {},
  leave: () => {},
  disconnected: () => {},
  wake: () => {},
  ended: async () => {}
}
