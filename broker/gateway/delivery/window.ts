import { randomInt } from 'node:crypto'
import type { Stream } from './stream.ts'

/** Packet ids of the chat side; the upper half of the range belongs to ordinary topics (MQTT-2.3.1). */
export const maxChatPacketId = 0x7fff
/** The largest window: with half of the ids free, none that is in use comes up again. */
export const maxWindow = 0x3fff

/**
 * The QoS 1 packets that were sent to a session and not acknowledged, in the order of sending. A cursor follows the oldest of
 * them, so an acknowledgement out of order moves no cursor past a message that may be lost.
 */
export class Window {
  readonly capacity: number
  #packetIds: number[] = []
  #streams: Array<Stream | undefined> = []
  #seqs: number[] = []
  #acked: boolean[] = []
  /** What had been answered to the client when the packet was written. */
  #answered: number[] = []
  #first = 0
  #count = 0
  /**
   * Not 1: client libraries keep a PUBACK that they could not send any more and send it on the next connection, where it would
   * acknowledge what has the same packet id there and was never received.
   */
  #nextId: number

  /** `firstId`: the first packet id, by default any. */
  constructor (capacity: number, firstId = randomInt(1, maxChatPacketId + 1)) {
    this.capacity = capacity
    this.#nextId = firstId
  }

  get count (): number { return this.#count }
  get free (): number { return this.capacity - this.#count }

  /** Adds a packet, written behind the answer with the number `answered`; `packetId` is given for one that is sent again [MQTT-4.4.0-1]. Returns its packet id. */
  add (stream: Stream, seq: number, answered: number, packetId = this.#nextId): number {
    // Ids grow, and the oldest unacknowledged one stops the ring: none is in use twice while capacity < maxChatPacketId.
    this.#nextId = packetId >= maxChatPacketId ? 1 : packetId + 1
    const at = (this.#first + this.#count) % this.capacity
    this.#packetIds[at] = packetId
    this.#streams[at] = stream
    this.#seqs[at] = seq
    this.#acked[at] = false
    this.#answered[at] = answered
    this.#count++
    stream.inflight++
    return packetId
  }

  /**
   * The client acknowledged `packetId`; `settled` is called for each packet that no older one waits before.
   * Returns the packet's `answered`, -1 when there is no such packet.
   */
  acknowledge (packetId: number, settled: (stream: Stream, seq: number) => void): number {
    let offset = 0
    while (offset < this.#count) {
      const at = (this.#first + offset) % this.capacity
      if (this.#packetIds[at] === packetId && this.#acked[at] === false) break
      offset++
    }
    if (offset === this.#count) return -1
    const answered = this.#answered[(this.#first + offset) % this.capacity] as number
    this.#acked[(this.#first + offset) % this.capacity] = true
    while (this.#count > 0 && this.#acked[this.#first] === true) {
      const stream = this.#streams[this.#first] as Stream
      const seq = this.#seqs[this.#first] as number
      this.#streams[this.#first] = undefined
      this.#first = (this.#first + 1) % this.capacity
      this.#count--
      stream.inflight--
      settled(stream, seq)
    }
    return answered
  }

  /** The packets of an earlier stream of the same log belong to `stream` from now on. */
  adopt (stream: Stream): void {
    for (let offset = 0; offset < this.#count; offset++) {
      const at = (this.#first + offset) % this.capacity
      if (this.#streams[at]?.id !== stream.id) continue
      this.#streams[at] = stream
      stream.inflight++
      stream.sentTo = Math.max(stream.sentTo, this.#seqs[at] as number)
    }
  }

  /** What is not acknowledged, oldest first. */
  list (): Array<{ packetId: number, stream: string, seq: number }> {
    const open = []
    for (let offset = 0; offset < this.#count; offset++) {
      const at = (this.#first + offset) % this.capacity
      if (this.#acked[at] === true) continue
      open.push({ packetId: this.#packetIds[at] as number, stream: (this.#streams[at] as Stream).id, seq: this.#seqs[at] as number })
    }
    return open
  }
}
