import type { SessionResume } from '../../link/port.ts'
import { encodePublishProperties, noProperties, publishHeader, publishSize, writePublish, type ProtocolVersion } from '../../mqtt/index.ts'
import type { Evidence } from '../connection/evidence.ts'
import type { Output } from '../connection/output.ts'
import type { Pump } from './pump.ts'
import { maxBehind, type Scan } from './scan.ts'
import { Stream, streamKind, unknownHead, type StreamKind } from './stream.ts'
import { Interest } from './interest.ts'
import { maxWindow, Window } from './window.ts'

const readBytes = 65536
/** Of what is sent again; the window bounds how many. */
const resendBytes = 1_048_576
/** Messages of one read for a device that keeps up with its backlog. */
const maxReadAhead = 128
/** What was read ahead is kept this long. */
const aheadMs = 1000
const header0 = publishHeader(0, false, false)
const header1 = publishHeader(1, false, false)
const header1dup = publishHeader(1, true, false)

/** The connection of a session, as far as delivery needs it. */
export interface Link {
  readonly version: ProtocolVersion
  readonly output: Output
  /** The largest packet the client takes [MQTT-3.1.2-24 of MQTT 5]. */
  readonly maximumPacketBytes: number
  /** The server cannot go on with this connection. */
  fail (err: Error): void
}

/** What of a message delivery needs. */
export interface Deliverable { seq: number, payload: Uint8Array, expiresAt?: number }

/** A page of a stream's log, of which `at` entries were sent. `head` is the stream's when the page was asked for. */
interface Ahead { stream: Stream, entries: readonly Deliverable[], at: number, last: number, head: number }

/**
 * A connected session: which logs it reads and how far it has got. Its memory holds the window and the streams that are not
 * caught up; messages only for the moment of a read.
 */
export class Session {
  readonly id: string
  readonly user: string
  readonly clientId: string
  readonly link: Link
  readonly pump: Pump
  readonly streams = new Map<string, Stream>()
  readonly interest: Interest
  /** Seconds that it outlives its connection; 0 = its cursors are not kept. */
  expirySeconds: number
  closed = false
  /** Which answers the client has; absent when nothing is remembered of the session's publishes. */
  readonly evidence: Evidence | undefined
  readonly #window: Window
  readonly #softOutputBytes: number
  #behind: Stream[] = []
  #scans: Scan[] = []
  #reading = false
  #woken = false
  #ahead: Ahead | undefined
  #aheadAt = 0
  #readAhead = 0
  /** What an earlier connection left unacknowledged, until it is sent again. */
  #unsent: SessionResume['inflight'] = []
  /** Packets of streams that were dropped may be in the window. */
  #orphans = false
  /** What was acknowledged of streams that were dropped, while a scan that may not have seen it goes on. */
  readonly #lateAcks = new Map<string, number>()

  constructor (pump: Pump, link: Link, of: { id: string, user: string, clientId: string, expirySeconds: number, window: number, softOutputBytes: number, evidence?: Evidence }) {
    this.pump = pump
    this.link = link
    this.id = of.id
    this.user = of.user
    this.clientId = of.clientId
    this.expirySeconds = of.expirySeconds
    this.#window = new Window(Math.min(of.window, maxWindow))
    this.#softOutputBytes = of.softOutputBytes
    this.evidence = of.evidence
    this.interest = new Interest(this)
  }

