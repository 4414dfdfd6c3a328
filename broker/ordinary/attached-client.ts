/** A connection's client of ordinary topics: its subscriptions are ours, its packets go through Aedes. */
import type { Client } from 'aedes'
import mqttPacket, { type IPublishPacket } from 'mqtt-packet'
import { maxChatPacketId } from '../gateway/connection/packet-ids.ts'
import type { OrdinaryClient } from '../gateway/ordinary-topics.ts'
import { packetTypes, type Subscription } from '../mqtt/index.ts'
import { Acknowledging } from './acknowledging.ts'
import { nextPacketId } from './next-packet-id.ts'
import type { PacketLike, Properties } from './persistence-packets.ts'
import type { Receiver } from './persistence-recipients.ts'
import type { SubscriptionLike } from './persistence-subscriptions.ts'
import type { Groups, Persistence } from './persistence-interface.ts'
import { RetainedSending } from './retained-sending.ts'
import type { RecordsPersistence } from './persistence.ts'
import type { Deliver, Router } from './router.ts'
import { isShared, shareOf } from './shared-filter.ts'
import type { Dealer } from './shared-group.ts'
import type { AedesStream } from './stream.ts'
import { gatherUserProperties } from './user-properties.ts'

/** Aedes' fields that its types do not have; pinned to 2.0.0-beta.1 (docs/adr/0002). */
interface ClientInternals {
  _nextId: number
  duplicates: Record<string, number>
  deliver0 (packet: PacketLike, done: () => void): void
  deliverQoS (packet: PacketLike, done: () => void): void
}

/** Of each broker nothing was sent yet: a client is sent each message once, and none is one of the past. */
const nothingTwice: Record<string, number> = new Proxy({}, { set: () => true })

/** The session's queue, from which somebody else sends. */
export interface QueueLike {
  /** There is more in it. */
  wake (): void
  stop (): void
}

export interface AttachedClientOptions {
  client: Client
  stream: AedesStream
  router: Router
  groups: Groups<Dealer>
  persistence: Persistence
  /** Where several servers share what is kept: what is above QoS 0 goes by it alone. */
  queue: QueueLike | undefined
  /** Where the server is alone: what the session was not sent when it fell behind. */
  backlog: Pick<RecordsPersistence, 'again' | 'fallBehind'> | undefined
  session: string
  /** What waits for the session, and its subscriptions, are stored. */
  kept: boolean
  /** Retained messages could not be sent. */
  onError: (err: Error) => void
}

export class AttachedClient implements OrdinaryClient, Dealer {
  readonly #options: AttachedClientOptions
  readonly #internals: ClientInternals
  readonly #filters = new Set<string>()
  readonly #retained: RetainedSending
  readonly #acknowledging: Acknowledging
  /** Subscriptions whose retained messages an earlier connection was not sent, or not all of them. */
  readonly #owed = new Map<string, SubscriptionLike>()
  #coming = 0

