/**
 * MQTT packets encoded by hand: the generator must cost far less per message than the brokers it measures. They are of 3.1.1, or of 5 where a
 * `Protocol` is given. Clauses are those of the OASIS standard (mqtt-v3.1.1-os).
 */

/** Packet types, the upper four bits of the first byte (table 2.1). */
export const type = { connack: 2, publish: 3, puback: 4, suback: 9, pingresp: 13 } as const

/** Remaining length as a variable-length integer (2.2.3). */
function remainingLength (length: number): number[] {
  const bytes: number[] = []
  do {
    const rest = length >> 7
    bytes.push((length & 127) | (rest > 0 ? 128 : 0))
    length = rest
  } while (length > 0)
  return bytes
}

function text (value: string): Buffer {
  const bytes = Buffer.from(value)
  const out = Buffer.allocUnsafe(2 + bytes.length)
  out.writeUInt16BE(bytes.length, 0)
  bytes.copy(out, 2)
  return out
}

function packet (head: number, ...parts: Uint8Array[]): Buffer {
  const body = Buffer.concat(parts)
  return Buffer.concat([Buffer.from([head, ...remainingLength(body.length)]), body])
}

/** A peer that is spoken to in MQTT 5. */
export interface Protocol {
  readonly version: 5
  /** Topic aliases that the generator takes; 0 = none. */
  readonly topicAliases: number
}

/** The properties of MQTT 5 where there are none. */
const noProperties = Buffer.from([0])
const propertiesOf = (protocol: Protocol | undefined): Buffer[] => protocol === undefined ? [] : [noProperties]

export interface ConnectOptions {
  clientId: string
  user: string
  /** False keeps the session when the connection ends. */
  clean: boolean
  keepAliveSeconds: number
  protocol?: Protocol | undefined
}

/** CONNECT (3.1) with a user name and no password. */
export function connect (options: ConnectOptions): Buffer {
  const flags = 0x80 | (options.clean ? 0x02 : 0)
  const { protocol } = options
  const variable = Buffer.from([0, 4, 0x4d, 0x51, 0x54, 0x54, protocol?.version ?? 4, flags, options.keepAliveSeconds >> 8, options.keepAliveSeconds & 255])
  const aliases = protocol?.topicAliases ?? 0
  const properties = aliases > 0 ? [Buffer.from([3, 0x22, aliases >> 8, aliases & 255])] : propertiesOf(protocol)
  return packet(0x10, variable, ...properties, text(options.clientId), text(options.user))
}

/** SUBSCRIBE (3.8), every filter at QoS 1. */
export function subscribe (packetId: number, filters: readonly string[], protocol?: Protocol): Buffer {
  const parts: Buffer[] = [Buffer.from([packetId >> 8, packetId & 255]), ...propertiesOf(protocol)]
  for (const filter of filters) parts.push(text(filter), Buffer.from([1]))
  return packet(0x82, ...parts)
}

/** PUBLISH (3.3) at QoS 1. */
export function publish (topic: string, payload: Uint8Array, packetId: number, protocol?: Protocol): Buffer {
  return packet(0x32, text(topic), Buffer.from([packetId >> 8, packetId & 255]), ...propertiesOf(protocol), payload)
}

/** DISCONNECT (3.14). */
export const disconnect = Buffer.from([0xe0, 0])
