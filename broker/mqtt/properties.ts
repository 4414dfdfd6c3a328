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
  serverReference: 0x1c,
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
/** A subscription identifier has a meaning here, and is refused by its own code. */
export const publishScope: PropertyScope = new Set([...message, property.topicAlias, property.subscriptionIdentifier])
export const subscribeScope: PropertyScope = new Set([property.subscriptionIdentifier, property.userProperty])
export const unsubscribeScope: PropertyScope = new Set([property.userProperty])
export const ackScope: PropertyScope = new Set([property.reasonString, property.userProperty])
export const authScope: PropertyScope = new Set([property.authenticationMethod, property.authenticationData, property.reasonString, property.userProperty])
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

type PropertyReader = (reader: Reader, properties: Properties, limits: FrameLimits) => void

/** How each property is read, by its identifier. */
const readers = new Map<number, PropertyReader>([
  [property.payloadFormat, (reader, properties) => { properties.payloadFormat = flag(reader, property.payloadFormat) ? 1 : 0 }],
  [property.messageExpiry, (reader, properties) => { properties.messageExpirySeconds = reader.uint32() }],
  [property.contentType, (reader, properties) => { properties.contentType = reader.text() }],
  // [MQTT-3.3.2-13], [MQTT-3.3.2-14]
  [property.responseTopic, (reader, properties, limits) => {
    properties.responseTopic = reader.topic(limits)
    if (properties.responseTopic === '') throw invalidTopic('the response topic is empty')
  }],
  [property.correlationData, (reader, properties) => { properties.correlationData = reader.binary() }],
  [property.subscriptionIdentifier, (reader, properties) => { properties.subscriptionIdentifier = positive(reader.varint(), 'the subscription identifier') }],
  [property.sessionExpiry, (reader, properties) => { properties.sessionExpirySeconds = reader.uint32() }],
  [property.authenticationMethod, (reader, properties) => { properties.authenticationMethod = reader.text() }],
  [property.authenticationData, (reader, properties) => { properties.authenticationData = reader.binary() }],
  [property.requestProblemInformation, (reader, properties) => { properties.requestProblemInformation = flag(reader, property.requestProblemInformation) }],
  [property.willDelay, (reader, properties) => { properties.willDelaySeconds = reader.uint32() }],
  [property.requestResponseInformation, (reader, properties) => { properties.requestResponseInformation = flag(reader, property.requestResponseInformation) }],
  [property.reasonString, (reader, properties) => { properties.reasonString = reader.text() }],
  [property.receiveMaximum, (reader, properties) => { properties.receiveMaximum = positive(reader.uint16(), 'Receive Maximum') }],
  [property.topicAliasMaximum, (reader, properties) => { properties.topicAliasMaximum = reader.uint16() }],
  // [MQTT-3.3.2-8], [MQTT-3.3.2-9]
  [property.topicAlias, (reader, properties, { maxTopicAlias }) => {
    const alias = reader.uint16()
    if (alias === 0 || alias > maxTopicAlias) throw new ProtocolError(`the topic alias ${alias} is not from 1 to ${maxTopicAlias}`, reasonCodes.topicAliasInvalid)
    properties.topicAlias = alias
  }],
  [property.userProperty, (reader, properties) => { (properties.userProperties ??= []).push([reader.text(), reader.text()]) }],
  [property.maximumPacketSize, (reader, properties) => { properties.maximumPacketBytes = positive(reader.uint32(), 'Maximum Packet Size') }]
])

function readProperty (reader: Reader, id: number, properties: Properties, limits: FrameLimits): void {
  const read = readers.get(id)
  if (read === undefined) throw malformed(`unknown property ${id}`)
  read(reader, properties, limits)
}

function positive (value: number, name: string): number {
  if (value === 0) throw violation(`${name} is 0`)
  return value
}

function flag (reader: Reader, id: number): boolean {
  const value = reader.byte()
  if (value > 1) throw violation(`the property ${id} is neither 0 nor 1`)
  return value === 1
}
