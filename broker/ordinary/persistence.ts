/**
 * Durable persistence of ordinary MQTT topics for Aedes (the asynchronous interface of aedes-persistence 10).
 *
 * Aedes acknowledges a QoS 1 publish before it stores anything, and drops what its storage lets overtake. So `prepare` writes
 * what a publish leaves behind (retained message, queue entries) before Aedes goes on, and the methods that Aedes calls
 * afterwards only bind what is there, without a wait in between. QoS 2 is prepared by `incomingStorePacket`, in one atomic
 * write with the packet id [MQTT-4.3.3-2].
 */
import type { EventEmitter } from 'node:events'
import { Readable } from 'node:stream'
import { BatchWriter, bounds, retainedKey, sessionKey, splitKey } from './persistence-records.ts'
import type { RecordChange } from './persistence-records.ts'
import type { PersistenceOptions } from './persistence-options.ts'
import { IncomingIds } from './persistence-incoming.ts'
import type { PacketLike } from './persistence-packets.ts'
import { Publishing } from './persistence-publishing.ts'
import { mergeRecipients, type Recipient } from './persistence-recipients.ts'
import { RetainedMessages, type FoundRetained } from './persistence-retained.ts'
import { OutgoingQueues } from './persistence-outgoing.ts'
import { Subscriptions } from './persistence-subscriptions.ts'
import type { SubscriptionLike } from './persistence-subscriptions.ts'
import { SharedQueues } from './persistence-shared.ts'
import { StoredWills } from './persistence-wills.ts'
import type { ClientLike } from './persistence-gates.ts'

export type { Dropped, PersistenceOptions } from './persistence-options.ts'
export type { RecordsLike } from './persistence-records.ts'

/**
 * Stands for a persistent session without subscriptions [MQTT-3.2.2-2]. Aedes asks authorizeSubscribe for it like for any
 * restored filter: refusing it is right.
 */
export const sessionMarker = '$SYS/-'

interface BrokerLike {
  readonly id: string
  readonly clients?: Readonly<Record<string, unknown>>
  authorizeForward?: (client: ClientLike, packet: PacketLike) => unknown
  on? (event: 'clientDisconnect', listener: (client: ClientLike) => void): unknown
  removeListener?: EventEmitter['removeListener']
}

/** Makes the persistence; give it to Aedes as `persistence`. */
export function recordsPersistence (options: PersistenceOptions): RecordsPersistence { return new RecordsPersistence(options) }

export class RecordsPersistence {
  readonly #options: PersistenceOptions
  readonly #writer: BatchWriter
  readonly #retained: RetainedMessages
  readonly #outgoing: OutgoingQueues
  readonly #subscriptions: Subscriptions
  readonly #publishing: Publishing
  readonly #incoming: IncomingIds
  readonly #wills: StoredWills
  readonly shared: SharedQueues
  readonly #marked = new Set<string>()
  readonly #dropRetained = (topic: string) => { this.#writer.later([{ key: retainedKey(topic), value: null }]) }
  readonly #onClose = (client: ClientLike) => { this.#outgoing.left(client) }
  #broker: BrokerLike | undefined
  #destroyed = false
  #droppedMessages = 0

