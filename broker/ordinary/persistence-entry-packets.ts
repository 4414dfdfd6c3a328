import type { Body, PacketLike } from './persistence-packets.ts'
import { storedBroker } from './persistence-queue.ts'
import type { Entry } from './persistence-queue.ts'

/** The packet of an entry for Aedes to send, on the connection with this number; its PUBREL when the message was received. */
export function packetOf (entry: Entry, connection: number, body: Body | undefined): object {
  if (entry.released) return { cmd: 'pubrel', messageId: entry.messageId }
  if (body === undefined) return { cmd: 'publish', qos: entry.qos, messageId: entry.messageId }
  const packet: PacketLike = {
    cmd: 'publish',
    brokerId: entry.brokerId ?? storedBroker,
    brokerCounter: entry.brokerCounter ?? entry.seq,
    topic: body.topic,
    payload: body.payload,
    qos: body.qos,
    retain: body.retain,
    dup: entry.sentOn !== undefined && entry.sentOn !== connection,
    messageId: entry.messageId
  }
  // A copy: Aedes writes the remaining lifetime into the properties.
  if (body.properties !== undefined) packet.properties = { ...body.properties }
  if (body.messageExpiry !== undefined) packet.messageExpiry = body.messageExpiry
  return packet
}
