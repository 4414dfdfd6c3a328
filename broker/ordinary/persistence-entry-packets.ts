import { isExpired, type Body, type PacketLike } from './persistence-packets.ts'
import { storedBroker } from './persistence-entry.ts'
import type { Entry } from './persistence-entry.ts'

/** The packet of an entry for Aedes to send, on the connection with this number; its PUBREL when the message was received. */
export function packetOf (entry: Entry, connection: number, body: Body | undefined): object {
  if (entry.released) return { cmd: 'pubrel', messageId: entry.messageId }
  if (body === undefined) return { cmd: 'publish', qos: entry.qos, messageId: entry.messageId }
  const dup = entry.sentOn !== undefined && entry.sentOn !== connection
  const packet: PacketLike = {
    cmd: 'publish',
    brokerId: entry.brokerId ?? storedBroker,
    brokerCounter: entry.brokerCounter ?? entry.seq,
    topic: body.topic,
    payload: body.payload,
    qos: body.qos,
    retain: body.retain,
    dup,
    messageId: entry.messageId
  }
  // A copy: Aedes writes the remaining lifetime into the properties.
  if (body.properties !== undefined) packet.properties = { ...body.properties }
  if (body.messageExpiry === undefined) return packet
  // What was sent before does not expire any more [MQTT-4.3.3-7 of MQTT 5]; Aedes drops whatever has a time that has passed.
  if (dup && isExpired(body)) packet.properties = { ...packet.properties, messageExpiryInterval: 0 }
  else packet.messageExpiry = body.messageExpiry
  return packet
}
