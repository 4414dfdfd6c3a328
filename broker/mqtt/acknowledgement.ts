import { malformed, violation } from './protocol-error.ts'
import { ackScope, disconnectScope, readProperties } from './properties.ts'
import { Reader } from './reader.ts'
import { defaultFrameLimits, packetTypes } from './types.ts'
import type { AckFrame, DisconnectFrame, ProtocolVersion } from './types.ts'

/** Reason codes of PUBACK and PUBREC (MQTT 5.0, 3.4.2.1), of PUBREL and PUBCOMP (3.6.2.1), and those a client may give in DISCONNECT (3.14.2.1). */
const receivedCodes: ReadonlySet<number> = new Set([0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99])
const releasedCodes: ReadonlySet<number> = new Set([0x00, 0x92])
const disconnectCodes: ReadonlySet<number> = new Set([0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99])

/**
 * The packet id of a PUBACK, PUBREC, PUBREL or PUBCOMP that has nothing else: every one of 3.x, nearly every one of 5.
 * Throws `ProtocolError` when the body is not two bytes, or the id 0.
 */
export function ackPacketId (buf: Buffer, start: number, end: number): number {
  if (end - start !== 2) throw malformed('an acknowledgement is not two bytes long')
  const packetId = (buf[start] as number) << 8 | (buf[start + 1] as number)
  if (packetId === 0) throw malformed('the packet id is 0')
  return packetId
}

/** Reads a PUBACK, PUBREC, PUBREL or PUBCOMP. Throws `ProtocolError`, also for a reason code that the packet cannot have ([MQTT-3.4.2-1]). */
export function decodeAck (first: number, buf: Buffer, start: number, end: number, version: ProtocolVersion): AckFrame {
  if (version < 5 || end - start === 2) return { packetId: ackPacketId(buf, start, end), reasonCode: 0 }
  const reader = new Reader(buf, start, end)
  const packetId = reader.packetId()
  const reasonCode = reader.byte()
  const known = (first >> 4) <= packetTypes.pubrec ? receivedCodes : releasedCodes
  if (!known.has(reasonCode)) throw violation(`the packet cannot have the reason code ${reasonCode}`)
  if (reader.at < end) readProperties(reader, ackScope, defaultFrameLimits)
  reader.finish()
  return { packetId, reasonCode }
}

/**
 * Reads the body of a DISCONNECT. Throws `ProtocolError`, also for a reason code of the server's ([MQTT-3.14.2-1]). That a session expiry
 * must stay 0 when it was 0 in CONNECT (3.14.2.2.2) is the caller's to check.
 */
export function decodeDisconnect (buf: Buffer, start: number, end: number, version: ProtocolVersion): DisconnectFrame {
  if (start === end) return { reasonCode: 0 }
  if (version < 5) throw malformed('a DISCONNECT has no body')
  const reader = new Reader(buf, start, end)
  const frame: DisconnectFrame = { reasonCode: reader.byte() }
  if (!disconnectCodes.has(frame.reasonCode)) throw violation(`a client cannot disconnect with the reason code ${frame.reasonCode}`)
  if (reader.at < end) {
    const properties = readProperties(reader, disconnectScope, defaultFrameLimits)
    if (properties?.sessionExpirySeconds !== undefined) frame.sessionExpirySeconds = properties.sessionExpirySeconds
  }
  reader.finish()
  return frame
}
