/** Publishers with a window, and receivers that check what arrives. */
import type { Connection } from './connection.ts'
import * as wire from './wire.ts'
import { StampReader, template, writeCounter } from './body.ts'
import type { BodyKind } from './body.ts'

export interface Stream {
  /** Published to in turn; of equal length, and as many as divide the window. */
  topics: readonly string[]
  /** The first topic's number in the body, counting up; receivers check the order in each. */
  stream: number
  body: BodyKind
  payloadBytes: number
  /** Most messages published and not yet acknowledged. */
  window: number
}

/**
 * Publishes over a connection. The packets of a window are encoded once and lie next to each other; a
 * message is the packet of its slot with packet id and counter patched. A slot is free again when its PUBACK is in.
 */
export class Publisher {
  readonly connection: Connection
  readonly window: number
  published = 0
  acked = 0
  /** PUBACKs that were not the next expected one: [MQTT-4.6.0-2] asks for the order of the PUBLISH packets. */
  misorderedAcks = 0
  /** First unexpected PUBLISH to this connection, as text (a notice of refusal). */
  surprise: string | undefined
  #ring: Buffer
  #packetBytes: number
  #idOffset: number
  #counterOffsets: number[]
  #topics: number

  constructor (connection: Connection, stream: Stream) {
    this.connection = connection
    this.window = stream.window
    this.#topics = stream.topics.length
    const packets = stream.topics.map((topic, index) => {
      return wire.publish(topic, template(stream.body, stream.stream + index, stream.payloadBytes).payload, 1, connection.protocol)
    })
    const { counterOffsets } = template(stream.body, stream.stream, stream.payloadBytes)
    this.#packetBytes = (packets[0] as Buffer).length
    if (stream.window % this.#topics !== 0 || packets.some(packet => packet.length !== this.#packetBytes)) {
      throw new RangeError('topics must be of equal length and their number must divide the window')
    }
    const payloadAt = this.#packetBytes - stream.payloadBytes
    // In MQTT 5 the length of the properties is between the two.
    this.#idOffset = payloadAt - (connection.protocol === undefined ? 2 : 3)
    this.#counterOffsets = counterOffsets.map(offset => payloadAt + offset)
    this.#ring = Buffer.concat(Array.from({ length: stream.window }, (_, slot) => packets[slot % this.#topics] as Buffer))
    connection.onPuback = packetId => { this.#acknowledge(packetId) }
    connection.onPublish = (buffer, start, end) => { this.surprise ??= buffer.toString('utf8', start, Math.min(end, start + 300)) }
  }

  /** Messages that fit in the window now. */
  get room (): number { return this.window - (this.published - this.acked) }

  /** Publishes `count` messages, at most `room`, in one or two writes. */
  send (count: number): void {
    let left = Math.min(count, this.room)
    while (left > 0) {
      const first = this.published % this.window
      const run = Math.min(left, this.window - first)
      for (let slot = first; slot < first + run; slot++) this.#patch(slot * this.#packetBytes, ++this.published)
      this.connection.write(this.#ring.subarray(first * this.#packetBytes, (first + run) * this.#packetBytes))
      left -= run
    }
  }

  #patch (at: number, message: number): void {
    const id = (message - 1) % 65535 + 1
    const counter = Math.floor((message - 1) / this.#topics) + 1
    this.#ring[at + this.#idOffset] = id >> 8
    this.#ring[at + this.#idOffset + 1] = id & 255
    for (const offset of this.#counterOffsets) writeCounter(this.#ring, at + offset, counter)
  }

  #acknowledge (packetId: number): void {
    if (packetId !== this.acked % 65535 + 1) this.misorderedAcks++
    this.acked++
  }
}

/** Checks that the messages of each stream arrive once and in order. */
export class Receiver {
  readonly connection: Connection
  received = 0
  duplicates = 0
  /** Messages that were overtaken or lost. */
  missing = 0
  unreadable = 0
  readonly stamp = new StampReader()
  /** Called for each message in order, with `stamp` read. */
  onMessage: (() => void) | undefined
  #systemMark: string | undefined
  #streams = new Map<number, number>()
  #stream = -1
  #last = 0

  /** Messages that have `systemMark` in them are the server's own and are not counted. */
  constructor (connection: Connection, systemMark?: string) {
    this.connection = connection
    this.#systemMark = systemMark
    connection.onPublish = (buffer, start, end) => { this.#take(buffer, start, end) }
  }

  #take (buffer: Buffer, start: number, end: number): void {
    const { stamp } = this
    if (!stamp.read(buffer, start, end)) {
      if (this.#systemMark === undefined || !buffer.toString('utf8', start, end).includes(this.#systemMark)) this.unreadable++
      return
    }
    if (stamp.stream !== this.#stream) {
      if (this.#stream >= 0) this.#streams.set(this.#stream, this.#last)
      this.#stream = stamp.stream
      this.#last = this.#streams.get(stamp.stream) ?? 0
    }
    if (stamp.counter <= this.#last) { this.duplicates++; return }
    this.missing += stamp.counter - this.#last - 1
    this.#last = stamp.counter
    this.received++
    this.onMessage?.()
  }
}

/** What is wrong with the results of `publishers` and `receivers`; `undefined` when nothing is. */
export function faults (publishers: readonly Publisher[], receivers: readonly Receiver[]): string | undefined {
  const sum = <T>(items: readonly T[], of: (item: T) => number) => items.reduce((total, item) => total + of(item), 0)
  const found = [
    [sum(receivers, r => r.duplicates), 'received twice or out of order'],
    [sum(receivers, r => r.missing), 'missing or overtaken'],
    [sum(receivers, r => r.unreadable), 'unreadable'],
    [sum(publishers, p => p.published - p.acked), 'not acknowledged'],
    [sum(publishers, p => p.misorderedAcks), 'acknowledged out of order']
  ] as const
  const texts = found.filter(([count]) => count !== 0).map(([count, what]) => `${count} ${what}`)
  const surprise = publishers.find(p => p.surprise !== undefined)?.surprise
  if (surprise !== undefined) texts.push(`a publisher got: ${surprise}`)
  return texts.length > 0 ? texts.join(', ') : undefined
}
