import { encodePublishProperties, noProperties, publishHeader, publishSize, writePublish, type ProtocolVersion } from '../../mqtt/index.ts'
import type { Topics } from '../../topics.ts'
import type { Interest } from '../delivery/interest.ts'
import type { Own } from '../delivery/own-messages.ts'
import type { Sink } from '../delivery/sink.ts'
import type { Entry, Stream, StreamKind } from '../delivery/stream.ts'
import type { Traffic } from '../traffic.ts'
import type { CompactForms } from './compact-forms.ts'
import type { Evidence } from './evidence.ts'
import type { Output } from './output.ts'
import { firstIdBehind, PacketIds, type SentPacket } from './packet-ids.ts'
import type { GivenAliases } from './topic-aliases.ts'

/** Unsent bytes above which delivery to a connection waits; not below a socket's own mark, or no drain would be heard of. */
const softOutputBytes = 65536
const noTopic = new Uint8Array()
const header0 = publishHeader(0, false, false)
const headerRetained = publishHeader(0, false, true)
const header1 = publishHeader(1, false, false)
const header1dup = publishHeader(1, true, false)

/** The connection, as its sink needs it. */
export interface SinkPeer {
  readonly version: ProtocolVersion
  readonly user: string
  readonly output: Output
  readonly traffic: Traffic
  /** It is not read at the moment, as others have their turn. */
  readonly waits: boolean
  /** The largest packet the client takes [MQTT-3.1.2-24 of MQTT 5]. */
  readonly maximumPacketBytes: number
  /** Absent when the client takes none. */
  readonly aliases: GivenAliases | undefined
  /** The server cannot go on with this connection. */
  fail (err: Error): void
}

/** The session, as its sink needs it: what its subscriptions say beside their filters. */
interface SinkSession {
  readonly interest: Pick<Interest, 'identifies' | 'identifiersOf' | 'noLocalOf'>
  readonly own: Pick<Own, 'has'>
}

const nobody: SinkSession = { interest: { identifies: false, identifiersOf: () => [], noLocalOf: () => 'none' }, own: { has: () => false } }

/** What goes with an entry, but for its alias. */
interface Told { subscriptionIdentifiers: number[], messageExpirySeconds?: number }

function told (subscriptionIdentifiers: number[], leftMs: number | undefined): Told {
  return { subscriptionIdentifiers, ...leftMs !== undefined && { messageExpirySeconds: Math.min(Math.ceil(leftMs / 1000), 0xffffffff) } }
}

/** How an entry of a share is sent. `identifier`: of the shared subscription. */
interface DealtEntry { share: string, ticket: number, qos: 0 | 1, again: boolean, leftMs: number | undefined, identifier: number | undefined }

export interface MqttSinkOptions {
  /** Packets that may be unacknowledged; at most `maxWindow`. */
  window: number
  /** What an earlier connection left unacknowledged; until it is sent again it is this one's to leave. */
  resumed: readonly SentPacket[]
  /** Which answers the client has; absent when nothing is remembered of the session's publishes. */
  evidence: Evidence | undefined
  /** All connections' in common. */
  forms: CompactForms
}

/** Writes what a session is delivered as PUBLISH packets, straight into the connection's output. */
export class MqttSink implements Sink {
  readonly #peer: SinkPeer
  readonly #output: Output
  readonly #topics: Topics
  readonly #evidence: Evidence | undefined
  readonly #forms: CompactForms
  readonly #sent: PacketIds
  /** What was sent on an earlier connection and has not been sent again on this one. */
  #resumed: SentPacket[]
  #inbox: Buffer | undefined
  /** See `#addressed`. */
  #topic: Uint8Array = noTopic
  /** It has written entries of shares: those are no streams', whose names have a colon behind their first letter. */
  #deals = false
  /** Here and not asked of the interest: each delivery looks at it. */
  compact = false
  /** Whose it is; set before anything is delivered. */
  session: SinkSession = nobody

  constructor (peer: SinkPeer, topics: Topics, { window, resumed, evidence, forms }: MqttSinkOptions) {
    this.#peer = peer
    this.#output = peer.output
    this.#topics = topics
    this.#evidence = evidence
    this.#forms = forms
    this.#sent = new PacketIds(window, firstIdBehind(resumed, window))
    this.#resumed = [...resumed]
  }

