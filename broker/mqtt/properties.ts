import { ProtocolError, malformed, reasonCodes, violation } from './protocol-error.ts'
import { Reader } from './reader.ts'
import { invalidTopic } from './text.ts'
import type { ConnectProperties, FrameLimits, WillProperties } from './types.ts'

/** Property identifiers (MQTT 5.0, section 2.2.2.2). */
export const property = {
  payloadFormat: 0x01,
  messageExpiry: 0x02,
  contentType: 0x03,
  responseTopic: 0x08,
  correlationData: 0x09,
  subscriptionIdentifier: 0x0b,
  sessionExpiry: 0x11,
  authenticationMethod: 0x15,
  authenticationData: 0x16,
  requestProblemInformation: 0x17,
  willDelay: 0x18,
  requestResponseInformation: 0x19,
  reasonString: 0x1f,
  receiveMaximum: 0x21,
  topicAliasMaximum: 0x22,
  topicAlias: 0x23,
  userProperty: 0x26,
  maximumPacketSize: 0x27
} as const

/** The properties that a client may put in a packet. */
export type PropertyScope = ReadonlySet<number>

const message = [property.payloadFormat, property.messageExpiry, property.contentType, property.responseTopic, property.correlationData, property.userProperty]

export const connectScope: PropertyScope = new Set([property.sessionExpiry, property.receiveMaximum, property.maximumPacketSize,
  property.topicAliasMaximum, property.requestResponseInformation, property.requestProblemInformation, property.userProperty,
  property.authenticationMethod, property.authenticationData])
export const willScope: PropertyScope = new Set([...message, property.willDelay])
/** A topic alias and a subscription identifier have a meaning here, and are refused by their own codes. */
export const publishScope: PropertyScope = new Set([...message, property.topicAlias, property.subscriptionIdentifier])
export const subscribeScope: PropertyScope = new Set([property.subscriptionIdentifier, property.userProperty])
export const unsubscribeScope: PropertyScope = new Set([property.userProperty])
export const ackScope: PropertyScope = new Set([property.reasonString, property.userProperty])
export const disconnectScope: PropertyScope = new Set([property.sessionExpiry, property.reasonString, property.userProperty])

export interface Properties extends ConnectProperties, WillProperties {
  reasonString?: string
  subscriptionIdentifier?: number
}

/**
 * Reads a property length and the properties; undefined when there are none. Throws `ProtocolError`: 0x81 for a property that the packet
 * cannot have, 0x82 for one that comes twice (only user properties may) or has a value out of its range.
 */
export function readProperties (packet: Reader, scope: PropertyScope, limits: FrameLimits): Properties | undefined {
  const length = packet.varint()
  if (length === 0) return undefined
  if (length > packet.end - packet.at) throw malformed('the packet ends too early')
  const reader = new Reader(packet.buf, packet.at, packet.at + length)
  packet.at = reader.end
  const properties: Properties = {}
  let seenLow = 0
  let seenHigh = 0
  while (reader.at < reader.end) {
    const id = reader.byte()
    if (!scope.has(id)) throw malformed(`the packet cannot have the property ${id}`)
    if (id !== property.userProperty) {
      const bit = 1 << (id & 31)
      if (((id < 32 ? seenLow : seenHigh) & bit) !== 0) throw violation(`the property ${id} comes twice`)
      if (id < 32) seenLow |= bit
      else seenHigh |= bit
    }
    readProperty(reader, id, properties, limits)
  }
  return properties
}

function readProperty (reader: Reader, id: number, properties: Properties, limits: FrameLimits): void {
  switch (id) {
    case property.payloadFormat: properties.payloadFormat = flag(reader, id) ? 1 : 0; break
    case property.messageExpiry: properties.messageExpirySeconds = reader.uint32(); break
    case property.contentType: properties.contentType = reader.text(); break
    case property.responseTopic: // [MQTT-3.3.2-13], [MQTT-3.3.2-14]
      properties.responseTopic = reader.topic(limits)
      if (properties.responseTopic === '') throw invalidTopic('the response topic is empty')
      break
    case property.correlationData: properties.correlationData = reader.binary(); break
    case property.subscriptionIdentifier:
      if ((properties.subscriptionIdentifier = reader.varint()) === 0) throw violation('the subscription identifier is 0')
      break
    case property.sessionExpiry: properties.sessionExpirySeconds = reader.uint32(); break
    case property.authenticationMethod: properties.authenticationMethod = reader.text(); break
    case property.authenticationData: properties.authenticationData = reader.binary(); break
    case property.requestProblemInformation: properties.requestProblemInformation = flag(reader, id); break
    case property.willDelay: properties.willDelaySeconds = reader.uint32(); break
    case property.requestResponseInformation: properties.requestResponseInformation = flag(reader, id); break
    case property.reasonString: properties.reasonString = reader.text(); break
    case property.receiveMaximum:
      if ((properties.receiveMaximum = reader.uint16()) === 0) throw violation('Receive Maximum is 0')
      break
    case property.topicAliasMaximum: properties.topicAliasMaximum = reader.uint16(); break
    case property.topicAlias: // the server's Topic Alias Maximum is 0 [MQTT-3.3.2-8], [MQTT-3.3.2-9]
      throw new ProtocolError('the server takes no topic alias', reasonCodes.topicAliasInvalid)
    case property.userProperty: (properties.userProperties ??= []).push([reader.text(), reader.text()]); break
    case property.maximumPacketSize:
      if ((properties.maximumPacketBytes = reader.uint32()) === 0) throw violation('Maximum Packet Size is 0')
      break
    default: throw malformed(`unknown property ${id}`)
  }
}

function flag (reader: Reader, id: number): boolean {
  const value = reader.byte()
  if (value > 1) throw violation(`the property ${id} is neither 0 nor 1`)
  return value === 1
}
