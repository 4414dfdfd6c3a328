import { property } from './properties.ts'
import { Writer } from './writer.ts'
import { writeAck } from './publish-writer.ts'
import { packetTypes } from './types.ts'
import type { AckType, ProtocolVersion, Subscription, UserProperties } from './types.ts'

/** The answer to a PINGREQ. */
export const pingresp: Buffer = Buffer.from([packetTypes.pingresp << 4, 0])

/** No properties. */
const nothing = Buffer.from([0])

/**
 * A CONNACK that refuses: `code` is a return code (1 to 5) for 3.x, a reason code (0x80 and above) for 5. Close the connection after it.
 * `serverReference` (5 only): another server.
 */
export function encodeConnackRefusal (version: ProtocolVersion, code: number, serverReference?: string): Buffer {
  const writer = new Writer().byte(0).byte(code)
  if (version === 5) writer.raw(serverReference === undefined ? nothing : reference(serverReference))
  return writer.packet(packetTypes.connack << 4)
}

/** A SUBACK with one code for each filter, in their order: 0, 1, 2, 0x80, or for 5 a reason code. */
export function encodeSuback (version: ProtocolVersion, packetId: number, codes: readonly number[]): Buffer {
  const writer = new Writer().uint16(packetId)
  if (version === 5) writer.byte(0)
  return writer.raw(Buffer.from(codes)).packet(packetTypes.suback << 4)
}

/** An UNSUBACK; `codes` (one for each filter) are for 5 only, 3.x has none. */
export function encodeUnsuback (version: ProtocolVersion, packetId: number, codes: readonly number[]): Buffer {
  const writer = new Writer().uint16(packetId)
  if (version === 5) writer.byte(0).raw(Buffer.from(codes))
  return writer.packet(packetTypes.unsuback << 4)
}

/**
 * A PUBACK, PUBREC, PUBREL or PUBCOMP. Reason code, reason string and user properties are for 5, and left out for 3.x.
 * Throws `RangeError` for a string over 65,535 bytes.
 */
export function encodeAck (type: AckType, version: ProtocolVersion, packetId: number, reasonCode = 0, reasonString?: string, userProperties?: UserProperties): Buffer {
  const bare = reasonString === undefined && (userProperties === undefined || userProperties.length === 0)
  if (version < 5 || (bare && reasonCode === 0)) {
    const ack = Buffer.allocUnsafe(4)
    writeAck(ack, 0, type, packetId)
    return ack
  }
  const writer = new Writer().uint16(packetId).byte(reasonCode)
  if (!bare) writer.raw(reasonProperties(reasonString, userProperties))
  return writer.packet(type << 4 | (type === packetTypes.pubrel ? 2 : 0))
}

/**
 * A DISCONNECT; only MQTT 5 has one that a server sends. `serverReference`: another server. The length of its properties is there also when
 * it is 0 and may be left out (3.14.2.2.1): there are clients that cannot read the shorter one, and never learn the reason.
 */
export function encodeDisconnect (reasonCode: number, serverReference?: string): Buffer {
  const writer = new Writer().byte(reasonCode)
  return (serverReference === undefined ? writer.byte(0) : writer.raw(reference(serverReference))).packet(packetTypes.disconnect << 4)
}

/** A SUBSCRIBE as a client sends it: mixed ones are written anew before they are passed on. The options of 5 are left out for 3.x. */
export function encodeSubscribe (version: ProtocolVersion, packetId: number, subscriptions: readonly Subscription[], subscriptionIdentifier?: number): Buffer {
  const writer = new Writer().uint16(packetId)
  if (version === 5) {
    const properties = new Writer()
    if (subscriptionIdentifier !== undefined) properties.byte(property.subscriptionIdentifier).varint(subscriptionIdentifier)
    writer.raw(properties.withLength())
  }
  for (const { filter, qos, noLocal, rap, rh } of subscriptions) {
    writer.text(filter).byte(version === 5 ? qos | (noLocal ? 4 : 0) | (rap ? 8 : 0) | rh << 4 : qos)
  }
  return writer.packet(packetTypes.subscribe << 4 | 2)
}

function reference (serverReference: string): Buffer { return new Writer().byte(property.serverReference).text(serverReference).withLength() }

function reasonProperties (reasonString: string | undefined, userProperties: UserProperties | undefined): Buffer {
  const writer = new Writer()
  if (reasonString !== undefined) writer.byte(property.reasonString).text(reasonString)
  return writer.userProperties(userProperties).withLength()
}
