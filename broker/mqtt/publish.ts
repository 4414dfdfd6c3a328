import { malformed, violation } from './protocol-error.ts'
import { publishScope, readProperties } from './properties.ts'
import { Reader } from './reader.ts'
import { invalidTopic, topicOf } from './text.ts'
import { defaultFrameLimits } from './types.ts'
import type { FrameLimits, ProtocolVersion, PublishFrame, PublishProperties, Qos } from './types.ts'

/**
 * Reads a PUBLISH; `first` was checked by the `Framer`. Throws `ProtocolError`: 0x81 malformed, 0x82 a property of the server's, 0x90 the
 * topic, 0x94 a topic alias of 0 or above `maxTopicAlias`. A publish that has an alias may have no topic.
 */
export function decodePublish (first: number, buf: Buffer, start: number, end: number, version: ProtocolVersion, limits: FrameLimits = defaultFrameLimits): PublishFrame {
  const qos = (first >> 1 & 3) as Qos
  if (first & 8 && qos === 0) throw malformed('DUP is set at QoS 0') // [MQTT-3.3.1-2]
  if (end - start < 2) throw malformed('the packet ends too early')
  let at = start + 2
  const topicEnd = at + ((buf[start] as number) << 8 | (buf[start + 1] as number))
  if (topicEnd + (qos === 0 ? 0 : 2) > end) throw malformed('the packet ends too early')
  const topic = topicOf(buf, at, topicEnd, limits)
  at = topicEnd
  let packetId = 0
  if (qos !== 0) {
    packetId = (buf[at] as number) << 8 | (buf[at + 1] as number)
    if (packetId === 0) throw malformed('the packet id is 0') // [MQTT-2.3.1-1] of 3.1.1, [MQTT-2.2.1-3] of 5
    at += 2
  }
  let properties: PublishProperties | undefined
  if (version === 5) {
    if (at < end && buf[at] === 0) {
      at++
    } else {
      const reader = new Reader(buf, at, end)
      properties = propertiesOf(reader, limits)
      at = reader.at
    }
  }
  // Last, for an alias may stand for it.
  if (topic === '' && properties?.topicAlias === undefined) throw invalidTopic('the topic is empty') // [MQTT-4.7.3-1]
  return { topic, qos, dup: (first & 8) !== 0, retain: (first & 1) !== 0, packetId, payload: buf.subarray(at, end), properties }
}

function propertiesOf (reader: Reader, limits: FrameLimits): PublishProperties | undefined {
  const read = readProperties(reader, publishScope, limits)
  if (read?.subscriptionIdentifier !== undefined) throw violation('a client publishes with a subscription identifier') // [MQTT-3.3.4-6]
  return read
}
