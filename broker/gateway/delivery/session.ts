import { CatchingUp } from './catching-up.ts'
import type { Dealt } from './dealt.ts'
import { Interest } from './interest.ts'
import { Own } from './own-messages.ts'
import { Passed } from './passed.ts'
import { leastPressing, nearly, pressingWindows, unheardMs } from './pace.ts'
import { ends, holdAll, sendAgain, type Place } from './resend.ts'
import { maxBehind, Scan } from './scan.ts'
import type { SessionOptions } from './session-options.ts'
import type { Shared } from './shared.ts'
import type { Sink } from './sink.ts'
import { leftBehind, Stream, streamKind, unknownHead, type Entry, type StreamKind } from './stream.ts'
import { Window } from './window.ts'

/**
 * A connected session: which logs it reads and how far it has got. Its memory holds the window and the streams that are not
 * caught up; messages only for the moment of a read. What it sends goes into its sink.
 */
export class Session {
  readonly id: string
  readonly user: string
  readonly sink: Sink
  readonly streams = new Map<string, Stream>()
  readonly interest = new Interest()
  readonly own: Own
  /** Where outputs may come late or twice. */
  readonly passed: Passed | undefined
  /** Seconds that it outlives its connection; 0 = its cursors are not kept. */
  expirySeconds: number
  closed = false
  /** Set while it is, or was, a member of shares. */
  dealt: Dealt | undefined
  readonly #resumed: boolean
  readonly #shared: Shared
  readonly #window: Window
  readonly #catchingUp: CatchingUp
  #scans: Scan[] = []
  /** How far streams were sent on earlier connections, where the window has no room for all of it. */
  #begun: ReadonlyMap<string, number> | undefined
  /** What was acknowledged of streams that were dropped, while a scan that may not have seen it goes on. */
  readonly #lateAcks = new Map<string, number>()

  constructor (shared: Shared, sink: Sink, { id, user, expirySeconds, resumed = false, own = [], window }: SessionOptions) {
    this.#resumed = resumed
    this.#shared = shared
    this.sink = sink
    this.id = id
    this.own = new Own(shared.own, id, this.interest)
    this.own.restore(own)
    this.user = user
    this.expirySeconds = expirySeconds
    this.passed = shared.lateMs > 0 ? new Passed(shared.now()) : undefined
    this.#window = new Window(window)
    this.#catchingUp = new CatchingUp(this, shared)
  }

