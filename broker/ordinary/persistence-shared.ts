/** The queues of groups of shared subscriptions: each is that of a session that is never connected. What is dealt to a kept member moves into the member's own. */
import { decodeReference } from './persistence-bodies.ts'
import { readBodies, readStates } from './persistence-loading.ts'
import type { OutgoingQueues } from './persistence-outgoing.ts'
import { decode, type Body, type PacketLike } from './persistence-packets.ts'
import type { Entry } from './persistence-entry.ts'
import { bodyKey, bounds, splitKey, type BatchWriter, type RecordChange, type RecordsLike } from './persistence-records.ts'
import type { SubscriptionLike, Subscriptions } from './persistence-subscriptions.ts'
import { isShared, type Share } from './shared-filter.ts'

export interface SharedParts { records: RecordsLike, writer: BatchWriter, outgoing: OutgoingQueues, subscriptions: Subscriptions }

/** How a member is to get a message. */
export interface Dealt { session: string, qos: 1 | 2, rap: boolean, identifier: number | undefined }

export class SharedQueues {
  readonly #parts: SharedParts
  /** Names for moved messages, by which Aedes' packets are found. */
  #moved = 0

  constructor (parts: SharedParts) { this.#parts = parts }

  /** At the start: the members of all groups. */
  * members (): Generator<[session: string, subscription: SubscriptionLike]> {
    const { subscriptions } = this.#parts
    for (const session of subscriptions.clients()) for (const one of subscriptions.of(session)) if (isShared(one.topic)) yield [session, one]
  }

  /** Queues what matches from now on; at QoS 0 nothing. `awake`: there is somebody to deal it to, or it leaves memory. */
  open ({ key, filter }: Share, qos: 0 | 1 | 2, awake: boolean): void {
    const { outgoing, subscriptions } = this.#parts
    subscriptions.open(key, { topic: filter, qos, rap: true })
    if (awake) outgoing.awake.add(key)
    else if (outgoing.awake.delete(key)) outgoing.settle(key)
  }

  /** The group is over, and what waited for it with it. */
  close ({ key, filter }: Share): void {
    const { outgoing, subscriptions, writer } = this.#parts
    outgoing.awake.delete(key)
    subscriptions.shut(key, filter)
    const changes = outgoing.drop(key)
    if (changes.length > 0) writer.later(changes)
  }

  /** Queues of groups that nobody is in, as after a crash. */
  clear (open: ReadonlySet<string>): void {
    const { outgoing, writer } = this.#parts
    for (const client of [...outgoing.clients()]) if (isShared(client) && !open.has(client)) writer.later(outgoing.drop(client))
  }

  /** True when the group's queue took the packet, at the QoS that the group had then. */
  took (key: string, packet: PacketLike): boolean { return this.#parts.outgoing.taken.has(key, packet) }
  size (key: string): number { return this.#parts.outgoing.size(key) }

  /** How many messages the queue has lost to its bounds. */
  lost (key: string): number { return this.#parts.outgoing.queue(key)?.lost ?? 0 }

  /** The oldest messages of a group that `skip` does not leave out. */
  async next (key: string, limit: number, skip: (seq: number) => boolean): Promise<Array<[Entry, Body]>> {
    const { records, writer, outgoing } = this.#parts
    // What is not on disk may still be taken back.
    await writer.flush()
    await outgoing.warm(key)
    const queue = outgoing.queue(key)
    if (queue === undefined) return []
    const page: Entry[] = []
    for (const entry of queue.inOrder(limit)) {
      if (page.length >= limit) break
      if (!skip(entry.seq)) page.push(entry)
    }
    await writer.flush()
    const bodies = await readBodies(records, queue, page)
    const found: Array<[Entry, Body]> = []
    for (const entry of page) {
      const body = entry.body ?? bodies.get(entry.seq)
      if (queue.get(entry.seq) !== entry) continue
      // Without one it was moved while the queue left memory.
      if (body === undefined) outgoing.remove(key, entry)
      else found.push([entry, body])
    }
    if (found.length === 0 && page.length > 0) return await this.next(key, limit, skip)
    return found
  }

  /** A message of the group is with its member to the end, or expired. */
  remove (key: string, entry: Entry): void { this.#parts.outgoing.remove(key, entry) }

  /** Moves a message into a member's queue; resolves, on disk, to its packet. Rejects when it was not moved. */
  async move (key: string, entry: Entry, body: Body, { session, qos, rap, identifier }: Dealt): Promise<PacketLike> {
    const { outgoing, writer } = this.#parts
    // A view of its own: by its payload it would be taken for the copy that the session has by a filter of its own.
    const payload = typeof body.payload === 'string' ? body.payload : Buffer.from(body.payload.buffer, body.payload.byteOffset, body.payload.length)
    const packet: PacketLike = { ...body, payload, cmd: 'publish', qos, brokerId: 'shared', brokerCounter: ++this.#moved }
    const staged = outgoing.stage([{ clientId: session, qos, rap, ...identifier !== undefined && { subscriptionIdentifier: identifier } }], packet, undefined, key)
    try {
      await writer.write([...staged.changes, { key: bodyKey(key, entry.seq), value: null }])
    } catch (error) {
      staged.undo()
      throw error
    }
    outgoing.remove(key, entry)
    for (const own of staged.entries.values()) outgoing.bind(session, own, packet)
    return packet
  }

  /**
   * Moves what a session that is over was dealt back to its groups, and resolves to those: at QoS 1 what it has not acknowledged, at QoS 2 what
   * it was not sent [MQTT-4.8.2-5].
   */
  async giveBack (session: string): Promise<Set<string>> {
    const { records, writer, outgoing, subscriptions } = this.#parts
    const groups = new Set<string>()
    if (outgoing.size(session) === 0) return groups
    await writer.flush()
    const states = await readStates(records, session)
    const changes: RecordChange[] = []
    for await (const [rowKey, value] of records.range(...bounds('q', session))) {
      if (decodeReference(value) !== undefined) continue
      const { body, extra } = decode(value)
      const key = extra['share']
      const state = states.get(Number(splitKey(rowKey).rest))
      if (typeof key !== 'string' || !subscriptions.isOpen(key) || state?.rel === 1 || (body.qos === 2 && state !== undefined)) continue
      const { subscriptionIdentifier: _, ...properties } = body.properties ?? {}
      const packet: PacketLike = { ...body, ...Object.keys(properties).length > 0 ? { properties } : { properties: {} } }
      changes.push(...outgoing.stage([{ clientId: key, qos: body.qos, rap: true }], packet).changes, { key: rowKey, value: null })
      groups.add(key)
    }
    if (changes.length > 0) await writer.write(changes)
    return groups
  }
}
