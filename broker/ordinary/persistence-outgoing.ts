/** The outgoing queues of all sessions. */
import { Bodies, encodeReference, withIdentifiers } from './persistence-bodies.ts'
import type { BodyPlace } from './persistence-bodies.ts'
import { packetOf } from './persistence-entry-packets.ts'
import { chosen } from './persistence-page.ts'
import { makeRoom } from './persistence-room.ts'
import type { RoomOptions } from './persistence-room.ts'
import { loadQueues, readWritten, wakeQueue } from './persistence-loading.ts'
import { mergeRecipients } from './persistence-recipients.ts'
import type { Recipient } from './persistence-recipients.ts'
import { sharedKey } from './persistence-records.ts'
import type { BatchWriter, RecordChange, RecordsLike } from './persistence-records.ts'
import { bodyOf, encode, type Body, type PacketLike } from './persistence-packets.ts'
import type { Entry } from './persistence-entry.ts'
import { OutgoingQueue } from './persistence-queue.ts'
import { StreamGates, type ClientLike } from './persistence-gates.ts'
import { Taken } from './persistence-taken.ts'

/** Entries that were queued together; `undo` takes them back when they could not be written. */
export interface StagedEntries { changes: RecordChange[], entries: Map<string, Entry>, undo: () => void }

export interface OutgoingOptions extends RoomOptions {
  records: RecordsLike
  writer: BatchWriter
  /** Messages in one queue. */
  max: number
  /** Bytes of the messages in one queue. */
  maxBytes: number
  /** The lowest packet id that is chosen here. */
  minPacketId: number
}

const pageEntries = 64
/** About what a reference to a shared body takes. */
const referenceBytes = 128

export class OutgoingQueues {
  readonly #options: OutgoingOptions
  readonly #queues = new Map<string, OutgoingQueue>()
  readonly #connections = new WeakMap<object, number>()
  readonly #gates = new StreamGates()
  readonly #bodies = new Bodies()
  /** Queues that stay in memory: of groups, which are never connected. */
  readonly awake = new Set<string>()
  /** The connection that a session's queue was last streamed for. */
  readonly #streaming = new Map<string, ClientLike>()
  readonly #streamed = new WeakSet<object>()
  readonly taken = new Taken()
  #lastConnection = 0
  /** Numbers are never used twice: a message that was staged can be looked for when its queue is another one. */
  #firstSeq = 1

