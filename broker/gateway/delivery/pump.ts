import type { Committed, Engine, Output as EngineOutput } from '../../link/port.ts'
import type { Topics } from '../../topics.ts'
import { groupId } from '../../topics.ts'
import { sendingMs } from '../../turns.ts'
import { encodePublishProperties, noProperties, publishHeader, publishSize, writePublish } from '../../mqtt/index.ts'
import type { Scan } from './scan.ts'
import type { Session } from './session.ts'
import type { Stream, StreamKind } from './stream.ts'

const reportIntervalMs = 20
/** After so many messages for sessions that are behind, they pause while others are sending. */
const pauseMessages = 128
const pauseMs = 1
const header0 = publishHeader(0, false, false)
const headerRetained = publishHeader(0, false, true)

/**
 * Takes what was committed to the connected sessions that read it. Sessions find their direct messages by user, group messages
 * by the group's streams. Cursor moves are collected for a moment and reported to the engine as one batch.
 */
export class Pump {
  readonly engine: Engine
  readonly topics: Topics
  /** Scans of group lists that are being read: they note commits to groups that they do not know yet. */
  readonly groupScans = new Set<Scan>()
  readonly #byUser = new Map<string, Set<Session>>()
  readonly #byGroup = new Map<string, Set<Stream>>()
  /** Milliseconds since the epoch, for what expires. */
  readonly now: () => number
  /** Milliseconds of a clock that only goes forward, for waits. */
  readonly steady: () => number
  #dirty: Stream[] = []
  #timer: NodeJS.Timeout | undefined
  /** Messages that were read from the log since the last pause. */
  #readMessages = 0
  #committedAt = -Infinity
  #paused: Set<Session> | undefined
  #pauseTimer: NodeJS.Timeout | undefined

  constructor (engine: Engine, topics: Topics, now: () => number = () => engine.now(), steady: () => number = () => performance.now()) {
    this.engine = engine
    this.topics = topics
    this.now = now
    this.steady = steady
  }

  add (session: Session): void {
    const sessions = this.#byUser.get(session.user)
    if (sessions === undefined) this.#byUser.set(session.user, new Set([session]))
    else sessions.add(session)
  }

  remove (session: Session): void {
    const sessions = this.#byUser.get(session.user)
    if (sessions?.delete(session) === true && sessions.size === 0) this.#byUser.delete(session.user)
  }

  /** The connected sessions of a user. */
  sessionsOf (user: string): Iterable<Session> { return this.#byUser.get(user) ?? [] }
  countOf (user: string): number { return this.#byUser.get(user)?.size ?? 0 }

  topicOf (session: Session, kind: StreamKind, id: string): Buffer {
    if (kind === 'group') return Buffer.from(this.topics.group(id.slice(2)))
    return Buffer.from(kind === 'event' ? this.topics.event(session.user) : this.topics.inbox(session.user))
  }

  addGroupStream (stream: Stream): void {
    const streams = this.#byGroup.get(stream.id)
    if (streams === undefined) this.#byGroup.set(stream.id, new Set([stream]))
    else streams.add(stream)
  }

  removeGroupStream (stream: Stream): void {
    const streams = this.#byGroup.get(stream.id)
    if (streams?.delete(stream) === true && streams.size === 0) this.#byGroup.delete(stream.id)
  }

  /** A committed message goes to everybody who reads it live. */
  message (message: Committed): void {
    const { conv } = message
    this.#committedAt = this.steady()
    if (conv.charCodeAt(0) === 0x64) {
      const cut = conv.indexOf(':', 2)
      const a = conv.slice(2, cut)
      const b = conv.slice(cut + 1)
      this.#direct(a, conv, message)
      if (b !== a) this.#direct(b, conv, message)
      return
    }
    for (const scan of this.groupScans) scan.note(conv, message.seq)
    const streams = this.#byGroup.get(conv)
    if (streams !== undefined) for (const stream of streams) stream.session.live(stream, message)
    const senders = this.#byUser.get(message.from)
    if (senders === undefined) return
    const own = 'o' + conv.slice(1)
    for (const session of senders) if (!session.streams.has(conv)) this.#lazily(session, 'own', own, message)
  }

  #direct (user: string, conv: string, message: Committed): void {
    const sessions = this.#byUser.get(user)
    if (sessions === undefined) return
    for (const session of sessions) this.#lazily(session, 'direct', conv, message)
  }

  /** Streams that are caught up are not in memory: they begin to be with the next message. */
  #lazily (session: Session, kind: StreamKind, id: string, message: Committed): void {
    let stream = session.streams.get(id)
    if (stream === undefined) {
      if (session.qosOf(kind, id) === -1) return
      for (const scan of session.scans) if (scan.kind === kind && !scan.covers(id, message.seq)) return
      stream = session.addStream(id, message.seq - 1, message.seq - 1)
      if (stream === undefined) return
      if (stream.qos === 0) this.markDirty(stream)
    }
    session.live(stream, message)
  }

