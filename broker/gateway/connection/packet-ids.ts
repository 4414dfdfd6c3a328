import { randomInt } from 'node:crypto'

/** Packet ids of the chat side; the upper half of the range belongs to ordinary topics (MQTT-2.3.1). */
export const maxChatPacketId = 0x7fff
/** The largest window: with half of the ids free, none that is in use comes up again. */
export const maxWindow = 0x3fff
const freed = -1

/** A PUBLISH at QoS 1 that was sent: its packet id, and which entry of which stream it carried. */
export interface SentPacket { packetId: number, stream: string, seq: number }

function idAfter (packetId: number): number { return packetId >= maxChatPacketId ? 1 : packetId + 1 }

/**
 * The first packet id of a connection with a window of `window` that sends again what an earlier one has left: `resumed`, oldest first. Not the next one: that
 * and those behind it the earlier connection may have used for what is not sent again on this one, and a PUBACK that its client kept would acknowledge what
 * has it here. Half of what is free lies between.
 */
export function firstIdBehind (resumed: readonly SentPacket[], window: number): number | undefined {
  const [oldest, newest] = [resumed[0], resumed.at(-1)]
  if (oldest === undefined || newest === undefined) return undefined
  const span = (newest.packetId - oldest.packetId + maxChatPacketId) % maxChatPacketId + 1
  const gap = Math.max(0, Math.floor((maxChatPacketId - span - window) / 2))
  return (newest.packetId + gap) % maxChatPacketId + 1
}

/** The packet ids of the QoS 1 packets that were sent to a client and not acknowledged, in the order of sending. */
export class PacketIds {
  readonly #capacity: number
  /** `freed` for one that was acknowledged. */
  #ids: number[] = []
  #streams: string[] = []
  #seqs: number[] = []
  /** What had been answered to the client when the packet was written. */
  #answered: number[] = []
  #first = 0
  #count = 0
  /**
   * Not 1: client libraries keep a PUBACK that they could not send any more and send it on the next connection, where it would
   * acknowledge what has the same packet id there and was never received.
   */
  #nextId: number

  /** `firstId`: the first packet id, by default any. Behind those that are to be sent again it has to be. */
  constructor (capacity: number, firstId = randomInt(1, maxChatPacketId + 1)) {
    this.#capacity = capacity
    this.#nextId = firstId
  }

  get count (): number { return this.#count }

  /** Adds a packet, written behind the answer with the number `answered`; `packetId` is given for one that is sent again [MQTT-4.4.0-1]. Returns its packet id. */
  add (stream: string, seq: number, answered: number, packetId = this.#nextId): number {
    // Ids grow, and the oldest unacknowledged one stops the ring: none is in use twice while capacity < maxChatPacketId.
    if (packetId === this.#nextId) this.#nextId = idAfter(packetId)
    const at = (this.#first + this.#count) % this.#capacity
    this.#ids[at] = packetId
    this.#streams[at] = stream
    this.#seqs[at] = seq
    this.#answered[at] = answered
    this.#count++
    return packetId
  }

  /** How many ids ago one that is in use was given: the oldest has the most. */
  age (packetId: number): number { return (this.#nextId - packetId + maxChatPacketId) % maxChatPacketId }

  /** Where the packet is, for the methods below; -1 when nothing has this packet id: it may answer an earlier connection's packet. */
  find (packetId: number): number {
    for (let offset = 0; offset < this.#count; offset++) {
      const at = (this.#first + offset) % this.#capacity
      if (this.#ids[at] === packetId) return at
    }
    return -1
  }

  streamAt (at: number): string { return this.#streams[at] as string }
  seqAt (at: number): number { return this.#seqs[at] as number }
  answeredAt (at: number): number { return this.#answered[at] as number }

  /** The packet was acknowledged. */
  free (at: number): void {
    this.#ids[at] = freed
    while (this.#count > 0 && this.#ids[this.#first] === freed) {
      this.#first = (this.#first + 1) % this.#capacity
      this.#count--
    }
  }

  /** What is not acknowledged, oldest first. */
  list (): SentPacket[] {
    const open = []
    for (let offset = 0; offset < this.#count; offset++) {
      const at = (this.#first + offset) % this.#capacity
      const packetId = this.#ids[at] as number
      if (packetId !== freed) open.push({ packetId, stream: this.#streams[at] as string, seq: this.#seqs[at] as number })
    }
    return open
  }
}
