/** What a publish leaves behind: a retained message and queue entries, on disk before it is acknowledged. */
import type { Entry } from './persistence-entry.ts'
import type { BatchWriter, RecordChange } from './persistence-records.ts'
import type { PacketLike } from './persistence-packets.ts'
import type { RetainedMessages } from './persistence-retained.ts'
import type { OutgoingQueues, StagedEntries } from './persistence-outgoing.ts'
import type { Recipient } from './persistence-recipients.ts'
import type { Subscriptions } from './persistence-subscriptions.ts'
import type { ClientLike } from './persistence-gates.ts'
import { isShared } from './shared-filter.ts'

interface Prepared { readonly publisher: string, staged: StagedEntries | undefined, used: boolean }

export interface PublishingParts {
  writer: BatchWriter
  retained: RetainedMessages
  outgoing: OutgoingQueues
  subscriptions: Subscriptions
  /** There was no room for a retained message. */
  onRetainedDrop: (topic: string) => void
}

export class Publishing {
  readonly #parts: PublishingParts
  /** By payload: the one part of a packet that Aedes hands on as it is. */
  readonly #prepared = new WeakMap<Buffer, Prepared>()
  /** How many writes of a client's publishes are under way: its later ones may not be answered before them. */
  readonly #underWay = new WeakMap<object, number>()
  /** Names for retained messages in queues, by which Aedes' packets are found. */
  #resent = 0

  constructor (parts: PublishingParts) { this.#parts = parts }

  /** Writes what the publish leaves behind together with `changes`; `undefined`: nothing to wait for. Rejects when nothing of it was kept. */
  commit (client: ClientLike, packet: PacketLike, changes: RecordChange[]): Promise<void> | undefined {
    const { subscriptions, outgoing } = this.#parts
    const retained = packet.retain ? this.#stageRetained(packet) : undefined
    const recipients = subscriptions.match(packet.topic)
    const staged = recipients.length > 0 ? outgoing.stage(recipients, packet, client.id) : undefined
    if (retained !== undefined) changes.push(...retained.changes)
    if (staged !== undefined) changes.push(...staged.changes)
    // A view of its own, so that no other packet can share it.
    const payload = typeof packet.payload === 'string' ? Buffer.from(packet.payload) : Buffer.from(packet.payload.buffer, packet.payload.byteOffset, packet.payload.length)
    packet.payload = payload
    // At once: a group may deal it, or be at QoS 0, before Aedes asks.
    for (const client of staged?.entries.keys() ?? []) outgoing.taken.note(client, packet)
    const prepared: Prepared = { publisher: client.id, staged, used: false }
    this.#prepared.set(payload, prepared)
    const busy = this.#underWay.get(client) ?? 0
    if (changes.length === 0 && busy === 0) return undefined
    this.#underWay.set(client, busy + 1)
    return this.#written(client, changes, () => { retained?.written() }, () => {
      this.#prepared.delete(payload)
      retained?.undo()
      staged?.undo()
    })
  }

  async #written (client: ClientLike, changes: RecordChange[], written: () => void, undo: () => void): Promise<void> {
    try {
      await this.#parts.writer.write(changes)
      written()
    } catch (error) {
      undo()
      throw error
    } finally {
      this.#underWay.set(client, (this.#underWay.get(client) ?? 1) - 1)
    }
  }

  #stageRetained (packet: PacketLike): ReturnType<RetainedMessages['stage']> {
    const staged = this.#parts.retained.stage(packet)
    if (staged === undefined) this.#parts.onRetainedDrop(packet.topic)
    return staged
  }

  #preparedOf (packet: PacketLike): Prepared | undefined {
    return typeof packet.payload === 'string' ? undefined : this.#prepared.get(packet.payload)
  }

  /** The entry that was queued for the client when the packet was committed. */
  entryOf (packet: PacketLike, client: string): ReturnType<StagedEntries['entries']['get']> {
    return this.#preparedOf(packet)?.staged?.entries.get(client)
  }

  /** Queues a retained message that a kept session is about to be sent: what it does not acknowledge comes again [MQTT-4.4.0-1]. */
  resend (client: string, packet: PacketLike): void {
    const { outgoing, writer } = this.#parts
    Object.assign(packet, { brokerId: 'retained', brokerCounter: ++this.#resent })
    const staged = outgoing.stage([{ clientId: client, qos: packet.qos, rap: true }], packet)
    for (const entry of staged.entries.values()) outgoing.bind(client, entry, packet)
    writer.later(staged.changes)
    // Aedes keeps no account of what has it set: the queue's entry gives it back.
    packet.retain = false
  }

  /** Keeps a retained message that was not committed before. */
  retain (packet: PacketLike): void {
    if (this.#preparedOf(packet) !== undefined) return
    const staged = this.#stageRetained(packet)
    if (staged !== undefined && staged.changes.length > 0) this.#parts.writer.later(staged.changes, packet.qos > 0, staged.written)
  }

  #goOn (client: string, entry: Entry, packet: PacketLike, isWanted: boolean): void {
    const { outgoing } = this.#parts
    if (isWanted) outgoing.bind(client, entry, packet)
    // What a group took it deals, whatever its members ask for by now.
    else if (!isShared(client)) outgoing.remove(client, entry)
  }

  /** Aedes queues the packet: what was committed is bound to it, and queued for those who subscribed since. */
  enqueue (recipients: Recipient[], packet: PacketLike): void {
    const { outgoing, subscriptions, writer } = this.#parts
    const prepared = this.#preparedOf(packet)
    let missing: Recipient[] = recipients
    if (prepared !== undefined && !prepared.used) {
      prepared.used = true
      const known = prepared.staged?.entries ?? new Map<string, never>()
      const isOwn = ({ clientId, nl }: Recipient): boolean => nl === true && clientId === prepared.publisher
      // Who has asked for No Local meanwhile is not sent it: it would come with his next connection.
      const current = new Set(recipients.filter(one => !isOwn(one)).map(({ clientId }) => clientId))
      for (const [client, entry] of known) this.#goOn(client, entry, packet, current.has(client))
      // Those who subscribed since.
      missing = recipients.filter(one => !known.has(one.clientId) && !isOwn(one))
    }
    if (missing.length === 0) return
    // Their subscriptions at QoS 0, too, which Aedes does not ask for: the message has the identifiers of all [MQTT-3.3.4-4].
    if (prepared !== undefined) missing = subscriptions.match(packet.topic).filter(({ clientId }) => missing.some(one => one.clientId === clientId))
    const staged = outgoing.stage(missing, packet, prepared?.publisher)
    if (prepared !== undefined) {
      if (prepared.staged === undefined) prepared.staged = staged
      else for (const [client, entry] of staged.entries) prepared.staged.entries.set(client, entry)
    }
    for (const [client, entry] of staged.entries) outgoing.bind(client, entry, packet)
    if (staged.changes.length > 0) writer.later(staged.changes, true)
  }
}
