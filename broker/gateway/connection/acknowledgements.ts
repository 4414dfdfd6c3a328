/** PUBACK, PUBREC, PUBREL and PUBCOMP of a client. Packet ids of the upper half are ordinary topics'. */
import { encodeAck, packetTypes, type AckFrame, type ProtocolVersion } from '../../mqtt/index.ts'
import type { Session } from '../delivery/session.ts'
import type { OrdinaryClient } from '../ordinary-topics.ts'
import { packetUnits, type Allowance } from './allowance.ts'
import type { Evidence } from './evidence.ts'
import type { MqttSink } from './mqtt-sink.ts'
import type { Output } from './output.ts'
import { maxChatPacketId } from './packet-ids.ts'
import { qos2, type Publishes } from './publishes.ts'

/** PUBREL and PUBCOMP of MQTT 5 (sections 3.6.2.1, 3.7.2.1). */
const unknownPacketId = 0x92

export interface AcknowledgingClient {
  readonly version: ProtocolVersion
  readonly output: Output
  readonly session: Session | undefined
  readonly sink: MqttSink | undefined
  readonly ordinary: OrdinaryClient | undefined
  readonly allowance: Allowance
}

/** The client has what the server sent: PUBACK, PUBREC, PUBCOMP; its frame is `buf[frameStart, end)`. */
export function acknowledged (client: AcknowledgingClient, type: number, { packetId, reasonCode }: AckFrame, buf: Buffer, frameStart: number, end: number): void {
  if (type === packetTypes.pubrec && client.version === 5 && client.ordinary?.hasInFlight(packetId) !== true) {
    // A 3.1.1 client has no reason code: it is answered as if the message were there. One of failure ends the exchange (MQTT 5, section 4.3.3).
    if (reasonCode < 0x80) client.output.write(encodeAck(packetTypes.pubrel, client.version, packetId, unknownPacketId))
  } else if (packetId > maxChatPacketId) client.ordinary?.forward(buf.subarray(frameStart, end))
  // What the server asked for is free.
  else if (type === packetTypes.puback && client.session !== undefined && client.sink?.acknowledge(packetId, client.session) === true) return client.ordinary?.wake()
  client.allowance.spend(packetUnits)
}

export interface ReleasingClient {
  readonly version: ProtocolVersion
  readonly output: Output
  readonly publishes: Publishes
  readonly evidence: Evidence | undefined
  readonly ordinary: OrdinaryClient | undefined
  readonly allowance: Allowance
}

/** PUBREL: the client's QoS 2 publish is at its end; its frame is `buf[frameStart, end)`. */
export function released (client: ReleasingClient, packetId: number, buf: Buffer, frameStart: number, end: number): void {
  client.allowance.spend(packetUnits)
  const { states } = client.publishes
  const known = states.get(packetId)
  if (known !== qos2.free) states.set(packetId, qos2.free)
  if (known === qos2.answered) client.evidence?.reuse(packetId)
  // After a reconnect the id may be one that is kept for the session with its ordinary topics.
  if (known === qos2.ordinary || (known === qos2.free && client.ordinary !== undefined)) {
    client.ordinary?.forward(buf.subarray(frameStart, end))
    return
  }
  const unknown = known === qos2.free && client.version === 5
  client.output.write(encodeAck(packetTypes.pubcomp, client.version, packetId, unknown ? unknownPacketId : 0))
}
