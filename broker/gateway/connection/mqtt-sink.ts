import { encodePublishProperties, noProperties, publishHeader, publishSize, writePublish, type ProtocolVersion } from '../../mqtt/index.ts'
import type { Topics } from '../../topics.ts'
import type { Sink } from '../delivery/sink.ts'
import type { Entry, Stream, StreamKind } from '../delivery/stream.ts'
import type { Evidence } from './evidence.ts'
import type { Output } from './output.ts'
import { PacketIds, type SentPacket } from './packet-ids.ts'

/** Unsent bytes above which delivery to a connection waits; not below a socket's own mark, or no drain would be heard of. */
const softOutputBytes = 65536
const header0 = publishHeader(0, false, false)
const headerRetained = publishHeader(0, false, true)
const header1 = publishHeader(1, false, false)
const header1dup = publishHeader(1, true, false)

/** The connection, as its sink needs it. */
export interface SinkPeer {
  readonly version: ProtocolVersion
  readonly user: string
  readonly output: Output
  /** It is not read at the moment, as others have their turn. */
  readonly waits: boolean
  /** The largest packet the client takes [MQTT-3.1.2-24 of MQTT 5]. */
  readonly maximumPacketBytes: number
  /** The server cannot go on with this connection. */
  fail (err: Error): void
}

export interface MqttSinkOptions {
  /** Packets that may be unacknowledged; at most `maxWindow`. */
  window: number
  /** What an earlier connection left unacknowledged; until it is sent again it is this one's to leave. */
  resumed: readonly SentPacket[]
  /** Which answers the client has; absent when nothing is remembered of the session's publishes. */
  evidence: Evidence | undefined
}

/** Writes what a session is delivered as PUBLISH packets, straight into the connection's output. */
export class MqttSink implements Sink {
  readonly #peer: SinkPeer
  readonly #output: Output
  readonly #topics: Topics
  readonly #evidence: Evidence | undefined
  readonly #sent: PacketIds
  #resumed: readonly SentPacket[]
  /** How far those are sent again. */
  #resumedAt = 0
  #inbox: Buffer | undefined

  constructor (peer: SinkPeer, topics: Topics, { window, resumed, evidence }: MqttSinkOptions) {
    this.#peer = peer
    this.#output = peer.output
    this.#topics = topics
    this.#evidence = evidence
    this.#sent = new PacketIds(window)
    this.#resumed = resumed
  }

  get crowded (): boolean { return this.#output.unsentBytes >= softOutputBytes }

  get unheard (): boolean { return this.#peer.waits }

  /** The topic's bytes. */
  label (kind: StreamKind, id: string): Buffer {
    if (kind === 'group') return Buffer.from(this.#topics.group(id.slice(2)))
    if (kind === 'event') return Buffer.from(this.#topics.event(this.#peer.user))
    this.#inbox ??= Buffer.from(this.#topics.inbox(this.#peer.user))
    return this.#inbox
  }

  deliver (stream: Stream, entry: Entry, again: boolean, leftMs: number | undefined): boolean {
    const { version, maximumPacketBytes } = this.#peer
    const { qos, label } = stream
    let properties: Buffer | undefined
    if (version === 5) {
      properties = noProperties
      // [MQTT-3.3.2-6]: what is left of the interval goes with the message.
      if (leftMs !== undefined) properties = encodePublishProperties({ messageExpirySeconds: Math.min(Math.ceil(leftMs / 1000), 0xffffffff) })
    }
    const size = publishSize(label, qos, entry.payload.length, properties)
    // [MQTT-3.1.2-25]: a packet that is too large for the client is dropped as if it had been sent.
    if (size > maximumPacketBytes) return false
    let header = header0
    let packetId = 0
    if (qos === 1) {
      const kept = again ? this.#resumedId(stream.id, entry.seq) : undefined
      packetId = this.#sent.add(stream.id, entry.seq, this.#evidence?.answered ?? 0, kept)
      header = again ? header1dup : header1
    }
    const target = this.#output.reserve(size)
    writePublish(target, this.#output.offset, header, packetId, label, properties, entry.payload)
    return true
  }

  /** The packet id that the entry had on an earlier connection. Entries come again in the order in which they were left. */
  #resumedId (stream: string, seq: number): number | undefined {
    while (this.#resumedAt < this.#resumed.length) {
      const one = this.#resumed[this.#resumedAt++] as SentPacket
      if (one.seq === seq && one.stream === stream) return one.packetId
    }
    return undefined
  }

  /** All is sent again that is left of what an earlier connection was sent. */
  resent (): void { this.#resumed = [] }

  /** The client's PUBACK; calls `acknowledge` with the entry. False when nothing has this packet id, and it is ignored. */
  acknowledge (packetId: number, session: { acknowledge (stream: string, seq: number): boolean }): boolean {
    const sent = this.#sent
    const at = sent.find(packetId)
    if (at < 0) return false
    const stream = sent.streamAt(at)
    const seq = sent.seqAt(at)
    this.#evidence?.arrived(sent.answeredAt(at))
    sent.free(at)
    session.acknowledge(stream, seq)
    return true
  }

  /** What is not acknowledged, oldest first. */
  inflight (): SentPacket[] {
    // Before it is sent again nothing else is.
    return this.#sent.count > 0 ? this.#sent.list() : [...this.#resumed]
  }

  notice (payload: Uint8Array): void { this.tell(this.#topics.notice(this.#peer.user), payload) }

  /** One packet at QoS 0, subscribed or not. */
  tell (topic: string, payload: Uint8Array, retained = false, correlationData?: Buffer): void {
    const { version, maximumPacketBytes } = this.#peer
    let properties: Buffer | undefined
    if (version === 5) properties = correlationData !== undefined ? encodePublishProperties({ correlationData }) : noProperties
    const topicBytes = Buffer.from(topic)
    const size = publishSize(topicBytes, 0, payload.length, properties)
    if (size > maximumPacketBytes || this.#output.closed) return
    const target = this.#output.reserve(size)
    writePublish(target, this.#output.offset, retained ? headerRetained : header0, 0, topicBytes, properties, payload)
  }

  fail (err: Error): void { this.#peer.fail(err) }
}
