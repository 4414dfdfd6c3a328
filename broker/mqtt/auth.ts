import { violation } from './protocol-error.ts'
import { authScope, property, readProperties } from './properties.ts'
import { Reader } from './reader.ts'
import { Writer } from './writer.ts'
import { defaultFrameLimits, packetTypes } from './types.ts'
import type { AuthFrame } from './types.ts'

/** Reason codes of AUTH (MQTT 5.0, section 3.15.2.1). */
export const authReasons = { success: 0x00, goOn: 0x18, beginAnew: 0x19 } as const

/** Reads the body of an AUTH. Throws `ProtocolError`, also for the reason code that only a server gives ([MQTT-3.15.2-1]), and without a method (3.15.2.2.2). */
export function decodeAuth (buf: Buffer, start: number, end: number): AuthFrame {
  const reader = new Reader(buf, start, end)
  // An empty body stands for success.
  const reasonCode = start === end ? authReasons.success : reader.byte()
  if (reasonCode !== authReasons.goOn && reasonCode !== authReasons.beginAnew) throw violation(`a client cannot send AUTH with the reason code ${reasonCode}`)
  const properties = reader.at < end ? readProperties(reader, authScope, defaultFrameLimits) : undefined
  reader.finish()
  if (properties?.authenticationMethod === undefined) throw violation('AUTH without an authentication method')
  const { authenticationMethod, authenticationData } = properties
  return { reasonCode, authenticationMethod, authenticationData: authenticationData ?? Buffer.alloc(0) }
}

/** An AUTH of the server. Throws `RangeError` for a method or data over 65,535 bytes. */
export function encodeAuth (reasonCode: number, method: string, data: Uint8Array): Buffer {
  const properties = new Writer().byte(property.authenticationMethod).text(method).byte(property.authenticationData).binary(Buffer.from(data))
  return new Writer().byte(reasonCode).raw(properties.withLength()).packet(packetTypes.auth << 4)
}