  get persistent (): boolean { return this.expirySeconds > 0 }
  get behindCount (): number { return this.#behind.length }
  get scans (): readonly Scan[] { return this.#scans }

  /** The QoS at which the session reads a stream; -1 when it does not. */
  qosOf (kind: StreamKind, id: string): -1 | 0 | 1 { return this.interest.qosOf(kind, id) }

  /** Starts to read a stream after `cursor`; undefined when the session does not subscribe to it. */
  addStream (id: string, cursor: number, head: number): Stream | undefined {
    const kind = streamKind(id)
    const qos = this.qosOf(kind, id)
    if (qos === -1) return undefined
    cursor = Math.max(cursor, this.#lateAcks.get(id) ?? 0)
    const stream = new Stream(this, id, kind, this.pump.topicOf(this, kind, id), qos, cursor, head)
    // Subscribed anew: what is in flight is not sent a second time, and holds the cursor of the new stream.
    if (this.#orphans && qos === 1) this.#window.adopt(stream)
    this.streams.set(id, stream)
    if (kind === 'group') this.pump.addGroupStream(stream)
    return stream
  }

  dropStream (stream: Stream): void {
    stream.closed = true
    if (stream.inflight > 0) this.#orphans = true
    this.pump.report(stream)
    this.streams.delete(stream.id)
    if (stream.kind === 'group') this.pump.removeGroupStream(stream)
  }

  /** A commit to a stream of this session. */
  live (stream: Stream, message: Deliverable): void {
    const { head, sentTo } = stream
    // It may have been read from the log before this was heard.
    if (message.seq <= sentTo) return
    if (head === unknownHead || message.seq > head) stream.head = message.seq
    if (sentTo < head || stream.queued) return
    if (this.#hasRoom(stream)) this.#send(stream, message)
    else if (stream.qos === 0) stream.sentTo = stream.acked = message.seq
    else this.queueBehind(stream)
  }

  #hasRoom (stream: Stream): boolean { return (stream.qos === 0 || this.#window.free > 0) && !this.crowded }

  /** So much waits to be sent that what may be lost is not sent. */
  get crowded (): boolean { return this.link.output.unsentBytes >= this.#softOutputBytes }

  #send (stream: Stream, message: Deliverable, packetId?: number): void {
    const { link } = this
    let properties: Buffer | undefined
    if (link.version === 5) properties = noProperties
    stream.sentTo = message.seq
    if (message.expiresAt !== undefined) {
      const leftMs = message.expiresAt - this.pump.now()
      if (leftMs <= 0) return this.#skipped(stream)
      // [MQTT-3.3.2-6]: what is left of the interval goes with the message.
      if (link.version === 5) properties = encodePublishProperties({ messageExpirySeconds: Math.min(Math.ceil(leftMs / 1000), 0xffffffff) })
    }
    const { qos, topic } = stream
    const size = publishSize(topic, qos, message.payload.length, properties)
    // [MQTT-3.1.2-25]: a packet that is too large for the client is dropped as if it had been sent.
    if (size > link.maximumPacketBytes) return this.#skipped(stream)
    let header = header0
    if (qos === 1) {
      packetId = this.#window.add(stream, message.seq, this.evidence?.answered ?? 0, packetId)
      header = message.seq <= stream.redeliverTo ? header1dup : header1
    }
    const target = link.output.reserve(size)
    writePublish(target, link.output.offset, header, packetId ?? 0, topic, properties, message.payload as Buffer)
  }

  #skipped (stream: Stream): void {
    if (stream.inflight > 0 || stream.qos === 0) return
    stream.acked = stream.sentTo
    this.pump.markDirty(stream)
  }

  readonly #settled = (stream: Stream, seq: number): void => {
    stream.acked = stream.inflight === 0 ? Math.max(seq, stream.closed ? seq : stream.sentTo) : seq
    this.pump.markDirty(stream)
    if (stream.closed && this.#scans.some(scan => scan.kind === stream.kind && !scan.done)) this.#lateAcks.set(stream.id, seq)
  }

  /** The client's PUBACK. False when nothing has this packet id: it may answer an earlier connection's packet, and is ignored. */
  acknowledge (packetId: number): boolean {
    const answered = this.#window.acknowledge(packetId, this.#settled)
    if (answered < 0) return false
    this.evidence?.arrived(answered)
    if (this.#behind.length > 0) this.#wake()
    return true
  }

  /** Reads on at the end of this turn: the acknowledgements of one read make room for one step, not for one each. */
  #wake (): void {
    if (this.#woken) return
    this.#woken = true
    setImmediate(() => {
      this.#woken = false
      this.catchUp()
    })
  }

  queueBehind (stream: Stream): void {
    if (stream.queued || stream.closed) return
    stream.queued = true
    this.#behind.push(stream)
    this.catchUp()
  }

  /** Reads on for the streams that are behind, in turn, as far as window and socket have room. */
  catchUp (): void {
    if (this.closed || this.#reading) return
    while (this.#behind.length > 0 && (this.#behind[0] as Stream).closed) this.#behind.shift()
    const stream = this.#behind[0]
    if (stream === undefined || this.#window.free === 0 || this.crowded) return
    if (this.#ahead?.stream === stream) return this.#deliver(this.#ahead)
    this.#ahead = undefined
    if (this.pump.pauses(this)) return
    this.#reading = true
    const { head } = stream
    // A device that takes what it gets is read ahead for; the first read brings no more than it has room for.
    const limit = Math.max(this.#window.free, this.#readAhead)
    this.pump.engine.read({ user: this.user, stream: stream.id, after: stream.sentTo, limit, maxBytes: readBytes }).then(page => {
      this.#reading = false
      this.pump.wasRead(page.entries.length)
      if (this.closed) return
      if (stream.closed) this.catchUp()
      else this.#deliver({ stream, entries: page.entries, at: 0, last: page.last, head })
    }).catch((err: Error) => {
      this.#reading = false
      this.fail(err)
    })
  }

  /** Sends of a page what there is room for; the stream is the first of those that are behind. */
  #deliver (page: Ahead): void {
    const { stream, entries, head } = page
    while (page.at < entries.length) {
      if (!this.#hasRoom(stream)) {
        this.#ahead = page
        this.#aheadAt = this.pump.steady()
        return
      }
      this.#send(stream, entries[page.at++] as Deliverable)
    }
    this.#ahead = undefined
    this.#readAhead = Math.min(Math.max(this.#readAhead, this.#window.capacity) * 2, maxReadAhead)
    const before = stream.sentTo
    stream.sentTo = Math.max(before, entries.length === 0 && page.last <= before ? head : page.last)
    if (stream.sentTo > before) this.#skipped(stream)
    this.#behind.shift()
    stream.queued = false
    if (stream.sentTo < stream.head) this.queueBehind(stream)
    else if (this.#behind.length === 0) this.#readAhead = 0
    if (this.#behind.length < maxBehind / 2) for (const scan of this.#scans) scan.step()
    this.catchUp()
  }

  /** Forgets what was read ahead for a device that has taken nothing for a while: it costs a read when it does again. */
  trim (now: number): void {
    if (this.#ahead === undefined || now - this.#aheadAt < aheadMs) return
    this.#ahead = undefined
    this.#readAhead = 0
  }

  /** What an earlier connection left unacknowledged, for `resend`; until then it is this one's to leave. */
  resumes (inflight: SessionResume['inflight']): void { this.#unsent = inflight }

  /** Sends it again with the same packet ids [MQTT-4.4.0-1]. */
  async resend (): Promise<void> {
    const wanted = this.#unsent.slice(0, this.#window.capacity).filter(one => this.qosOf(streamKind(one.stream), one.stream) === 1)
    const numbers = new Map<string, number[]>()
    for (const { stream, seq } of wanted) {
      const seqs = numbers.get(stream)
      if (seqs === undefined) numbers.set(stream, [seq])
      else seqs.push(seq)
    }
    const found = new Map(await Promise.all([...numbers].map(async ([stream, seqs]) => [stream, await this.#entriesAt(stream, seqs)] as const)))
    if (this.closed) return
    this.#unsent = []
    for (const one of wanted) {
      const entry = found.get(one.stream)?.get(one.seq)
      if (entry === undefined) continue
      const stream = this.streams.get(one.stream) ?? this.addStream(one.stream, one.seq - 1, unknownHead)
      if (stream === undefined) continue
      stream.redeliverTo = Math.max(stream.redeliverTo, one.seq)
      this.#send(stream, entry, one.packetId)
    }
  }

  /** What is left of these numbers of a stream, read in pages: they mostly follow each other. */
  async #entriesAt (stream: string, seqs: readonly number[]): Promise<Map<number, Deliverable>> {
    const wanted = [...new Set(seqs)].sort((a, b) => a - b)
    const found = new Map<number, Deliverable>()
    while (wanted.length > 0 && !this.closed) {
      const first = wanted[0] as number
      const page = await this.pump.engine.read({ user: this.user, stream, after: first - 1, limit: wanted.length, maxBytes: resendBytes })
      const entries = new Map(page.entries.map(entry => [entry.seq, entry]))
      while (wanted.length > 0 && (wanted[0] as number) <= Math.max(first, page.last)) {
        const seq = wanted.shift() as number
        const entry = entries.get(seq)
        if (entry !== undefined) found.set(seq, entry)
      }
    }
    return found
  }

  addScan (scan: Scan): void {
    this.#scans.push(scan)
    if (scan.kind === 'group') this.pump.groupScans.add(scan)
    scan.step()
  }

  /** A scan that is done is kept for direct and own streams: it says that what is not in memory is caught up. */
  scanEnded (scan: Scan): void {
    this.pump.groupScans.delete(scan)
    if (scan.kind === 'group' || scan.kind === 'event') this.#scans = this.#scans.filter(other => other !== scan)
    if (this.#scans.every(other => other.done)) this.#lateAcks.clear()
  }

  cancelScans (kind: StreamKind): void {
    for (const scan of this.#scans) {
      if (scan.kind !== kind) continue
      scan.cancel()
      this.pump.groupScans.delete(scan)
    }
    this.#scans = this.#scans.filter(scan => scan.kind !== kind)
  }

  fail (err: Error): void { if (!this.closed) this.link.fail(err) }

  /** Ends delivery, reports the cursors, and returns what is not acknowledged. */
  close (): SessionResume['inflight'] {
    // Before it is sent again nothing else is: the window is empty.
    const open = this.#unsent.length > 0 ? this.#unsent : this.#window.list()
    this.closed = true
    for (const kind of ['direct', 'group', 'own', 'event'] as const) this.cancelScans(kind)
    for (const stream of this.streams.values()) {
      if (stream.inflight > 0) stream.dirty = true
      this.dropStream(stream)
    }
    this.#behind = []
    return open
  }
}