  constructor (options: OutgoingOptions) { this.#options = options }

  /** Bytes of all queues. */
  get bytes (): number { return this.#bodies.bytes }
  size (client: string): number { return this.#queues.get(client)?.size ?? 0 }
  /** How many entries of the client are in memory. */
  inMemory (client: string): number { return this.#queues.get(client)?.inMemory ?? 0 }
  clients (): IterableIterator<string> { return this.#queues.keys() }
  queue (client: string): OutgoingQueue | undefined { return this.#queues.get(client) }

  /** Reads which numbers are queued, row by row; bodies stay on disk. */
  async load (): Promise<void> {
    const { records, writer } = this.#options
    await loadQueues(records, this.#bodies, this.#queues, client => this.#newQueue(client))
    const orphans = this.#bodies.orphans()
    if (orphans.length > 0) writer.later(orphans)
  }

  /**
   * Queues a message for each recipient at the lower of its and the recipient's quality of service [MQTT-3.8.4-6]; several
   * subscriptions of one client make one message, at the highest of theirs [MQTT-3.3.5-1].
   */
  stage (recipients: Iterable<Recipient>, packet: PacketLike, publisher?: string, share?: string): StagedEntries {
    const staged: StagedEntries = {
      changes: [],
      entries: new Map(),
      undo: () => { for (const [client, entry] of staged.entries) this.#queues.get(client)?.remove(entry) }
    }
    const receivers = [...mergeRecipients(recipients, packet.qos, publisher)].filter(([, { qos }]) => Math.min(qos, packet.qos) > 0)
    if (receivers.length === 0) return staged
    const plain = bodyOf(packet)
    const whole = encode(plain)
    makeRoom(this.#queues, this.#bodies, whole.length + receivers.length * referenceBytes, this.#options, staged.changes, queue => { this.#forget(queue) })
    // A row of its own for one session: the second row would cost more than it saves.
    const shared = receivers.length > 1 && whole.length > referenceBytes ? this.#bodies.add(whole.length) : undefined
    if (shared !== undefined) staged.changes.push({ key: sharedKey(shared), value: whole })
    for (const [client, { qos: granted, rap, identifiers }] of receivers) {
      const qos = Math.min(granted, packet.qos) as 1 | 2
      const body: Body = { ...plain, qos, retain: rap && packet.retain, ...withIdentifiers(plain.properties, identifiers) }
      let queue = this.#queues.get(client)
      if (queue === undefined) this.#queues.set(client, queue = this.#newQueue(client))
      const { entry, dropped } = queue.append(body, qos, this.#rowOf(body, shared, identifiers, share), this.#options, staged.changes)
      if (dropped > 0) this.#options.onDrop(client, dropped)
      staged.entries.set(client, entry)
    }
    return staged
  }

  /** `share`: of which group a message for one session was. */
  #rowOf (body: Body, shared: number | undefined, identifiers: number[], share?: string): { place: BodyPlace, value: Buffer } {
    if (shared !== undefined) return { place: shared, value: encodeReference({ body: shared, qos: body.qos, retain: body.retain, identifiers }) }
    const value = encode(body, share === undefined ? undefined : { share })
    return { place: -value.length, value }
  }

  bind (client: string, entry: Entry, packet: PacketLike): void {
    this.taken.note(client, packet)
    if (packet.brokerId !== undefined && packet.brokerCounter !== undefined) this.#queues.get(client)?.bind(entry, packet.brokerId, packet.brokerCounter)
    this.settle(client)
  }

  remove (client: string, entry: Entry): void {
    const queue = this.#queues.get(client)
    if (queue === undefined) return
    const changes = queue.remove(entry)
    if (queue.size === 0) this.#forget(queue)
    if (changes.length > 0) this.#options.writer.later(changes)
  }

  /** Lets the queue of a session that is away leave memory. */
  settle (client: string): void {
    if (this.awake.has(client)) return
    const streaming = this.#streaming.get(client)
    // While a connection takes another one's place Aedes knows neither.
    if (!this.#options.isOnline(client) && (streaming === undefined || streaming.closed === true)) this.#queues.get(client)?.chill()
  }

  /** The client's connection ended. */
  left (client: ClientLike): void {
    this.#gates.open(client)
    if (this.#streaming.get(client.id) === client) this.#streaming.delete(client.id)
    this.settle(client.id)
  }

  /** Too much waits for a client: what comes from here on is left to the stream that is to follow. False while one goes on. */
  fallBehind (client: ClientLike): boolean { return this.#gates.fallBehind(client) }

  #forget (queue: OutgoingQueue): void {
    this.#queues.delete(queue.client)
    this.#firstSeq = Math.max(this.#firstSeq, queue.next)
  }

  /**
   * True for a live packet that is not to be sent: the stream of stored messages sends it or did so, or it is acknowledged.
   *
   * @param staged what `stage` queued for it; without it, the packet is looked for by its counters
   */
  isLeftToStream (client: ClientLike, packet: PacketLike, staged: Entry | undefined): boolean {
    // Packets of the stream have their packet ids.
    if (client.clean !== false || packet.qos === 0 || packet.messageId !== undefined) return false
    const queue = this.#queues.get(client.id)
    const seq = (staged ?? queue?.find(packet))?.seq
    if (seq === undefined) return false
    if (this.#gates.leavesToStream(client, seq)) return true
    const entry = queue?.get(seq)
    return entry === undefined || entry.released || entry.sentOn === this.#connectionOf(client)
  }

  /** The session ended: nothing is sent to it any more. */
  drop (client: string): RecordChange[] {
    const queue = this.#queues.get(client)
    if (queue === undefined) return []
    const changes = queue.clear()
    this.#forget(queue)
    return changes
  }

  /**
   * Aedes is about to send `packet` (or its PUBREL): its packet id is remembered. QoS 2 state is on disk when this resolves, so that a crash cannot make two
   * messages of one [MQTT-4.3.3-1]. Never rejects for an unknown message: Aedes sends some (retained ones, those that overflowed) that are not in the queue,
   * and would close the connection. The queue of a client that is gone may have left memory, and with it which packet ids are taken.
   */
  async update (client: ClientLike, packet: PacketLike): Promise<void> {
    if (client.closed === true) return
    const queue = this.#queues.get(client.id)
    if (packet.cmd === 'pubrel') return await this.#pubrel(client, packet)
    const entry = queue?.find(packet)
    if (queue === undefined || entry === undefined || entry.released) {
      if (queue !== undefined) packet.messageId = queue.freeId(packet.messageId, client.conn?.inFlight)
      this.#gates.passed(client, entry)
      return
    }
    await this.#send(client, queue, entry, packet)
    this.#gates.passed(client, entry)
  }

  async #send (client: ClientLike, queue: OutgoingQueue, entry: Entry, packet: PacketLike): Promise<void> {
    const { writer } = this.#options
    const connection = this.#connectionOf(client)
    await this.#gates.wait(client, entry.seq)
    const known = entry.messageId !== undefined && entry.sentOn !== undefined
    packet.messageId = queue.identify(entry, packet.messageId, client.conn?.inFlight)
    // As it was queued, and as it would come again, whatever is subscribed to by now. Aedes is given it without the flag, as it keeps no account of what has that.
    if (entry.body !== undefined) packet.qos = entry.qos
    if (entry.body?.retain === true) packet.retain = true
    const identifiers = entry.body?.properties?.['subscriptionIdentifier']
    if (identifiers !== undefined) packet.properties = { ...packet.properties, subscriptionIdentifier: identifiers }
    entry.sentOn = connection
    if (known || queue.get(entry.seq) === undefined) return
    if (entry.qos === 2) await writer.write([queue.stateChange(entry)])
    else writer.later([queue.stateChange(entry)])
  }

  async #pubrel (client: ClientLike, packet: PacketLike): Promise<void> {
    const [id, { writer }] = [packet.messageId as number, this.#options]
    let queue = this.#queues.get(client.id)
    const entry = queue?.byId(id)
    if (queue !== undefined && entry !== undefined) {
      // PUBREL comes in the order of PUBREC [MQTT-4.6.0-4].
      await (entry.released ? writer.flush() : writer.write(queue.release(entry)))
      this.#gates.passed(client, entry)
      return
    }
    // At the limit the handshake goes on without memory of it.
    if (this.size(client.id) >= this.#options.max) return
    if (queue === undefined) this.#queues.set(client.id, queue = this.#newQueue(client.id))
    await writer.write(queue.adopt(id))
  }

  /** PUBACK, PUBCOMP, or Aedes dropped a message. Resolves to what is known of it. */
  async acknowledge (client: ClientLike, packet: PacketLike): Promise<object | undefined> {
    const queue = this.#queues.get(client.id)
    if (queue === undefined) return undefined
    let entry: Entry | undefined
    if (packet.messageId !== undefined) entry = queue.byId(packet.messageId)
    else if (this.#streamed.has(packet) || (packet.nl === true && packet.clientId === client.id)) entry = queue.find(packet)
    // Without a packet id it is the second match of overlapping subscriptions (the first one is under way), or
    // authorizeForward denied it, which will do so again when the queue is streamed.
    if (entry === undefined) return undefined
    const found = this.#packetOf(entry, client)
    this.remove(client.id, entry)
    return found
  }

  /** What the client has not acknowledged, in order, with DUP where it was sent before [MQTT-3.3.1-1], [MQTT-4.4.0-1]. `again`: what was not sent on this connection. */
  async * stream (client: ClientLike, again = false): AsyncGenerator<object> {
    const { writer } = this.#options
    let [complete, end] = [false, 0]
    try {
      // Everything of the session was dropped at CONNECT; what is queued since then is live.
      if (client._cleanStart === true && !again) return
      if (client.closed !== true) this.#streaming.set(client.id, client)
      await writer.flush()
      if (!await this.warm(client.id)) return
      this.#gates.shut(client)
      let done = 0
      for (;;) {
        const queue = this.#queues.get(client.id)
        // What was queued while the stream went on is its, too: a client in its own pace would have it all in memory otherwise.
        const more = queue?.after(done, pageEntries)
        end = queue?.next ?? this.#firstSeq
        if (queue === undefined || more === undefined) break
        const { entries, unwritten } = more
        // What is not on disk may still be taken back.
        if (unwritten) await writer.flush()
        for (let i = 0; i < entries.length; i += pageEntries) yield * this.#page(client, queue, entries.slice(i, i + pageEntries), again)
        done = (entries.at(-1) as Entry).seq
      }
      complete = true
    } finally {
      if (complete) this.#gates.ended(client, end)
      else this.#gates.open(client)
    }
  }

  /** Brings into memory which packet ids a queue has; false when there is none. */
  async warm (client: string): Promise<boolean> {
    return await wakeQueue(this.#options.records, client, () => this.#queues.get(client))
  }

  async * #page (client: ClientLike, queue: OutgoingQueue, page: Entry[], again: boolean): AsyncGenerator<object> {
    const bodies = await readWritten(this.#options, queue, page)
    const states: RecordChange[] = []
    const connection = this.#connectionOf(client)
    const send = chosen(queue, page, bodies, states, { connection: again ? connection : undefined, inUse: client.conn?.inFlight, remove: entry => { this.remove(client.id, entry) } })
    if (states.length > 0) await this.#options.writer.write(states)
    for (const [entry, body] of send) {
      await client.conn?.room?.()
      if (queue.get(entry.seq) !== entry) continue
      const packet = this.#packetOf(entry, client, body)
      if (states.length > 0 && entry.qos === 2) entry.sentOn ??= connection
      // A PUBREL is in nobody's way.
      if (!entry.released) this.#gates.expect(client, entry)
      this.#streamed.add(packet)
      yield packet
    }
  }

  #newQueue (client: string): OutgoingQueue { return new OutgoingQueue(client, this.#bodies, this.#options.minPacketId, this.#firstSeq) }

  #packetOf (entry: Entry, client: ClientLike, body = entry.body): object { return packetOf(entry, this.#connectionOf(client), body) }

  #connectionOf (client: ClientLike): number {
    let connection = this.#connections.get(client)
    if (connection === undefined) this.#connections.set(client, connection = ++this.#lastConnection)
    return connection
  }
}
