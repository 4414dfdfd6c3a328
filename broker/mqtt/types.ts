/** 3 is MQTT 3.1 (`MQIsdp`), 4 is MQTT 3.1.1, 5 is MQTT 5. */
export type ProtocolVersion = 3 | 4 | 5
export type Qos = 0 | 1 | 2

/** Packet types, the upper four bits of the first byte (MQTT 5.0, section 2.1.2). */
export const packetTypes = {
  connect: 1,
  connack: 2,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  subscribe: 8,
  suback: 9,
  unsubscribe: 10,
  unsuback: 11,
  pingreq: 12,
  pingresp: 13,
  disconnect: 14,
  auth: 15
} as const

export type AckType = typeof packetTypes.puback | typeof packetTypes.pubrec | typeof packetTypes.pubrel | typeof packetTypes.pubcomp

export type UserProperties = Array<[string, string]>

/** MQTT 5 properties of a PUBLISH; what the client did not send is absent. */
export interface PublishProperties {
  /** 1 = the payload is UTF-8. */
  payloadFormat?: 0 | 1
  messageExpirySeconds?: number
  contentType?: string
  responseTopic?: string
  correlationData?: Buffer
  userProperties?: UserProperties
  /** What stands for the topic on this connection. */
  topicAlias?: number
}

/** MQTT 5 properties of a will. */
export interface WillProperties extends PublishProperties {
  willDelaySeconds?: number
}

/** MQTT 5 properties of a CONNECT. */
export interface ConnectProperties {
  sessionExpirySeconds?: number
  receiveMaximum?: number
  /** The largest packet the client takes, fixed header included. */
  maximumPacketBytes?: number
  topicAliasMaximum?: number
  requestResponseInformation?: boolean
  requestProblemInformation?: boolean
  userProperties?: UserProperties
  authenticationMethod?: string
  authenticationData?: Buffer
}

export interface Will {
  topic: string
  payload: Buffer
  qos: Qos
  retain: boolean
  /** MQTT 5; absent when empty. */
  properties?: WillProperties
}

export interface ConnectFrame {
  protocolVersion: ProtocolVersion
  /** Clean session (3.x), clean start (5). */
  clean: boolean
  /** 0 = off. */
  keepAliveSeconds: number
  /** Empty when the server has to choose one. */
  clientId: string
  will?: Will
  username?: string
  password?: Buffer
  /** MQTT 5; absent when empty. */
  properties?: ConnectProperties
}

export interface PublishFrame {
  /** Empty where an alias stands for it. */
  topic: string
  qos: Qos
  dup: boolean
  retain: boolean
  /** 0 at QoS 0. */
  packetId: number
  /** A view of the frame's buffer, not a copy. */
  payload: Buffer
  /** MQTT 5; undefined when empty. */
  properties: PublishProperties | undefined
}

export interface Subscription {
  filter: string
  qos: Qos
  /** MQTT 5, false before. */
  noLocal: boolean
  /** Retain as published; MQTT 5, false before. */
  rap: boolean
  /** Retain handling; MQTT 5, 0 before. */
  rh: 0 | 1 | 2
}

export interface SubscribeFrame {
  packetId: number
  subscriptions: Subscription[]
  subscriptionIdentifier?: number
  userProperties?: UserProperties
}

export interface UnsubscribeFrame {
  packetId: number
  filters: string[]
  userProperties?: UserProperties
}

/** The reason code is 0 where the packet has none. */
export interface AckFrame { packetId: number, reasonCode: number }

export interface DisconnectFrame { reasonCode: number, sessionExpirySeconds?: number }

/** `reasonCode`: 0x18, go on, or 0x19, begin anew. */
export interface AuthFrame { reasonCode: number, authenticationMethod: string, /** Empty where the packet has none. */ authenticationData: Buffer }

/** What the decoders accept beyond the packet size, which the `Framer` limits. */
export interface FrameLimits {
  /** Bytes of a client id. */
  maxClientIdBytes: number
  /** Bytes of a topic or a topic filter. */
  maxTopicBytes: number
  /** Levels of a topic or a topic filter. */
  maxTopicLevels: number
  /** Filters in one SUBSCRIBE or UNSUBSCRIBE. */
  maxFilters: number
  /** The largest topic alias. */
  maxTopicAlias: number
}

export const defaultFrameLimits: FrameLimits = {
  maxClientIdBytes: 256,
  maxTopicBytes: 4096,
  maxTopicLevels: 100,
  maxFilters: 1024,
  maxTopicAlias: 0
}
