import { ProtocolError, malformed, reasonCodes, violation } from './protocol-error.ts'
import { readProperties, subscribeScope, unsubscribeScope } from './properties.ts'
import { Reader } from './reader.ts'
import { isShared } from './text.ts'
import { defaultFrameLimits } from './types.ts'
import type { FrameLimits, ProtocolVersion, Qos, SubscribeFrame, Subscription, UnsubscribeFrame } from './types.ts'

/**
 * Reads the body of a SUBSCRIBE. `$share/…` filters stay as they are; before MQTT 5 they are filters as any other.
 * Throws `ProtocolError`: 0x81 malformed, 0x82 no filter or options that exclude each other, 0x8f a filter, 0x97 more filters than `maxFilters`.
 */
export function decodeSubscribe (buf: Buffer, start: number, end: number, version: ProtocolVersion, limits: FrameLimits = defaultFrameLimits): SubscribeFrame {
  const reader = new Reader(buf, start, end)
  const frame: SubscribeFrame = { packetId: reader.packetId(), subscriptions: [] }
  if (version === 5) {
    const properties = readProperties(reader, subscribeScope, limits)
    if (properties?.subscriptionIdentifier !== undefined) frame.subscriptionIdentifier = properties.subscriptionIdentifier
    if (properties?.userProperties !== undefined) frame.userProperties = properties.userProperties
  }
  if (reader.at === end) throw violation('a SUBSCRIBE without a filter') // [MQTT-3.8.3-3] of 3.1.1, [MQTT-3.8.3-2] of 5
  do {
    countFilter(frame.subscriptions.length, limits)
    const filter = reader.filter(limits)
    frame.subscriptions.push(readOptions(filter, reader.byte(), version))
  } while (reader.at < end)
  return frame
}

function readOptions (filter: string, options: number, version: ProtocolVersion): Subscription {
  const qos = options & 3
  if ((options & (version === 5 ? 0xc0 : 0xfc)) !== 0) { // [MQTT-3-8.3-4] of 3.1.1, [MQTT-3.8.3-5] of 5
    throw malformed('reserved bits of the subscription options are set')
  }
  if (qos === 3) throw malformed('there is no QoS 3')
  const noLocal = (options & 4) !== 0
  const rh = options >> 4
  if (rh === 3) throw violation('there is no retain handling 3')
  if (version === 5 && isShared(filter) && noLocal) throw violation('No Local on a shared subscription') // [MQTT-3.8.3-4] of 5
  return { filter, qos: qos as Qos, noLocal, rap: (options & 8) !== 0, rh: rh as 0 | 1 | 2 }
}

/** Reads the body of an UNSUBSCRIBE. Throws as `decodeSubscribe`. */
export function decodeUnsubscribe (buf: Buffer, start: number, end: number, version: ProtocolVersion, limits: FrameLimits = defaultFrameLimits): UnsubscribeFrame {
  const reader = new Reader(buf, start, end)
  const frame: UnsubscribeFrame = { packetId: reader.packetId(), filters: [] }
  if (version === 5) {
    const properties = readProperties(reader, unsubscribeScope, limits)
    if (properties?.userProperties !== undefined) frame.userProperties = properties.userProperties
  }
  if (reader.at === end) throw violation('an UNSUBSCRIBE without a filter') // [MQTT-3.10.3-2]
  do {
    countFilter(frame.filters.length, limits)
    const filter = reader.filter(limits)
    if (version === 5) isShared(filter)
    frame.filters.push(filter)
  } while (reader.at < end)
  return frame
}

function countFilter (before: number, limits: FrameLimits): void {
  if (before >= limits.maxFilters) throw new ProtocolError('too many topic filters in one packet', reasonCodes.quotaExceeded)
}
