import type { Committed, Engine, Output } from '../../link/port.ts'
import { directUsers, groupId } from '../../topics.ts'
import { Few } from '../../few.ts'
import { Cursors } from './cursors.ts'
import { GroupStreams } from './group-streams.ts'
import { OwnMessages } from './own-messages.ts'
import { Pauses } from './pauses.ts'
import { Pressure } from './pressure.ts'
import { Recent } from './recent.ts'
import type { Session } from './session.ts'
import type { Shared } from './shared.ts'
import { streamKind, type StreamKind } from './stream.ts'

export interface PumpOptions {
  /** Bytes that are kept for sessions that are a little behind. */
  recentBytes?: number
  /** Pages of streams that are read at the same time, of all sessions. */
  looking?: number
  /** The time of the server, milliseconds since the epoch. */
  now?: () => number
  /** Milliseconds of a clock that only goes forward. */
  steady?: () => number
  /** The same, looked at anew: where that one may stand still while nothing arrives. */
  fresh?: () => number
  /** Runs a function at the end of this turn of the event loop. */
  later?: (run: () => void) => void
  /**
   * Outputs may come so late, twice or not at all, milliseconds: so long at least it is remembered how far sessions have had their streams. 0: they come once
   * and in order, and nothing is remembered.
   */
  lateMs?: number
}

const mostLooking = 16
/** Who is no slower than the server acknowledges within so many turns of its event loop, and within milliseconds when it has little to do. */
const paceTurns = 4
const leastPaceMs = 4
/** However long they are. */
const mostPaceMs = 250

/**
 * Takes what was committed to the connected sessions that read it. Sessions find their direct messages by user, group messages
 * by the group's streams.
 */
/** Of a session without cursors nothing else tells what it has had: so many conversations are remembered. */
const mostPassed = 10_000

export class Pump implements Shared {
  readonly engine: Pick<Engine, 'read' | 'streams'>
  readonly cursors: Cursors
  readonly groups = new GroupStreams()
  readonly pauses: Pauses
  readonly pressure: Pressure
  readonly recent: Recent
  readonly own = new OwnMessages()
  readonly looking: Few
  paceMs = leastPaceMs
  readonly now: () => number
  readonly steady: () => number
  readonly later: (run: () => void) => void
  readonly lateMs: number
  /** What was committed before is known here, as far as it is for sessions here; milliseconds since the epoch. */
  wholeMs = -Infinity
  #agedAt: number
  readonly #byUser = new Map<string, Set<Session>>()
  #lastConv = ''
  #lastUsers: readonly [string, string] = ['', '']

