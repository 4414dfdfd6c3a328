import type { Code } from '../../errors.ts'
import type { ConnectFrame, ProtocolVersion } from '../../mqtt/index.ts'
import type { GatewayLimits } from '../limits.ts'

/** CONNACK codes of a refusal: return code of 3.1.1 (section 3.2.2.3), reason code of 5 (section 3.2.2.2). */
export const connackCodes: Partial<Record<Code, [number, number]>> = {
  unauthorized: [5, 0x87],
  forbidden: [5, 0x87],
  banned: [5, 0x8a],
  // The account was removed while its password was looked at.
  not_found: [5, 0x87],
  rate_limited: [3, 0x97],
  unavailable: [3, 0x88],
  bad_payload: [4, 0x86],
  too_large: [2, 0x85]
}

/** What a successful CONNACK tells an MQTT 5 client (MQTT 5.0, section 3.2.2.3). */
export interface ConnackProperties {
  assignedClientId?: string
  serverKeepAliveSeconds?: number
  sessionExpirySeconds?: number
  receiveMaximum: number
  maximumPacketBytes: number
  /** Topic aliases that the client may use. */
  topicAliases: number
  /** Shared subscriptions are available. */
  shares: boolean
  /** What topics for answers to the client begin with. */
  responseInformation?: string
  /** Which enhanced authentication the client came with, and what the server has to say at its end. */
  authentication?: { readonly method: string, readonly data: Uint8Array | undefined }
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
    body.push(0x12, ...binary(Buffer.from(properties.assignedClientId)))
  }
  if (properties.topicAliases > 0) body.push(0x22, properties.topicAliases >> 8, properties.topicAliases & 0xff)
  if (!properties.shares) body.push(0x2a, 0)
  if (properties.serverKeepAliveSeconds !== undefined) {
    body.push(0x13, properties.serverKeepAliveSeconds >> 8, properties.serverKeepAliveSeconds & 0xff)
  }
  if (properties.responseInformation !== undefined) body.push(0x1a, ...binary(Buffer.from(properties.responseInformation)))
  // [MQTT-4.12.0-5]
  if (properties.authentication !== undefined) body.push(0x15, ...binary(Buffer.from(properties.authentication.method)))
  if (properties.authentication?.data !== undefined) body.push(0x16, ...binary(properties.authentication.data))
  const length = varint(body.length)
  const rest = [flags, 0, ...length, ...body]
  return Buffer.from([0x20, ...varint(rest.length), ...rest])
}

/** The keep alive that an MQTT 5 client is told instead of its own (MQTT 5.0, section 3.2.2.3.14); undefined = its own. */
export function serverKeepAlive (frame: ConnectFrame, maxSeconds: number): number | undefined {
  if (frame.protocolVersion !== 5) return undefined
  return frame.keepAliveSeconds === 0 || frame.keepAliveSeconds > maxSeconds ? maxSeconds : undefined
}

/** Seconds that the session is to outlive its connection. */
export function expiryOf (frame: ConnectFrame, limits: Pick<GatewayLimits, 'sessionExpirySeconds' | 'maxSessionExpirySeconds'>): number {
  if (frame.protocolVersion === 5) return Math.min(frame.properties?.sessionExpirySeconds ?? 0, limits.maxSessionExpirySeconds)
  return frame.clean ? 0 : limits.sessionExpirySeconds
}

function uint32 (n: number): number[] { return [(n >>> 24) & 0xff, (n >>> 16) & 0xff, (n >>> 8) & 0xff, n & 0xff] }

function binary (bytes: Uint8Array): number[] { return [bytes.length >> 8, bytes.length & 0xff, ...bytes] }

function varint (n: number): number[] {
  const bytes: number[] = []
  do {
    const rest = n >>> 7
    bytes.push((n & 0x7f) | (rest > 0 ? 0x80 : 0))
    n = rest
  } while (n > 0)
  return bytes
}