  get persistent (): boolean { return this.expirySeconds > 0 }
  /** It has cursors; one that is to end with this connection, too. */
  get stored (): boolean { return this.persistent || this.#resumed }
  get cold (): boolean { return this.sink.position !== undefined }
  get behindCount (): number { return this.#catchingUp.count }
  get scans (): readonly Scan[] { return this.#scans }
  /** It has been sent all that there was when it was looked. */
  get rested (): boolean { return this.behindCount === 0 && this.#scans.every(({ done }) => done) }
  get free (): number { return this.#window.free }
  get inflight (): number { return this.#window.count }
  get capacity (): number { return this.#window.capacity }
  /** Entries that were ever sent and had to be acknowledged. */
  get sent (): number { return this.#window.added }
  /** So much waits to be sent that what may be lost is not sent. */
  get crowded (): boolean { return this.sink.crowded }
  /** So many places of the window are taken by what is no stream. */
  lend (entries: number): void { this.#window.lent = entries }
  /** The QoS at which the session reads a stream; -1 when it does not. */
  qosOf (kind: StreamKind, id: string): -1 | 0 | 1 { return this.interest.qosOf(kind, id) }

  /** Its interest has changed: it goes on with what is in it. */
  applyInterest (): void {
    this.sumInterest()
    this.interest.apply(this)
  }

  /** Only knows what is in its interest: a session that goes on needs that for what is sent again, before it reads. */
  sumInterest (): void {
    this.interest.sum()
    this.sink.compact = this.interest.compact
  }

  /** Starts to read a stream after `cursor`; undefined when the session does not subscribe to it. */
  addStream (id: string, cursor: number, head: number): Stream | undefined {
    const kind = streamKind(id)
    const qos = this.qosOf(kind, id)
    if (qos === -1) return undefined
    cursor = Math.max(cursor, this.#lateAcks.get(id) ?? 0)
    const stream = new Stream(this, id, kind, this.sink.label(kind, id), qos, cursor, head)
    stream.redeliverTo = this.#begun?.get(id) ?? 0
    // Subscribed anew: what is in flight is not sent a second time, and holds the cursor of the new stream.
    if (qos === 1) this.#window.adopt(stream)
    this.streams.set(id, stream)
    if (kind === 'group') this.#shared.groups.add(stream)
    return stream
  }

  /** The window has entries of a log that no stream of it in memory takes care of. */
  orphaned (id: string): boolean { return !this.streams.has(id) && this.#window.hasOrphans(id) }

  dropStream (stream: Stream): void {
    stream.closed = true
    if (stream.inflight > 0) this.#window.orphan(stream.id)
    this.#shared.pressure.ease(stream)
    this.#shared.recent.done(stream.id, stream)
    this.#shared.cursors.report(stream)
    this.passed?.note(stream.id, stream.acked)
    this.streams.delete(stream.id)
    if (stream.kind === 'group') this.#shared.groups.remove(stream)
  }

  /** A commit to a stream of this session. */
  live (stream: Stream, entry: Entry): void {
    const { head, sentTo } = stream
    // It may have been read from the log before this was heard.
    if (entry.seq <= sentTo) return
    if (head === unknownHead || entry.seq > head) stream.head = entry.seq
    if (sentTo < head || stream.queued) return this.#behind(stream, entry)
    const gap = entry.seq !== sentTo + 1 && this.#countsAll(stream)
    if (!gap && (stream.qos === 0 || this.#window.free > 0) && !this.sink.crowded) return this.send(stream, entry)
    if (stream.qos === 0) {
      stream.sentTo = stream.acked = entry.seq
      return
    }
    // What was not heard is in the log: nobody is to wait for that.
    if (gap) stream.excused = true
    this.#behind(stream, entry)
    this.queueBehind(stream)
  }

  /** A number that is left out was missed. Not where only live entries count, nor where numbers are left out by nature. */
  #countsAll ({ qos, kind }: Stream): boolean { return qos === 1 && (kind !== 'own' || this.passed !== undefined) }

  /** Numbers up to `upTo` of a stream were committed, and may never be heard of: they come from the log. */
  missed (stream: Stream, upTo: number): void {
    // Where a scan is to tell how far the log goes, it is told of this.
    if (stream.qos === 0 || upTo <= stream.sentTo || stream.head === unknownHead) return
    stream.head = Math.max(stream.head, upTo)
    stream.excused = true
    this.#catchingUp.again(stream)
    this.queueBehind(stream)
  }

  /** The newest entry of a stream has to wait. */
  #behind (stream: Stream, entry: Entry): void {
    if (stream.kind !== 'direct' && stream.kind !== 'group') return
    const { recent, pressure } = this.#shared
    const behind = entry.seq - stream.sentTo
    // Who comes back with a backlog was never live: nobody waits for that.
    if (behind > nearly) return pressure.ease(stream)
    recent.begin(stream.id, entry, stream)
    if (behind === 1) this.#catchingUp.again(stream)
    if (behind >= this.#pressingAt && this.keepsPace) pressure.press(stream)
  }

  get #pressingAt (): number { return Math.max(this.#window.capacity * pressingWindows, leastPressing) }

  /** It takes what it gets as fast as the server sends it. */
  get keepsPace (): boolean {
    const paceMs = this.sink.unheard ? Math.max(this.#shared.paceMs, unheardMs) : this.#shared.paceMs
    return !this.closed && !this.sink.crowded && this.#window.oldestAt >= this.#shared.steady() - paceMs
  }

  /** Gives the sink the stream's next entry; there is room for it. */
  send (stream: Stream, entry: Entry): void {
    stream.sentTo = entry.seq
    const leftMs = entry.expiresAt === undefined ? undefined : entry.expiresAt - this.#shared.now()
    if ((leftMs !== undefined && leftMs <= 0) || !this.sink.deliver(stream, entry, entry.seq <= stream.redeliverTo, leftMs)) return this.#passOver(stream, entry.seq)
    if (stream.qos === 1) this.#window.add(stream, entry.seq, this.#shared.steady())
  }

  /** The stream's next entry is over without being sent. */
  #passOver (stream: Stream, seq: number): void {
    if (seq <= stream.redeliverTo) this.sink.forget?.(stream.id, seq)
    this.skipped(stream)
  }

  /** The stream's last numbers need not be sent. */
  skipped (stream: Stream): void {
    if (stream.inflight > 0 || stream.qos === 0) return
    stream.acked = stream.sentTo
    this.#moved(stream)
  }

  #moved (stream: Stream): void {
    this.#shared.cursors.moved(stream)
    this.own.passed(stream)
  }

  readonly #settled = (stream: Stream, seq: number): void => {
    stream.acked = stream.inflight === 0 ? Math.max(seq, stream.closed ? seq : stream.sentTo) : seq
    this.#moved(stream)
    if (stream.closed && this.#scans.some(scan => scan.kind === stream.kind && !scan.done)) this.#lateAcks.set(stream.id, seq)
  }

  /** The device has an entry. False when it was not sent, or acknowledged before. */
  acknowledge (stream: string, seq: number): boolean {
    if (!this.#window.acknowledge(stream, seq, this.#settled)) return false
    if (this.#catchingUp.count > 0) this.#catchingUp.wake()
    if (this.dealt !== undefined) this.dealt.acknowledged(stream, seq)
    return true
  }

  /** Entries of a stream that was behind have been sent. */
  advanced (stream: Stream): void {
    const behind = stream.head - stream.sentTo
    if (behind <= 0) stream.excused = false
    if (stream.pressing && behind <= this.#pressingAt / 2) this.#shared.pressure.ease(stream)
  }

  queueBehind (stream: Stream): void { this.#catchingUp.queue(stream) }
  /** Reads on for what is behind. To be called when the sink is not crowded any more. */
  catchUp (): void {
    this.#catchingUp.catchUp()
    this.dealt?.wake()
  }

  /** To be called now and then, with the time of `Shared.steady`. */
  trim (now: number): void { this.#catchingUp.trim(now) }
  caughtUp (): void {
    if (this.behindCount < maxBehind / 2) for (const scan of this.#scans) scan.step()
    this.#rest()
  }

  #rest (): void { if (this.rested) this.sink.rested?.() }

  /**
   * Sends again what an earlier connection left unacknowledged, before anything else is sent. Returns what the window has no room for: its
   * streams bring it, with what else they have.
   */
  async resend <P extends Place>(places: readonly P[]): Promise<readonly P[]> {
    const rest = places.slice(this.#window.capacity)
    if (rest.length > 0) this.#begun = ends(rest)
    await sendAgain(this, this.#shared.engine, places.slice(0, this.#window.capacity))
    return rest
  }

  /** For what an earlier connection was sent of a log that the session does not read any more: it is completed [MQTT-3.10.4-3]. */
  leftStream (id: string, cursor: number): Stream {
    this.#window.orphan(id)
    return leftBehind(this, id, this.sink.label(streamKind(id), id), cursor)
  }

  /** Looks for what the session has not read in the streams of one kind, or in one of them. */
  scan (kind: StreamKind, only?: string, since?: number): void {
    const scan = new Scan(this, this.#shared, kind, only, since)
    this.#scans.push(scan)
    if (kind === 'group') this.#shared.groups.scans.add(scan)
    scan.step()
  }

  /** A scan that is done is kept for direct and own streams: it says that what is not in memory is caught up. */
  scanEnded (scan: Scan): void {
    this.#shared.groups.scans.delete(scan)
    if (scan.kind === 'group' || scan.kind === 'event' || scan.isNarrow) this.#scans = this.#scans.filter(other => other !== scan)
    if (this.#scans.every(other => other.done)) this.#lateAcks.clear()
    this.#rest()
  }

  cancelScans (kind: StreamKind): void {
    for (const scan of this.#scans.filter(one => one.kind === kind)) {
      scan.cancel()
      this.#shared.groups.scans.delete(scan)
    }
    this.#scans = this.#scans.filter(scan => scan.kind !== kind)
  }

  fail (err: Error): void { if (!this.closed) this.sink.fail(err) }

  /** Ends delivery and reports the cursors. */
  close (): void {
    this.closed = true
    for (const kind of ['direct', 'group', 'own', 'event'] as const) this.cancelScans(kind)
    for (const stream of this.streams.values()) {
      if (stream.inflight > 0) stream.dirty = true
      this.dropStream(stream)
    }
    if (this.#window.orphaned) this.#shared.cursors.flush() // closed ones that were acknowledged just now
    this.#catchingUp.close()
    this.dealt?.close()
  }

  /** An entry was sent that is no stream's of this session: `stream` stands for whose it is, and is not to have a cursor. There is room for it. */
  hold (stream: Stream, seq: number): void { this.#window.add(stream, seq, this.#shared.steady()) }
  /** What was sent and not acknowledged, in the order of sending. */
  unacknowledged (): Place[] { return this.#window.list() }
  /** What an earlier life of the session left unacknowledged takes its places in the window, and holds cursors; sending it is the sink's affair. Before anything is read. */
  restore (places: readonly Place[]): void {
    holdAll(this, places)
    // Streams of these logs take them over.
    for (const { stream } of places) this.#window.orphan(stream)
  }
}
