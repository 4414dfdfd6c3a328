import type { ProtocolVersion } from './types.ts'

/** The MQTT 5 reason codes that the codec gives (MQTT 5.0, section 2.4). */
export const reasonCodes = {
  malformedPacket: 0x81,
  protocolError: 0x82,
  unsupportedVersion: 0x84,
  clientIdInvalid: 0x85,
  topicFilterInvalid: 0x8f,
  topicNameInvalid: 0x90,
  topicAliasInvalid: 0x94,
  packetTooLarge: 0x95,
  quotaExceeded: 0x97
} as const

/**
 * The client broke the protocol, or a limit: the connection has to be closed ([MQTT-4.8.0-1] of 3.1.1, [MQTT-4.13.1-1] of 5).
 * `reasonCode` is for a DISCONNECT or a CONNACK of MQTT 5.
 */
export class ProtocolError extends Error {
  readonly reasonCode: number
  /** The return code of the CONNACK that a 3.1 or 3.1.1 client gets before the connection closes; undefined = none. */
  readonly connackCode: number | undefined
  /** Set when a CONNECT was refused after its version was read: the version to write a CONNACK in. */
  protocolVersion: ProtocolVersion | undefined

  constructor (message: string, reasonCode: number = reasonCodes.malformedPacket, connackCode?: number) {
    super(message)
    this.name = 'ProtocolError'
    this.reasonCode = reasonCode
    this.connackCode = connackCode
    this.protocolVersion = undefined
  }
}

/** The packet cannot be parsed. */
export function malformed (message: string): ProtocolError {
  return new ProtocolError(message, reasonCodes.malformedPacket)
}

/** The packet can be parsed, but must not be sent like this. */
export function violation (message: string): ProtocolError {
  return new ProtocolError(message, reasonCodes.protocolError)
}
