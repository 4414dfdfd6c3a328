/** Retained messages: in memory for look-ups, a row per topic, bounded in number and bytes. */
import { bounds, retainedKey } from './persistence-records.ts'
import type { RecordChange, RecordsLike } from './persistence-records.ts'
import { bodyOf, decode, encode, isExpired } from './persistence-packets.ts'
import type { Body, PacketLike } from './persistence-packets.ts'
import { TopicTree } from './persistence-trie.ts'

interface Row { topic: string, packet: PacketLike, bytes: number }

/** A change that is visible at once and can be taken back while nothing newer replaced it. */
export interface StagedRetained { changes: RecordChange[], undo: () => void }

export class RetainedMessages {
  readonly #tree = new TopicTree<Row>()
  readonly #maxTopics: number
  readonly #maxBytes: number
  #bytes = 0

  constructor (maxTopics: number, maxBytes: number) {
    this.#maxTopics = maxTopics
    this.#maxBytes = maxBytes
  }

  get size (): number { return this.#tree.size }
  /** Topic and payload bytes of all retained messages. */
  get bytes (): number { return this.#bytes }

  async load (records: RecordsLike): Promise<void> {
    for await (const [, value] of records.range(...bounds('r'))) {
      const { body } = decode(value)
      if (!isExpired(body)) this.#put({ ...body, cmd: 'publish' })
    }
  }

  /**
   * Replaces, adds or (empty payload) removes [MQTT-3.3.1-10]. `undefined` when a limit refuses it: a new topic over either
   * limit, or a larger message for a known topic over the byte limit.
   */
  stage (packet: PacketLike): StagedRetained | undefined {
    const before = this.#tree.get(packet.topic)
    const key = retainedKey(packet.topic)
    if (packet.payload.length === 0) {
      if (before === undefined) return { changes: [], undo: () => {} }
      this.#remove(before)
      return { changes: [{ key, value: null }], undo: () => { if (this.#tree.get(packet.topic) === undefined) this.#put(before.packet) } }
    }
    const body = bodyOf(packet)
    const growth = sizeOf(packet) - (before?.bytes ?? 0)
    if (before === undefined && this.#tree.size >= this.#maxTopics) return undefined
    if (growth > 0 && this.#bytes + growth > this.#maxBytes) return undefined
    const copy = { ...packet }
    if (body.messageExpiry !== undefined) copy.messageExpiry = body.messageExpiry
    const row = this.#put(copy)
    return {
      changes: [{ key, value: encode(body) }],
      undo: () => {
        if (this.#tree.get(packet.topic) !== row) return
        if (before === undefined) this.#remove(row)
        else this.#put(before.packet)
      }
    }
  }

  /** Unexpired messages that match `filter`; `onExpired` gets the topics of the others. */
  * match (filter: string, onExpired: (topic: string) => void): Generator<PacketLike> {
    const now = Date.now()
    const expired: Row[] = []
    for (const row of this.#tree.match(filter)) {
      if (isExpired(row.packet, now)) expired.push(row)
      else yield row.packet
    }
    for (const row of expired) {
      if (this.#tree.get(row.topic) !== row) continue
      this.#remove(row)
      onExpired(row.topic)
    }
  }

  #put (packet: PacketLike | Body & { cmd: string }): Row {
    const before = this.#tree.get(packet.topic)
    const row = { topic: packet.topic, packet, bytes: sizeOf(packet) }
    this.#bytes += row.bytes - (before?.bytes ?? 0)
    this.#tree.set(packet.topic, row)
    return row
  }

  #remove (row: Row): void {
    this.#bytes -= row.bytes
    this.#tree.delete(row.topic)
  }
}

function sizeOf (packet: Body | PacketLike): number {
  return Buffer.byteLength(packet.topic) + Buffer.byteLength(packet.payload)
}