  constructor (engine: Pick<Engine, 'read' | 'streams' | 'advance'>, { now = Date.now, steady = () => performance.now(), fresh = steady, later = setImmediate, recentBytes, looking = mostLooking, lateMs = 0 }: PumpOptions = {}) {
    this.engine = engine
    this.now = now
    this.steady = steady
    this.later = later
    this.lateMs = lateMs
    this.#agedAt = steady()
    this.pressure = new Pressure({ steady: fresh, later })
    this.recent = new Recent(recentBytes === undefined ? {} : { maxBytes: recentBytes })
    this.cursors = new Cursors(engine)
    this.pauses = new Pauses(steady)
    this.looking = new Few(looking)
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

  countOf (user: string): number { return this.#byUser.get(user)?.size ?? 0 }

  /** The connected sessions of a user. */
  #sessionsOf (user: string): Iterable<Session> { return this.#byUser.get(user) ?? [] }

  /** A committed message goes to everybody who reads it live. */
  message (message: Committed): void {
    const { conv } = message
    this.pauses.committed()
    this.recent.note(conv, message)
    if (conv.charCodeAt(0) === 0x64) {
      const [a, b] = this.#usersOf(conv)
      this.#direct(a, conv, message)
      if (b !== a) this.#direct(b, conv, message)
      return
    }
    for (const scan of this.groups.scans) scan.note(conv, message.seq)
    const streams = this.groups.of(conv)
    if (streams !== undefined) for (const stream of streams) stream.reader.live(stream, message)
    const senders = this.#byUser.get(message.from)
    if (senders === undefined) return
    const own = 'o' + conv.slice(1)
    for (const session of senders) if (!session.streams.has(conv)) this.#lazily(session, 'own', own, message)
  }

  /** Of a direct conversation; mostly the same as the last one. */
  #usersOf (conv: string): readonly [string, string] {
    if (conv !== this.#lastConv) {
      const cut = conv.indexOf(':', 2)
      this.#lastUsers = [conv.slice(2, cut), conv.slice(cut + 1)]
      this.#lastConv = conv
    }
    return this.#lastUsers
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
      const qos = session.qosOf(kind, id)
      if (qos === -1) return
      const passed = session.passed?.get(id)
      if (passed !== undefined && message.seq <= passed) return
      // At QoS 0 a stream is live only: it waits for no scan.
      if (qos === 1 && (isAwaited(session, kind, id, message.seq) || (passed === undefined && this.#isLookedUp(session, kind, id, message)))) return
      const cursor = passed ?? message.seq - 1
      stream = session.addStream(id, cursor, cursor)
      if (stream === undefined) return
      if (stream.qos === 0) this.cursors.moved(stream)
    }
    session.live(stream, message)
  }

  /** The message before it may be one that this server has not heard of: where the session stands is looked up. */
  #isLookedUp (session: Session, kind: StreamKind, id: string, { seq, prevTs }: Committed): boolean {
    if (this.lateMs === 0 || seq === 1 || (prevTs !== undefined && prevTs < this.wholeMs)) return false
    session.scan(kind, id, session.passed?.since)
    return isAwaited(session, kind, id, seq)
  }

  event (output: Extract<Output, { kind: 'event' }>): void {
    const sessions = this.#byUser.get(output.user)
    if (sessions === undefined) return
    for (const session of sessions) {
      const stream = session.streams.get('e:' + output.user)
      if (stream !== undefined) session.live(stream, output)
      else for (const scan of session.scans) if (scan.kind === 'event') scan.note('e:' + output.user, output.seq)
    }
  }

  members (output: Extract<Output, { kind: 'members' }>): void {
    const id = groupId(output.gid)
    for (const user of output.removed) {
      for (const session of this.#sessionsOf(user)) {
        for (const scan of session.scans) if (scan.kind === 'group') scan.remove(id)
        const stream = session.streams.get(id)
        if (stream !== undefined) session.dropStream(stream)
      }
    }
    for (const { user, joinedSeq } of output.added) {
      for (const session of this.#sessionsOf(user)) {
        const own = session.streams.get('o' + id.slice(1))
        if (own !== undefined && session.qosOf('group', id) !== -1) session.dropStream(own)
        if (session.streams.has(id)) continue
        const stream = session.addStream(id, joinedSeq, joinedSeq)
        // What it may see of the group may have been said before this was.
        if (stream !== undefined && this.lateMs > 0 && stream.qos === 1) session.queueBehind(stream)
      }
    }
  }

  /** What was said of a user's groups and events may never have come. `groups`: all that the user is in now. */
  lookAgain ({ user, groups }: Extract<Output, { kind: 'groups' }>): void {
    const members = new Set(groups.map(groupId))
    for (const session of this.#sessionsOf(user)) {
      for (const stream of [...session.streams.values()]) if (stream.kind === 'group' && !members.has(stream.id)) session.dropStream(stream)
      session.interest.lookAgain(session)
    }
  }

  /** Outputs of a log may never come. */
  behind ({ log, after, upTo, senders }: Extract<Output, { kind: 'behind' }>): void {
    const kind = streamKind(log)
    if (kind !== 'group') {
      for (const user of new Set(kind === 'direct' ? directUsers(log) : [log.slice(2)])) {
        for (const session of this.#sessionsOf(user)) this.#missed(session, kind, log, after, upTo)
      }
      return
    }
    for (const scan of this.groups.scans) scan.note(log, after + 1, upTo)
    for (const stream of this.groups.of(log) ?? []) stream.reader.missed(stream, upTo)
    for (const user of senders) {
      for (const session of this.#sessionsOf(user)) if (!session.streams.has(log)) this.#missed(session, 'own', 'o' + log.slice(1), after, upTo)
    }
  }

  #missed (session: Session, kind: StreamKind, id: string, after: number, upTo: number): void {
    const passed = session.passed?.get(id)
    let stream = session.streams.get(id)
    if (stream === undefined && (session.qosOf(kind, id) !== 1 || (passed !== undefined && upTo <= passed))) return
    let covered = true
    for (const scan of session.scans) if (scan.kind === kind && !scan.covers(id, after + 1, upTo)) covered = false
    if (stream === undefined && covered) stream = session.addStream(id, passed ?? after, passed ?? after)
    if (stream !== undefined) session.missed(stream, upTo)
  }

  /** The server's words to a user's sessions that subscribe to notices; `except` has had them already. */
  notice (user: string, payload: Uint8Array, except?: Session): void {
    for (const session of this.#sessionsOf(user)) {
      if (session !== except && session.interest.notice && !(session.sink.deaf ?? session.crowded)) session.sink.notice(payload)
    }
  }

  /** To be called about once a second. */
  trim (): void {
    this.recent.trim()
    const now = this.steady()
    if (this.lateMs === 0 || now - this.#agedAt < this.lateMs) return
    this.#agedAt = now
    for (const sessions of this.#byUser.values()) for (const session of sessions) session.passed?.age(session.stored ? 0 : mostPassed)
  }

  /** So long did the last turns of the event loop take, milliseconds. */
  turned (turnMs: number): void { this.paceMs = Math.min(Math.max(leastPaceMs, turnMs * paceTurns), mostPaceMs) }

  close (): void {
    this.pauses.close()
    this.cursors.close()
  }
}

/** A scan has not come there yet: it finds the stream with this commit. */
function isAwaited (session: Session, kind: StreamKind, id: string, seq: number): boolean {
  let awaited = false
  for (const scan of session.scans) if (scan.kind === kind && !scan.covers(id, seq)) awaited = true
  return awaited
}
