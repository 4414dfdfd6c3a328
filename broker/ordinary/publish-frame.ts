/** Parts of packets that are encoded already; whole and well-formed ones, of Aedes or of a client whose packets were checked. */

/** Bytes of the fixed header. */
export function headerBytes (frame: Buffer): number {
  let at = 1
  while ((frame[at] as number) >= 0x80) at++
  return at + 1
}

/** The packet id of a PUBACK, PUBREC, PUBREL, PUBCOMP or of a PUBLISH above QoS 0. */
export function packetIdOf (frame: Buffer): number {
  const at = headerBytes(frame)
  return frame.readUInt16BE((frame[0] as number) >> 4 === 3 ? at + 2 + frame.readUInt16BE(at) : at)
}

const messageExpiry = 0x02
/** Bytes of the value of each property that a server's PUBLISH may have, by identifier; 0: two bytes of length and so many; -1: a variable byte integer. */
const valueBytes = new Map([[0x01, 1], [messageExpiry, 4], [0x03, 0], [0x08, 0], [0x09, 0], [0x0b, -1], [0x23, 2]])
export const userProperty = 0x26
const topicAlias = 0x23

/** Where the Message Expiry Interval of a PUBLISH of MQTT 5 above QoS 0 is, and what it is; undefined when it has none. */
export function expiryOf (frame: Buffer): { at: number, seconds: number } | undefined {
  const header = headerBytes(frame)
  let at = header + 2 + frame.readUInt16BE(header) + 2
  const [length, start] = varint(frame, at)
  const end = start + length
  for (at = start; at < end;) {
    const id = frame[at++] as number
    if (id === messageExpiry) return { at, seconds: frame.readUInt32BE(at) }
    at = afterValue(frame, id, at)
  }
  return undefined
}

/** A copy with another interval. */
export function withExpiry (frame: Buffer, { at }: { at: number }, seconds: number): Buffer {
  const copy = Buffer.from(frame)
  copy.writeUInt32BE(seconds, at)
  return copy
}

export function topicOf (frame: Buffer): string {
  const at = headerBytes(frame) + 2
  return frame.toString('utf8', at, at + frame.readUInt16BE(at - 2))
}

/** A PUBLISH of MQTT 5 with a topic alias; `told`: without its topic. */
export function withAlias (frame: Buffer, alias: number, told: boolean): Buffer {
  const at = headerBytes(frame)
  const afterTopic = at + 2 + frame.readUInt16BE(at)
  const afterId = afterTopic + ((frame[0] as number) & 6 ? 2 : 0)
  const [length, properties] = varint(frame, afterId)
  const topic = told ? Buffer.from([0, 0]) : frame.subarray(at, afterTopic)
  const end = properties + length
  const rest = [topic, frame.subarray(afterTopic, afterId), varintOf(length + 3), frame.subarray(properties, end), Buffer.from([topicAlias, alias >> 8, alias & 0xff]), frame.subarray(end)]
  return Buffer.concat([frame.subarray(0, 1), varintOf(rest.reduce((bytes, { length }) => bytes + length, 0)), ...rest])
}

export function varintOf (value: number): Buffer {
  const bytes: number[] = []
  for (; value > 0x7f; value >>>= 7) bytes.push((value & 0x7f) | 0x80)
  return Buffer.from([...bytes, value])
}

/** Where the value of a property that begins at `at` ends. */
export function afterValue (frame: Buffer, id: number, at: number): number {
  const text = (from: number): number => from + 2 + frame.readUInt16BE(from)
  if (id === userProperty) return text(text(at))
  const bytes = valueBytes.get(id)
  if (bytes === undefined) return frame.length
  if (bytes > 0) return at + bytes
  return bytes === 0 ? text(at) : varint(frame, at)[1]
}

/** A variable byte integer, and where it ends. */
export function varint (frame: Buffer, at: number): [value: number, end: number] {
  let value = 0
  for (let place = 0; ; place += 7) {
    const byte = frame[at++] as number
    value += (byte & 0x7f) << place
    if (byte < 0x80) return [value, at]
  }
}
