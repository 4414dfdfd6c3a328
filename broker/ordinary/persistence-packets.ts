/** Packets as the persistence keeps them, and their bytes in a row. */

export type Properties = Record<string, unknown>

/** The members of an Aedes packet that the persistence reads or writes. */
export interface PacketLike {
  cmd?: string
  topic: string
  payload: Buffer | string
  qos: 0 | 1 | 2
  retain: boolean
  dup?: boolean
  messageId?: number | undefined
  brokerId?: string
  brokerCounter?: number
  properties?: Properties
  /** Milliseconds since the epoch [MQTT 5, 3.3.2.3.3]. */
  messageExpiry?: number
  /** Of the publisher. */
  clientId?: string
  /** MQTT 5 No Local of the subscription that it is delivered for. */
  nl?: boolean
}

/** What stays of a publish: no packet id, no broker counters. */
export interface Body {
  topic: string
  payload: Buffer | string
  qos: 0 | 1 | 2
  retain: boolean
  properties?: Properties
  messageExpiry?: number
}

/** The part of a packet that is kept. The expiry is computed when Aedes did not do it yet. */
export function bodyOf (packet: PacketLike): Body {
  const body: Body = { topic: packet.topic, payload: packet.payload, qos: packet.qos, retain: packet.retain }
  if (packet.properties !== undefined) body.properties = packet.properties
  const expiry = packet.messageExpiry ?? expiryOf(packet.properties)
  if (expiry !== undefined) body.messageExpiry = expiry
  return body
}

function expiryOf (properties: Properties | undefined): number | undefined {
  const seconds = properties?.['messageExpiryInterval']
  return typeof seconds === 'number' ? Date.now() + seconds * 1000 : undefined
}

export function isExpired (body: { messageExpiry?: number }, now = Date.now()): boolean {
  return body.messageExpiry !== undefined && body.messageExpiry <= now
}

interface Header { t: string, q: 0 | 1 | 2, r?: 1, e?: number, p?: Properties, x?: Properties }

/** `extra` members go into the header and come back from `decode`. */
export function encode (body: Body, extra?: Properties): Buffer {
  const header: Header = { t: body.topic, q: body.qos }
  if (body.retain) header.r = 1
  if (body.messageExpiry !== undefined) header.e = body.messageExpiry
  if (body.properties !== undefined) header.p = packProperties(body.properties)
  if (extra !== undefined) header.x = extra
  const head = Buffer.from(JSON.stringify(header))
  const payload = typeof body.payload === 'string' ? Buffer.from(body.payload) : body.payload
  const size = Buffer.allocUnsafe(4)
  size.writeUInt32BE(head.length)
  return Buffer.concat([size, head, payload])
}

/** Throws when the bytes are not a row of `encode`. */
export function decode (bytes: Uint8Array): { body: Body, extra: Properties } {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const end = 4 + buffer.readUInt32BE(0)
  const header = JSON.parse(buffer.toString('utf8', 4, end)) as Header
  const body: Body = { topic: header.t, payload: buffer.subarray(end), qos: header.q, retain: header.r === 1 }
  if (header.e !== undefined) body.messageExpiry = header.e
  if (header.p !== undefined) body.properties = unpackProperties(header.p)
  return { body, extra: header.x ?? {} }
}

/** What a row of `encode` says of itself, without its text being read: its payload's bytes, and when it expires. */
export function outlineOf (bytes: Uint8Array): { payloadBytes: number, messageExpiry?: number } {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const end = 4 + buffer.readUInt32BE(0)
  const payloadBytes = buffer.length - end
  // Most have none: then the header has no such member, of its own or of a property.
  const mark = buffer.indexOf('"e":', 4)
  if (mark < 0 || mark >= end) return { payloadBytes }
  const { e } = JSON.parse(buffer.toString('utf8', 4, end)) as Header
  return e === undefined ? { payloadBytes } : { payloadBytes, messageExpiry: e }
}

// Correlation data is the only binary property of a PUBLISH or a will.
function packProperties (properties: Properties): Properties {
  const data = properties['correlationData']
  return Buffer.isBuffer(data) ? { ...properties, correlationData: data.toString('base64') } : properties
}

function unpackProperties (properties: Properties): Properties {
  const data = properties['correlationData']
  return typeof data === 'string' ? { ...properties, correlationData: Buffer.from(data, 'base64') } : properties
}