  constructor (options: AttachedClientOptions) {
    this.#options = options
    this.#internals = options.client as unknown as ClientInternals
    this.#internals._nextId = maxChatPacketId + 1
    this.#internals.duplicates = nothingTwice
    const { persistence, stream, kept, session } = options
    this.#acknowledging = new Acknowledging(options)
    this.#retained = new RetainedSending({
      retained: (filter, share) => persistence.retained(filter, share),
      room: () => stream.room(),
      mayRead: topic => stream.rights.mayRead(topic),
      properties: propertiesOf,
      send: (packet, done) => {
        if (!kept || packet.qos === 0) return this.#send(packet, done)
        const queued = persistence.resendRetained(session, packet)
        if (queued === undefined) this.#send(packet, done)
        else queued.catch(options.onError).finally(done)
      },
      owe: (filter, owed, sent) => { persistence.owe(session, filter, owed, sent) },
      get closed () { return stream.destroyed }
    })
  }

  /** Aedes has the client: from here on it gets what it subscribes to. */
  join (): void {
    const { client, router, session, kept, persistence, stream } = this.#options
    router.join(session, this.#deliver)
    if (!kept) return
    for (const subscription of persistence.subscriptionsOf(session)) {
      // The configuration may have changed.
      if (!stream.rights.maySubscribe(isShared(subscription.topic) ? shareOf(subscription.topic).filter : subscription.topic)) continue
      this.#add(subscription)
      if (subscription.owed !== undefined) this.#owed.set(subscription.topic, subscription)
    }
    // Behind what is queued: without room in the window all of it would be queued, too.
    if (this.#owed.size > 0) client.on('connected', () => { this.#sendOwed() })
  }

  #sendOwed (): void {
    const owed = [...this.#owed.values()]
    this.#owed.clear()
    this.#retained.find(owed).then(async found => {
      await this.#retained.send(found.filter(({ subscription: { topic } }) => this.#filters.has(topic)), true)
    }).catch(this.#options.onError)
  }

  #add (subscription: SubscriptionLike): void {
    const { router, groups, session } = this.#options
    this.#filters.add(subscription.topic)
    if (isShared(subscription.topic)) groups.join(session, subscription, this)
    else router.subscribe(session, subscription)
  }

  /** Too much waits for the client: its queue has what comes from here on. */
  fallBehind (): boolean { return this.#options.backlog?.fallBehind(this.#options.client) === true }

  /** Sends what was left to the queue, as Aedes does with what waits for a session. */
  catchUp (): void {
    const { stream, backlog } = this.#options
    if (backlog !== undefined) this.#catchUp(backlog).catch((err: Error) => { stream.destroy(err) })
  }

  async #catchUp (backlog: Pick<RecordsPersistence, 'again'>): Promise<void> {
    const { persistence, client, stream } = this.#options
    for await (const one of backlog.again(client)) {
      const packet = one as PacketLike
      if (stream.destroyed) return
      if (packet.cmd !== 'publish') continue
      packet.messageId ??= this.nextId()
      await persistence.outgoingUpdate(client, packet)
      const expired = packet.messageExpiry !== undefined && packet.messageExpiry <= Date.now()
      if (expired || !stream.rights.mayRead(packet.topic)) await persistence.outgoingClearMessageId(client, packet)
      else stream.write(mqttPacket.generate({ ...packet, ...propertiesOf(packet, []) } as IPublishPacket, { protocolVersion: client.version }))
    }
  }

  forward (frame: Buffer): void {
    if (this.#acknowledging.take(frame)) return
    const { stream, client } = this.#options
    const ordered = client.version === 5 && (frame[0] as number) >> 4 === packetTypes.publish
    stream.feed(ordered ? gatherUserProperties(frame) : frame)
  }

  /**
   * A message is not sent. One whose exchange has begun goes on with PUBREL: the client may have it, and would take another one with its packet id for it
   * [MQTT-4.3.3-10].
   */
  settled (packetId: number, begun: boolean): void {
    if (begun) this.#acknowledging.received(packetId)
    else this.#acknowledging.ended(packetId)
  }

  wake (): void { this.#options.stream.wake() }

  hasInFlight (packetId: number): boolean {
    const { stream, persistence, session } = this.#options
    return stream.inFlight.has(packetId) || persistence.hasPacketId(session, packetId)
  }

  async subscribe (subscriptions: Subscription[], identifier: number | undefined, granted: () => void): Promise<void> {
    const { stream, persistence, session, kept, onError } = this.#options
    // Of a filter that comes twice the last one counts.
    const rows = new Map<string, SubscriptionLike>(subscriptions.map(({ filter, qos, noLocal, rap, rh }) => [filter, {
      topic: filter, qos, rh, rap, nl: noLocal, ...identifier !== undefined && { subscriptionIdentifier: identifier }
    }]))
    if (stream.destroyed) return
    // [MQTT-3.3.1-9] to [MQTT-3.3.1-11] of MQTT 5.
    const wanted = [...rows.values()].filter(({ topic }) => !isShared(topic)).filter(({ topic, rh }) => rh === 0 || (rh === 1 && !this.#filters.has(topic)))
    this.#owe([...rows.values()], wanted)
    // In force at once, as for its queue: what was only queued meanwhile would come with the next connection, behind what is newer.
    for (const row of rows.values()) this.#add(row)
    if (kept) await persistence.addSubscriptions({ id: session }, [...rows.values()])
    if (stream.destroyed) return
    const found = await this.#retained.find(wanted).catch((err: Error) => {
      onError(err)
      return []
    })
    if (stream.destroyed) return
    granted()
    // Not waited for: the client's acknowledgements make room for more.
    this.#retained.send(found).catch(onError)
  }

  /** What is to be sent now is owed until it is, as the connection may end; what was owed before comes as it is subscribed to now. */
  #owe (rows: readonly SubscriptionLike[], wanted: readonly SubscriptionLike[]): void {
    const { kept, persistence } = this.#options
    for (const row of rows) {
      const before = this.#owed.get(row.topic)
      if (wanted.includes(row)) {
        this.#owed.delete(row.topic)
        if (kept && persistence.mayRetain(row.topic)) row.owed = []
      } else if (before?.owed !== undefined) this.#owed.set(row.topic, { ...row, owed: before.owed })
    }
  }

  async unsubscribe (filters: string[]): Promise<void> {
    const { router, groups, persistence, session } = this.#options
    for (const filter of filters) {
      this.#filters.delete(filter)
      this.#retained.forget(filter)
      this.#owed.delete(filter)
      if (isShared(filter)) groups.leave(session, filter)
      else router.unsubscribe(session, filter)
    }
    await persistence.removeSubscriptions({ id: session }, filters)
  }

  filters (): string[] { return [...this.#filters] }

  end (graceful: boolean): void {
    const { router, groups, session, stream, queue } = this.#options
    queue?.stop()
    // Not when the session has a newer client.
    if (router.leave(session, this.#deliver)) groups.disconnected(session)
    if (stream.destroyed) return
    if (graceful) stream.push(Buffer.from([packetTypes.disconnect << 4, 0]))
    else stream.destroy()
  }

  // ---- as a member of groups

  get kept (): boolean { return this.#options.kept }
  get free (): number { return this.#options.stream.free - this.#coming }
  give (packet: PacketLike): void { this.#sendOne({ ...packet, retain: packet.retain && packet.qos === 0, ...propertiesOf(packet, []) }) }

  lend (packet: PacketLike, over: () => void): void {
    const { stream } = this.#options
    const messageId = this.nextId()
    stream.ends.set(messageId, over)
    this.#sendOne({ ...packet, messageId, ...propertiesOf(packet, []) })
  }

  /** Counted until it is written: Aedes writes a turn later. */
  #sendOne (packet: PacketLike): void {
    this.#coming++
    this.#send(packet, () => { this.#coming-- })
  }

  /** A packet id above those of chat that no message in flight has. */
  nextId (): number {
    const { client, persistence, session, stream: { inFlight, ends } } = this.#options
    return nextPacketId(client, id => inFlight.has(id) || ends.has(id) || persistence.hasPacketId(session, id))
  }

  readonly #deliver: Deliver = (packet, { qos, rap, identifiers }, done) => {
    const { kept, queue } = this.#options
    const granted = Math.min(qos, packet.qos) as Receiver['qos']
    if (queue !== undefined && granted > 0) {
      queue.wake()
      return done()
    }
    // Aedes keeps no account of what has RETAIN set: the queue's entry has the flag, and gives it back.
    const retain = rap && packet.retain && !(kept && granted > 0)
    const { topic, payload, brokerId, brokerCounter, messageExpiry } = packet
    const own: PacketLike = { cmd: 'publish', topic, payload, qos: granted, retain }
    if (brokerId !== undefined && brokerCounter !== undefined) [own.brokerId, own.brokerCounter] = [brokerId, brokerCounter]
    if (messageExpiry !== undefined) own.messageExpiry = messageExpiry
    if (packet.properties !== undefined || identifiers.length > 0) Object.assign(own, propertiesOf(packet, identifiers))
    this.#send(own, done)
  }

  #send (packet: PacketLike, done: () => void): void {
    if (packet.qos === 0) this.#internals.deliver0(packet, done)
    else this.#internals.deliverQoS(packet, done)
  }
}

/** The properties as they go to one client: what is left of the message's time [MQTT-3.3.2-6], and the identifiers of its subscriptions. */
export function propertiesOf ({ properties, messageExpiry }: Pick<PacketLike, 'properties' | 'messageExpiry'>, identifiers: readonly number[]): { properties?: Properties } {
  if (identifiers.length === 0 && messageExpiry === undefined) return properties === undefined ? {} : { properties }
  const own: Properties = { ...properties }
  if (messageExpiry !== undefined) own['messageExpiryInterval'] = Math.max(0, Math.ceil((messageExpiry - Date.now()) / 1000))
  if (identifiers.length > 0) own['subscriptionIdentifier'] = identifiers
  return { properties: own }
}