  constructor (options: PersistenceOptions) {
    this.#options = options
    const onError = (error: unknown) => { options.log?.error({ err: error }, 'ordinary topics could not be written') }
    this.#writer = new BatchWriter(options.records, onError)
    this.#retained = new RetainedMessages(options.records, { max: options.retained, maxBytes: options.retainedBytes })
    this.#subscriptions = new Subscriptions()
    this.#outgoing = new OutgoingQueues({
      records: options.records,
      writer: this.#writer,
      max: options.offlineQueue,
      maxBytes: options.offlineQueueBytes,
      maxTotalBytes: options.offlineBytes,
      minPacketId: options.minPacketId ?? 1,
      isOnline: client => this.#broker?.clients === undefined || Object.hasOwn(this.#broker.clients, client),
      onDrop: (client, count) => {
        this.#droppedMessages += count
        options.onDrop?.({ kind: 'queued', client, count })
      }
    })
    this.#publishing = new Publishing({
      writer: this.#writer,
      retained: this.#retained,
      outgoing: this.#outgoing,
      subscriptions: this.#subscriptions,
      onRetainedDrop: topic => { options.onDrop?.({ kind: 'retained', topic }) }
    })
    this.#incoming = new IncomingIds(this.#writer)
    this.#wills = new StoredWills(this.#writer)
    this.shared = new SharedQueues({ records: options.records, writer: this.#writer, outgoing: this.#outgoing, subscriptions: this.#subscriptions })
  }

  get broker (): BrokerLike | undefined { return this.#broker }

  /** For health and metrics. `dropped`: messages that queues lost to their bound since the start. */
  counts (): { retained: number, retainedBytes: number, dropped: number, queuedBytes: number } {
    return { queuedBytes: this.#outgoing.bytes, retained: this.#retained.size, retainedBytes: this.#retained.bytes, dropped: this.#droppedMessages }
  }

  /** Messages queued for a session, and how many of them are in memory. */
  queueOf (client: string): { size: number, inMemory: number } {
    return { size: this.#outgoing.size(client), inMemory: this.#outgoing.inMemory(client) }
  }

  /** A message in the session's queue has this packet id; it may be one that was not sent again yet. */
  hasPacketId (session: string, id: number): boolean { return this.#outgoing.queue(session)?.hasId(id) === true }

  /** Brings into memory which packet ids a session's queue has. */
  async warm (session: string): Promise<void> { await this.#outgoing.warm(session) }

  async setup (broker: BrokerLike): Promise<void> {
    this.#broker = broker
    const { records } = this.#options
    await this.#subscriptions.load(records)
    await this.#retained.load(this.#dropRetained)
    await this.#outgoing.load()
    await this.#incoming.load(records)
    for await (const [key] of records.range(...bounds('p'))) this.#marked.add(splitKey(key).client)
    await this.#wills.load(records)
    broker.on?.('clientDisconnect', this.#onClose)
    this.#guardForwarding(broker)
  }

  /** The one place where Aedes can be told not to send a live message: what the stream of stored ones sends is not sent twice. */
  #guardForwarding (broker: BrokerLike): void {
    const forward = broker.authorizeForward
    if (forward === undefined) return
    broker.authorizeForward = (client, packet) => {
      const staged = this.#publishing.entryOf(packet, client.id)
      return this.#outgoing.isLeftToStream(client, packet, staged) ? null : forward.call(broker, client, packet)
    }
  }

  // ---- publishing

  /**
   * Puts on disk what a QoS 1 publish leaves behind; call it in authorizePublish when the packet is allowed and final, and go
   * on when it resolves. `undefined`: nothing to wait for. One client's calls resolve in order. Other packets need no call.
   *
   * @param client the publisher; `null` for a will that outlived its broker
   * @throws (rejects) when it could not be written: then nothing of it was kept, and no PUBACK may be sent
   */
  prepare (client: ClientLike | null, packet: PacketLike): Promise<void> | undefined {
    if (packet.qos !== 1) return undefined
    return this.#publishing.commit(client ?? { id: packet.clientId ?? '' }, packet, [])
  }

  /** Writes what a message of the server itself leaves behind together with `changes`; as `prepare`, at any quality of service. */
  async leave (packet: PacketLike, changes: RecordChange[]): Promise<void> {
    await this.#publishing.commit({ id: packet.clientId ?? '' }, packet, changes)
    // Aedes sends what came before at QoS 2 a turn after its write.
    await new Promise(resolve => { setImmediate(resolve) })
  }

  /** Resolves when the changes are on disk. */
  async write (changes: RecordChange[]): Promise<void> { await this.#writer.write(changes) }

  /** A retained message is about to be sent to a kept session; the packet is changed for Aedes. */
  resendRetained (session: string, packet: PacketLike): void { this.#publishing.resend(session, packet) }

  async storeRetained (packet: PacketLike): Promise<void> { this.#publishing.retain(packet) }
  async outgoingEnqueue (subscription: Recipient, packet: PacketLike): Promise<void> { this.#publishing.enqueue([subscription], packet) }
  async outgoingEnqueueCombi (subscriptions: Recipient[], packet: PacketLike): Promise<void> { this.#publishing.enqueue(subscriptions, packet) }

  createRetainedStream (filter: string): Readable { return this.createRetainedStreamCombi([filter]) }
  createRetainedStreamCombi (filters: string[]): Readable {
    return Readable.from(this.#retained.packets(filters, this.#dropRetained))
  }

  mayRetain (filter: string): boolean { return this.#retained.mayMatch(filter) }
  /** There is room for a retained message. */
  retains (topic: string, payloadBytes: number): boolean { return payloadBytes === 0 || this.#retained.fits(topic, payloadBytes) }

  /** Retained messages that match, one by one as they are taken; `share`: of a page, read at first. */
  retained (filter: string, share = 1): AsyncGenerator<FoundRetained> {
    return this.#retained.match(filter, this.#dropRetained, share)
  }

  // ---- subscriptions

  /** Resolves when they are on disk. */
  async addSubscriptions (client: ClientLike, subscriptions: SubscriptionLike[]): Promise<void> {
    const changes = this.#subscriptions.add(client.id, subscriptions)
    // Aedes calls once per filter with all of them: the later calls wait for the first one's write.
    await (changes.length > 0 ? this.#writer.write(changes) : this.#writer.flush())
  }

  async removeSubscriptions (client: ClientLike, filters: string[]): Promise<void> {
    const changes = this.#subscriptions.remove(client.id, filters)
    if (changes.length > 0) await this.#writer.write(changes)
  }

  async subscriptionsByClient (client: ClientLike): Promise<SubscriptionLike[]> {
    if (this.#options.routed === true) return []
    const subscriptions = this.#subscriptions.of(client.id)
    if (subscriptions.length === 0 && this.#marked.has(client.id)) return [{ topic: sessionMarker, qos: 0 }]
    return subscriptions
  }

  subscriptionsOf (session: string): SubscriptionLike[] { return this.#subscriptions.of(session) }
  /** As `Subscriptions.owe`; not waited for. */
  owe (...of: Parameters<Subscriptions['owe']>): void { this.#writer.later(this.#subscriptions.owe(...of)) }

  /** True when a session, connected or not, would get what `publisher` sends. */
  expects (topic: string, publisher: string): boolean { return mergeRecipients(this.#subscriptions.match(topic), 0, publisher).size > 0 }

  async subscriptionsByTopic (topic: string): Promise<Recipient[]> { return this.#subscriptions.match(topic).filter(({ qos }) => qos > 0) }

  /** Ends the session: its subscriptions, queue and packet ids are gone. */
  async cleanSubscriptions (client: ClientLike): Promise<void> {
    const changes = [...this.#subscriptions.clear(client.id), ...this.#outgoing.drop(client.id), ...this.#incoming.drop(client)]
    if (this.#marked.delete(client.id)) changes.push({ key: sessionKey(client.id), value: null })
    if (changes.length > 0) await this.#writer.write(changes)
  }

  async countOffline (): Promise<{ subsCount: number, clientsCount: number }> { return this.#subscriptions.counts() }
  getClientList (topic: string): Readable { return Readable.from(this.#subscriptions.clientsOf(topic)) }

  /** True when something is stored for a session. */
  keeps (session: string): boolean { return this.#subscriptions.has(session) || this.#outgoing.size(session) > 0 || this.#incoming.keeps(session) }

  async forget (session: string): Promise<void> { await this.cleanSubscriptions({ id: session }) }

  /** Client ids of all sessions that left something here. */
  sessions (): Set<string> {
    return new Set([...this.#subscriptions.clients(), ...this.#outgoing.clients(), ...this.#incoming.clients(), ...this.#marked])
  }

  // ---- delivery

  outgoingStream (client: ClientLike): Readable {
    // Aedes streams the queue of an ended session too, to empty it: its client is closed by then.
    if (this.#options.markSessions === true && client.clean === false && client.closed !== true && !this.#marked.has(client.id)) {
      this.#marked.add(client.id)
      this.#writer.later([{ key: sessionKey(client.id), value: new Uint8Array() }], true)
    }
    return Readable.from(this.#outgoing.stream(client))
  }

  /** As `outgoingStream`, for a client that has fallen behind: what was not sent on this connection. */
  again (client: ClientLike): AsyncGenerator<object> { return this.#outgoing.stream(client, true) }
  fallBehind (client: ClientLike): boolean { return this.#outgoing.fallBehind(client) }

  async outgoingUpdate (client: ClientLike, packet: PacketLike): Promise<void> { await this.#outgoing.update(client, packet) }

  async outgoingClearMessageId (client: ClientLike, packet: PacketLike): Promise<object | undefined> {
    return await this.#outgoing.acknowledge(client, packet)
  }

  // ---- QoS 2 towards the server

  /** Resolves when the id and what the publish leaves behind are on disk, in one write. */
  async incomingStorePacket (client: ClientLike, packet: PacketLike): Promise<void> {
    const packetId = packet.messageId as number
    const changes = this.#incoming.add(client, packetId)
    try {
      await this.#publishing.commit(client, packet, changes)
    } catch (error) {
      this.#incoming.undo(client, packetId)
      throw error
    }
    // A turn of the event loop for each: Aedes drops a message that another one of the same batch overtakes.
    await new Promise(resolve => { setImmediate(resolve) })
  }

  /** Rejects when the id is not in use. The packet itself is not kept: it is queued already. */
  async incomingGetPacket (client: ClientLike, packet: PacketLike): Promise<{ messageId: number }> {
    const packetId = packet.messageId as number
    if (!this.#incoming.has(client, packetId)) throw new Error('no such packet')
    await this.#writer.flush()
    return { messageId: packetId }
  }

  /** On disk before PUBCOMP: else a reused id would look like a repeat after a crash. */
  async incomingDelPacket (client: ClientLike, packet: PacketLike): Promise<void> {
    await this.#incoming.remove(client, packet.messageId as number)
  }

  // ---- wills

  async putWill (client: ClientLike, packet: PacketLike): Promise<void> { await this.#wills.put(client.id, packet, this.#broker?.id ?? '') }
  async getWill (client: ClientLike): Promise<PacketLike | undefined> { return this.#wills.get(client.id) }
  async delWill (client: ClientLike): Promise<PacketLike | undefined> { return this.#wills.take(client.id) }

  /** Forgets this will of a session, if it is not another one by now. */
  dropWill (client: string, will: PacketLike): void { this.#wills.take(client, will) }

  /** Wills of brokers that are not in `brokers`: after a restart those of the clients that were connected before. */
  streamWill (brokers: Readonly<Record<string, unknown>> = {}): Readable { return Readable.from(this.#wills.ofOthers(brokers)) }

  /** Resolves when everything is written. The records stay open: they are the caller's. */
  async destroy (): Promise<void> {
    if (this.#destroyed) throw new Error('destroyed called twice!')
    this.#destroyed = true
    this.#broker?.removeListener?.('clientDisconnect', this.#onClose)
    await this.#writer.flush()
  }
}
