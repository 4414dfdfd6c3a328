import { property } from './properties.ts'
import { Writer, varintBytes, writeVarint } from './writer.ts'
import type { AckType, PublishFrame, PublishProperties, Qos } from './types.ts'

/** The properties of an MQTT 5 packet that has none. */
export const noProperties: Buffer = Buffer.from([0])

/** The first byte of a PUBLISH. */
export function publishHeader (qos: Qos, dup: boolean, retain: boolean): number {
  return 0x30 | (dup ? 8 : 0) | qos << 1 | (retain ? 1 : 0)
}

/** The properties of an MQTT 5 PUBLISH with their length, for `writePublish`. Throws `RangeError` for a string over 65,535 bytes. */
export function encodePublishProperties (properties: PublishProperties & { subscriptionIdentifiers?: readonly number[] }): Buffer {
  const writer = new Writer()
  if (properties.payloadFormat !== undefined) writer.byte(property.payloadFormat).byte(properties.payloadFormat)
  if (properties.messageExpirySeconds !== undefined) writer.byte(property.messageExpiry).uint32(properties.messageExpirySeconds)
  if (properties.contentType !== undefined) writer.byte(property.contentType).text(properties.contentType)
  if (properties.responseTopic !== undefined) writer.byte(property.responseTopic).text(properties.responseTopic)
  if (properties.correlationData !== undefined) writer.byte(property.correlationData).binary(properties.correlationData)
  for (const identifier of properties.subscriptionIdentifiers ?? []) writer.byte(property.subscriptionIdentifier).varint(identifier)
  if (properties.topicAlias !== undefined) writer.byte(property.topicAlias).uint16(properties.topicAlias)
  writer.userProperties(properties.userProperties)
  return writer.withLength()
}

/**
 * Bytes of a PUBLISH with its fixed header. `properties` comes from `encodePublishProperties` or is `noProperties` for an MQTT 5 client, and is
 * undefined for a 3.x client.
 */
export function publishSize (topicBytes: Uint8Array, qos: Qos, payloadBytes: number, properties: Buffer | undefined): number {
  const remaining = remainingBytes(topicBytes, qos, payloadBytes, properties)
  return 1 + varintBytes(remaining) + remaining
}

/**
 * Writes a PUBLISH at `at`; returns the offset after it. `target` has room for `publishSize`. `header` comes from `publishHeader`; `packetId` is
 * not written at QoS 0. Throws `RangeError` for a packet id of 0 at QoS 1 or 2 ([MQTT-2.3.1-1] of 3.1.1), and where there is no room.
 */
export function writePublish (target: Buffer, at: number, header: number, packetId: number, topicBytes: Uint8Array, properties: Buffer | undefined, payload: Uint8Array): number {
  const qos = (header >> 1 & 3) as Qos
  if (qos !== 0 && !(packetId > 0 && packetId <= 0xffff)) throw new RangeError(`${packetId} is no packet id`)
  const remaining = remainingBytes(topicBytes, qos, payload.length, properties)
  if (at + 1 + varintBytes(remaining) + remaining > target.length) throw new RangeError('no room for the packet')
  target[at++] = header
  at = writeVarint(target, at, remaining)
  target[at++] = topicBytes.length >> 8
  target[at++] = topicBytes.length
  target.set(topicBytes, at)
  at += topicBytes.length
  if (qos !== 0) {
    target[at++] = packetId >> 8
    target[at++] = packetId
  }
  if (properties !== undefined) {
    if (properties.length === 1) target[at] = properties[0] as number
    else target.set(properties, at)
    at += properties.length
  }
  target.set(payload, at)
  return at + payload.length
}

/** A publish as it would be without a topic alias. */
export function encodePublish ({ topic, qos, dup, retain, packetId, payload, properties }: PublishFrame): Buffer {
  const { topicAlias: _, ...rest } = properties ?? {}
  const topicBytes = Buffer.from(topic)
  const encoded = encodePublishProperties(rest)
  const target = Buffer.allocUnsafe(publishSize(topicBytes, qos, payload.length, encoded))
  writePublish(target, 0, publishHeader(qos, dup, retain), packetId, topicBytes, encoded, payload)
  return target
}

/** Writes a PUBACK, PUBREC, PUBREL or PUBCOMP without a reason (4 bytes, any version) at `at`; returns the offset after it. */
export function writeAck (target: Buffer, at: number, type: AckType, packetId: number): number {
  target[at] = type << 4 | (type === 6 ? 2 : 0)
  target[at + 1] = 2
  target[at + 2] = packetId >> 8
  target[at + 3] = packetId
  return at + 4
}

function remainingBytes (topicBytes: Uint8Array, qos: Qos, payloadBytes: number, properties: Buffer | undefined): number {
  return 2 + topicBytes.length + (qos === 0 ? 0 : 2) + (properties === undefined ? 0 : properties.length) + payloadBytes
}
