import { ProtocolError, malformed, reasonCodes, violation } from './protocol-error.ts'
import { connectScope, readProperties, willScope } from './properties.ts'
import { Reader } from './reader.ts'
import { invalidTopic } from './text.ts'
import { defaultFrameLimits } from './types.ts'
import type { ConnectFrame, FrameLimits, ProtocolVersion, Qos, Will } from './types.ts'

/** CONNACK return codes (3.1.1, table 3.1). */
const unacceptableVersion = 1
const identifierRejected = 2

const flags = { reserved: 0x01, clean: 0x02, will: 0x04, willQos: 0x18, willRetain: 0x20, password: 0x40, username: 0x80 } as const

/**
 * Reads the body of a CONNECT. Throws `ProtocolError`; its `connackCode` is set where 3.x has an answer for the fault, its `protocolVersion`
 * once the version is known. MQTT 3.1 names 23 as the longest client id; nearly no client of it keeps to that, so `maxClientIdBytes` is the
 * only upper limit, but an empty one stays refused there whatever the clean flag says (section 3.1, "Identifier Rejected").
 */
export function decodeConnect (buf: Buffer, start: number, end: number, limits: FrameLimits = defaultFrameLimits): ConnectFrame {
  const reader = new Reader(buf, start, end)
  const protocolVersion = readVersion(reader)
  try {
    return readConnect(reader, protocolVersion, limits)
  } catch (error) {
    if (error instanceof ProtocolError) error.protocolVersion = protocolVersion
    throw error
  }
}

/** [MQTT-3.1.2-1], [MQTT-3.1.2-2]: the level decides only together with its own name. */
function readVersion (reader: Reader): ProtocolVersion {
  const name = reader.binary().toString('latin1')
  if (name !== 'MQTT' && name !== 'MQIsdp') {
    throw new ProtocolError('the protocol is not MQTT', reasonCodes.unsupportedVersion)
  }
  const level = reader.byte()
  if (name === 'MQTT' ? level === 4 || level === 5 : level === 3) return level as ProtocolVersion
  const error = new ProtocolError(`${name} has no level ${level} here`, reasonCodes.unsupportedVersion, unacceptableVersion)
  error.protocolVersion = name === 'MQTT' && level > 5 ? 5 : 4
  throw error
}

function readConnect (reader: Reader, protocolVersion: ProtocolVersion, limits: FrameLimits): ConnectFrame {
  const bits = reader.byte()
  if ((bits & flags.reserved) !== 0) throw malformed('the reserved flag of CONNECT is set') // [MQTT-3.1.2-3]
  const willQos = (bits & flags.willQos) >> 3
  if (willQos === 3) throw malformed('the QoS of the will is 3') // [MQTT-3.1.2-14] of 3.1.1, [MQTT-3.1.2-12] of 5
  const hasWill = (bits & flags.will) !== 0
  if (!hasWill && (bits & (flags.willQos | flags.willRetain)) !== 0) { // [MQTT-3.1.2-11], [MQTT-3.1.2-13], [MQTT-3.1.2-15]
    throw malformed('will flags without a will')
  }
  const hasUsername = (bits & flags.username) !== 0
  const hasPassword = (bits & flags.password) !== 0
  if (hasPassword && !hasUsername && protocolVersion < 5) throw malformed('a password without a user name') // [MQTT-3.1.2-22]

  const frame: ConnectFrame = { protocolVersion, clean: (bits & flags.clean) !== 0, keepAliveSeconds: reader.uint16(), clientId: '' }
  if (protocolVersion === 5) {
    const properties = readProperties(reader, connectScope, limits)
    if (properties !== undefined) {
      if (properties.authenticationData !== undefined && properties.authenticationMethod === undefined) {
        throw violation('authentication data without a method')
      }
      frame.properties = properties
    }
  }
  frame.clientId = readClientId(reader, frame, limits)
  if (hasWill) frame.will = readWill(reader, protocolVersion, willQos as Qos, (bits & flags.willRetain) !== 0, limits)
  if (hasUsername) frame.username = reader.text() // [MQTT-3.1.3-11]
  if (hasPassword) frame.password = reader.binary()
  reader.finish()
  return frame
}

function readClientId (reader: Reader, frame: ConnectFrame, limits: FrameLimits): string {
  const at = reader.at
  const clientId = reader.text()
  const bytes = reader.at - at - 2
  // [MQTT-3.1.3-7], [MQTT-3.1.3-8] of 3.1.1
  const mustNotBeEmpty = frame.protocolVersion === 3 || (frame.protocolVersion === 4 && !frame.clean)
  if (bytes > limits.maxClientIdBytes || (bytes === 0 && mustNotBeEmpty)) {
    throw new ProtocolError(bytes === 0 ? 'the client id is empty' : 'the client id is too long', reasonCodes.clientIdInvalid, identifierRejected)
  }
  return clientId
}

function readWill (reader: Reader, protocolVersion: ProtocolVersion, qos: Qos, retain: boolean, limits: FrameLimits): Will {
  const properties = protocolVersion === 5 ? readProperties(reader, willScope, limits) : undefined
  const topic = reader.topic(limits)
  if (topic === '') throw invalidTopic('the topic of the will is empty') // [MQTT-4.7.3-1]
  const will: Will = { topic, payload: reader.binary(), qos, retain }
  if (properties !== undefined) will.properties = properties
  return will
}
