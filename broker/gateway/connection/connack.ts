import type { ProtocolVersion } from '../../mqtt/index.ts'

/** What a successful CONNACK tells an MQTT 5 client (MQTT 5.0, section 3.2.2.3). */
export interface ConnackProperties {
  assignedClientId?: string
  serverKeepAliveSeconds?: number
  sessionExpirySeconds?: number
  receiveMaximum: number
  maximumPacketBytes: number
}

/** Encodes the CONNACK of an accepted connection. */
export function encodeConnack (version: ProtocolVersion, sessionPresent: boolean, properties: ConnackProperties): Buffer {
  const flags = sessionPresent ? 1 : 0
  if (version !== 5) return Buffer.from([0x20, 2, flags, 0])
  const body: number[] = []
  if (properties.sessionExpirySeconds !== undefined) body.push(0x11, ...uint32(properties.sessionExpirySeconds))
  body.push(0x21, properties.receiveMaximum >> 8, properties.receiveMaximum & 0xff)
  body.push(0x27, ...uint32(properties.maximumPacketBytes))
  if (properties.assignedClientId !== undefined) {
    const id = Buffer.from(properties.assignedClientId)
    body.push(0x12, id.length >> 8, id.length & 0xff, ...id)
  }
  // Topic aliases and shared subscriptions are not offered (docs/mqtt5.md).
  body.push(0x2a, 0)
  if (properties.serverKeepAliveSeconds !== undefined) {
    body.push(0x13, properties.serverKeepAliveSeconds >> 8, properties.serverKeepAliveSeconds & 0xff)
  }
  const length = varint(body.length)
  const rest = [flags, 0, ...length, ...body]
  return Buffer.from([0x20, ...varint(rest.length), ...rest])
}

function uint32 (n: number): number[] { return [(n >>> 24) & 0xff, (n >>> 16) & 0xff, (n >>> 8) & 0xff, n & 0xff] }

function varint (n: number): number[] {
  const bytes: number[] = []
  do {
    const rest = n >>> 7
    bytes.push((n & 0x7f) | (rest > 0 ? 0x80 : 0))
    n = rest
  } while (n > 0)
  return bytes
}