  get crowded (): boolean { return this.#output.unsentBytes >= softOutputBytes }

  get version (): ProtocolVersion { return this.#peer.version }

  /** Bytes that wait to be sent. */
  get unsentBytes (): number { return this.#output.unsentBytes }

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
    const { qos } = stream
    const payload = this.compact ? this.#forms.of(stream, entry) : entry.payload
    let topic = stream.label
    let properties: Buffer | undefined
    if (version === 5) {
      const own = this.session.own.has(stream, entry.seq)
      // Of what it has published itself only a copy that it has not acknowledged was sent before: that is sent again, whatever it asks for by now [MQTT-4.4.0-1].
      if (own) again &&= this.#isUnacknowledged(stream, entry)
      if (own && !again && this.#keepsBack(stream)) return false
      properties = this.#addressed(stream, payload.length, leftMs, own)
      topic = this.#topic
    }
    const size = publishSize(topic, qos, payload.length, properties)
    // [MQTT-3.1.2-25]: a packet that is too large for the client is dropped as if it had been sent.
    if (size > maximumPacketBytes) return false
    let header = header0
    let packetId = 0
    if (qos === 1) {
      const kept = again ? this.#resumedId(stream.id, entry.seq) : undefined
      packetId = this.#sent.add(stream.id, entry.seq, this.#evidence?.answered ?? 0, kept)
      header = again ? header1dup : header1
    }
    this.#peer.traffic.sent++
    const target = this.#output.reserve(size)
    writePublish(target, this.#output.offset, header, packetId, topic, properties, payload)
    return true
  }

  /**
   * The properties of an entry for MQTT 5; `#topic` goes with them: its alias says it to a client that knows it. Without an alias where there is none, or where
   * an entry with one is too large for the client. Most entries have the same as the one before: those are encoded already.
   */
  #addressed (stream: Stream, payloadBytes: number, leftMs: number | undefined, own: boolean): Buffer {
    const { label, qos } = stream
    const told = leftMs === undefined && !this.session.interest.identifies ? undefined : this.#told(stream, leftMs, own)
    return this.#aliased(label, qos, payloadBytes, told)
  }

  #isUnacknowledged ({ id }: Stream, { seq }: Entry): boolean { return this.#resumed.some(one => one.seq === seq && one.stream === id) }

  /** What the session publishes itself does not come by such a stream [MQTT-3.8.3-3]. */
  #keepsBack ({ kind, id }: Stream): boolean { return this.session.interest.noLocalOf(kind, id) === 'all' }

  #aliased (label: Uint8Array, qos: 0 | 1, payloadBytes: number, told: Told | undefined): Buffer {
    const { aliases, maximumPacketBytes } = this.#peer
    const given = aliases?.ofLabel(label)
    if (given !== undefined) {
      const properties = told === undefined ? given.properties : encodePublishProperties({ ...told, topicAlias: given.alias })
      this.#topic = given.told ? noTopic : label
      if (publishSize(this.#topic, qos, payloadBytes, properties) <= maximumPacketBytes) {
        given.told = true
        return properties
      }
    }
    this.#topic = label
    return told === undefined ? noProperties : encodePublishProperties(told)
  }

  /** [MQTT-3.3.2-6]: what is left of the interval goes with the message; [MQTT-3.3.4-3], [MQTT-3.3.4-4]: so do the identifiers of what brings it. */
  #told ({ kind, id }: Stream, leftMs: number | undefined, own: boolean): Told {
    const { interest } = this.session
    return told(interest.identifies ? interest.identifiersOf(kind, id, own) : [], leftMs)
  }

  /** Writes an entry of a share; at QoS 1 it is acknowledged as `ticket` of `share`. False when it is too large for the client. */
  deal (stream: Stream, entry: Entry, { share, ticket, qos, again, leftMs, identifier }: DealtEntry): boolean {
    const { version, maximumPacketBytes } = this.#peer
    const payload = this.compact ? this.#forms.of(stream, entry) : entry.payload
    let topic = stream.label
    let properties: Buffer | undefined
    if (version === 5) {
      const more = leftMs === undefined && identifier === undefined ? undefined : told(identifier === undefined ? [] : [identifier], leftMs)
      properties = this.#aliased(stream.label, qos, payload.length, more)
      topic = this.#topic
    }
    const size = publishSize(topic, qos, payload.length, properties)
    if (size > maximumPacketBytes) return false
    this.#deals = true
    const packetId = qos === 1 ? this.#sent.add(share, ticket, this.#evidence?.answered ?? 0) : 0
    this.#peer.traffic.sent++
    const target = this.#output.reserve(size)
    writePublish(target, this.#output.offset, qos === 0 ? header0 : again ? header1dup : header1, packetId, topic, properties, payload)
    return true
  }

  /** The packet id that the entry had on an earlier connection. */
  #resumedId (stream: string, seq: number): number | undefined {
    const at = this.#resumed.findIndex(one => one.seq === seq && one.stream === stream)
    return at < 0 ? undefined : this.#resumed.splice(at, 1)[0]?.packetId
  }

  forget (stream: string, seq: number): void { this.#resumedId(stream, seq) }

  /** All that there was room for is sent again of what is left of an earlier connection; `rest` comes as the client acknowledges. */
  resent (rest: readonly SentPacket[]): void { this.#resumed = [...rest] }

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
    const sent = this.#sent
    // What was dealt is its share's again.
    const own = this.#deals ? sent.list().filter(({ stream }) => stream[1] === ':') : sent.list()
    if (this.#resumed.length === 0) return own
    const rest = this.#resumed.filter(({ packetId }) => sent.find(packetId) < 0)
    return [...own, ...rest].sort((a, b) => sent.age(b.packetId) - sent.age(a.packetId))
  }

  notice (payload: Uint8Array): void { this.tell(this.#topics.notice(this.#peer.user), payload) }

  /** One packet at QoS 0, subscribed or not. */
  tell (topic: string, payload: Uint8Array, { retained = false, correlationData, identifier }: { retained?: boolean, correlationData?: Buffer | undefined, identifier?: number | undefined } = {}): void {
    const { version, maximumPacketBytes } = this.#peer
    let properties: Buffer | undefined
    if (version === 5) properties = encodePublishProperties({ ...correlationData !== undefined && { correlationData }, ...identifier !== undefined && { subscriptionIdentifiers: [identifier] } })
    const topicBytes = Buffer.from(topic)
    const size = publishSize(topicBytes, 0, payload.length, properties)
    if (size > maximumPacketBytes || this.#output.closed) return
    this.#peer.traffic.sent++
    const target = this.#output.reserve(size)
    writePublish(target, this.#output.offset, retained ? headerRetained : header0, 0, topicBytes, properties, payload)
  }

  fail (err: Error): void { this.#peer.fail(err) }
}