  event (output: Extract<EngineOutput, { kind: 'event' }>): void {
    const sessions = this.#byUser.get(output.user)
    if (sessions === undefined) return
    for (const session of sessions) {
      const stream = session.streams.get('e:' + output.user)
      if (stream !== undefined) session.live(stream, output)
      else for (const scan of session.scans) if (scan.kind === 'event') scan.note('e:' + output.user, output.seq)
    }
  }

  members (output: Extract<EngineOutput, { kind: 'members' }>): void {
    const id = groupId(output.gid)
    for (const user of output.removed) {
      for (const session of this.sessionsOf(user)) {
        for (const scan of session.scans) if (scan.kind === 'group') scan.remove(id)
        const stream = session.streams.get(id)
        if (stream !== undefined) session.dropStream(stream)
      }
    }
    for (const { user, joinedSeq } of output.added) {
      for (const session of this.sessionsOf(user)) {
        const own = session.streams.get('o' + id.slice(1))
        if (own !== undefined && session.qosOf('group', id) !== -1) session.dropStream(own)
        if (!session.streams.has(id)) session.addStream(id, joinedSeq, joinedSeq)
      }
    }
  }

  /** The server's words to a user's sessions that subscribe to notices; `except` has had them already. */
  notice (user: string, payload: Uint8Array, except?: Session): void {
    for (const session of this.sessionsOf(user)) {
      if (session !== except && session.interest.notice && !session.crowded) this.tell(session, this.topics.notice(user), payload)
    }
  }

  /** One packet at QoS 0 to one session, subscribed or not. */
  tell (session: Session, topic: string, payload: Uint8Array, retained = false, correlationData?: Buffer): void {
    if (session.closed) return
    const { link } = session
    let properties: Buffer | undefined
    if (link.version === 5) properties = correlationData !== undefined ? encodePublishProperties({ correlationData }) : noProperties
    const topicBytes = Buffer.from(topic)
    const size = publishSize(topicBytes, 0, payload.length, properties)
    if (size > link.maximumPacketBytes) return
    const target = link.output.reserve(size)
    writePublish(target, link.output.offset, retained ? headerRetained : header0, 0, topicBytes, properties, payload as Buffer)
  }

  /** The stream's cursor moved: it is reported within 20 ms. At QoS 0 there is no cursor, the stream only leaves memory. */
  markDirty (stream: Stream): void {
    if (stream.dirty) return
    stream.dirty = true
    this.#dirty.push(stream)
    if (this.#timer === undefined) {
      this.#timer = setTimeout(() => { this.#timer = undefined; this.flush() }, reportIntervalMs)
      this.#timer.unref()
    }
  }

  /** Something was committed a moment ago. */
  get sending (): boolean { return this.steady() - this.#committedAt <= sendingMs }

  /** So many messages were read from the log. */
  wasRead (messages: number): void { this.#readMessages += messages }

  /**
   * True when a session that is behind has to wait; it is woken. Those who catch up take the processor in turns with those who
   * send: an event loop that is never idle has used its share of the core, and then waits for the store's threads at each step
   * of everybody's messages.
   */
  pauses (session: Session): boolean {
    if (this.#paused === undefined) {
      if (this.#readMessages < pauseMessages || !this.sending) return false
      this.#readMessages = 0
      this.#paused = new Set()
      this.#pauseTimer = setTimeout(() => {
        const paused = this.#paused ?? []
        this.#paused = undefined
        for (const one of paused) one.catchUp()
      }, pauseMs)
    }
    this.#paused.add(session)
    return true
  }

  /** Reports the stream's cursor at once if it moved. */
  report (stream: Stream): void {
    if (!stream.dirty) return
    stream.dirty = false
    if (stream.qos === 1) this.engine.advance([moveOf(stream)])
  }

  /** Reports all cursors that moved. */
  flush (): void {
    const dirty = this.#dirty
    if (dirty.length === 0) return
    this.#dirty = []
    const moves = []
    for (const stream of dirty) {
      if (!stream.dirty) continue
      stream.dirty = false
      if (stream.qos === 1) moves.push(moveOf(stream))
      const lazy = stream.kind === 'direct' || stream.kind === 'own'
      if (lazy && stream.inflight === 0 && !stream.queued && stream.sentTo >= stream.head && !stream.closed) {
        stream.closed = true
        stream.session.streams.delete(stream.id)
      }
    }
    if (moves.length > 0) this.engine.advance(moves)
  }

  close (): void {
    clearTimeout(this.#timer)
    clearTimeout(this.#pauseTimer)
    this.#timer = undefined
    this.flush()
  }
}

function moveOf (stream: Stream): Parameters<Engine['advance']>[0][number] {
  const { session } = stream
  return { session: session.id, persistent: session.persistent, user: session.user, stream: stream.id, seq: stream.acked, sent: stream.sentTo }
}
