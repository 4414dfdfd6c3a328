import type { StreamState } from '../../link/port.ts'
import type { Sink } from './sink.ts'
import type { Shared } from './shared.ts'
import type { Passed } from './passed.ts'
import { type Stream, type StreamKind, unknownHead } from './stream.ts'

const pageSize = 200
/** A scan waits while this many streams of its session are behind: memory does not grow with the backlog. */
export const maxBehind = 200

/** The lowest and the highest number of what was committed to a stream while it was looked for. */
interface Race { first: number, last: number }

/** The session, as its scans need it. */
export interface Scanned {
  readonly id: string
  readonly user: string
  readonly closed: boolean
  readonly sink: Pick<Sink, 'position'>
  readonly behindCount: number
  readonly streams: ReadonlyMap<string, Stream>
  readonly passed: Passed | undefined
  qosOf (kind: StreamKind, id: string): -1 | 0 | 1
  addStream (id: string, cursor: number, head: number): Stream | undefined
  dropStream (stream: Stream): void
  /** Its window has entries of the stream that no stream in memory stands for. */
  orphaned (id: string): boolean
  queueBehind (stream: Stream): void
  catchUp (): void
  scanEnded (scan: Scan): void
  fail (err: Error): void
}

/**
 * Finds what a session has not read in the streams of one kind, page by page, while commits go on. A stream that the scan has
 * passed and that is not in memory is caught up; a commit for one that it has not reached is found when it comes there; a commit
 * during the reading of a page is noted, as the page may be older than it.
 */
export class Scan {
  readonly kind: StreamKind
  readonly #session: Scanned
  readonly #shared: Pick<Shared, 'engine' | 'cursors' | 'looking'>
  readonly #only: string | undefined
  readonly #since: number | undefined
  #passed = ''
  #inFlight = false
  #done = false
  #cancelled = false
  readonly #raced = new Map<string, Race>()
  readonly #removed = new Set<string>()

  /** `only`: looks for one stream. `since`: a session without cursors is to have what came since then (milliseconds since the epoch). */
  constructor (session: Scanned, shared: Pick<Shared, 'engine' | 'cursors' | 'looking'>, kind: StreamKind, only?: string, since?: number) {
    this.#session = session
    this.#shared = shared
    this.kind = kind
    this.#only = only
    this.#since = since
  }

  get done (): boolean { return this.#done }
  /** It says nothing of other streams. */
  get isNarrow (): boolean { return this.#only !== undefined }

  cancel (): void { this.#cancelled = true }

  /** A commit to a stream that is not in memory, or several up to `last`: true when it may be delivered at once (the stream was caught up). */
  covers (id: string, seq: number, last = seq): boolean {
    if (this.#done || id <= this.#passed || (this.#only !== undefined && id !== this.#only)) return true
    this.note(id, seq, last)
    return false
  }

  /** A commit that the page being read may not show. */
  note (id: string, seq: number, last = seq): void {
    if (this.#done || id <= this.#passed || (this.#only !== undefined && id !== this.#only)) return
    // Of a user's own conversations all are noted until their page came: it may show as delivered what this session has not had
    // (the user's own sending moves that mark). Groups are everybody's: only what races with a page is noted.
    if (this.kind === 'group' && !this.#inFlight) return
    const race = this.#raced.get(id)
    if (race === undefined) {
      this.#raced.set(id, { first: seq, last })
      return
    }
    race.first = Math.min(race.first, seq)
    race.last = Math.max(race.last, last)
  }

  /** The membership ended while a page that may show it is being read. */
  remove (id: string): void { if (this.#inFlight) this.#removed.add(id) }

  /** Reads the next page if there is one and the session has room for it. */
  step (): void {
    const session = this.#session
    if (this.#inFlight || this.#done || this.#cancelled || session.closed || session.behindCount >= maxBehind) return
    this.#inFlight = true
    this.#shared.looking.enter(() => { this.#look() })
  }

  #look (): void {
    const session = this.#session
    const { looking } = this.#shared
    if (this.#cancelled || session.closed) return looking.leave()
    // What other devices of the user have acknowledged decides where this one starts.
    this.#shared.cursors.flush()
    const position = session.sink.position?.()
    this.#shared.engine.streams({
      session: session.id,
      user: session.user,
      kind: this.kind,
      limit: pageSize,
      ...(this.#passed !== '' ? { after: this.#passed } : {}),
      ...(this.#only === undefined ? {} : this.kind === 'group' ? { gid: this.#only.slice(2) } : { only: this.#only }),
      ...(this.#since === undefined ? {} : { since: this.#since }),
      ...(position === undefined ? {} : { position })
    }).then(page => {
      looking.leave()
      if (this.#cancelled || session.closed) return
      // What it brings up may be sent at once, and then calls `step`: this page is not asked for a second time.
      this.#take(page)
      this.#inFlight = false
      if (this.#done) session.scanEnded(this)
      else this.step()
      session.catchUp()
    }, (err: unknown) => {
      looking.leave()
      throw err
    }).catch((err: Error) => {
      this.#inFlight = false
      if (!this.#cancelled) session.fail(err)
    })
  }

  #take ({ streams, next, seen }: Awaited<ReturnType<Shared['engine']['streams']>>): void {
    const starts: Array<{ stream: string, seq: number }> = []
    for (const state of streams) {
      const race = this.#raced.get(state.stream)
      this.#raced.delete(state.stream)
      if (this.#removed.has(state.stream)) continue
      if (state.begins === true) starts.push({ stream: state.stream, seq: this.#start(state, race) })
      this.#listed(state, race)
    }
    this.#shared.cursors.begin(this.#session, starts, seen)
    this.#unlisted(next)
    this.#removed.clear()
    if (next !== undefined) {
      this.#passed = next
      return
    }
    this.#done = true
    this.#dropUnknown()
  }

  /** Where a session without a cursor begins: what was committed since it asked is for it, whatever becomes of its connection. */
  #start ({ stream, cursor }: StreamState, race: Race | undefined): number {
    const known = this.#session.streams.get(stream)
    return Math.min(cursor, race === undefined ? unknownHead : this.#before(stream, race), known?.qos === 1 ? known.acked : unknownHead)
  }

  /** A stream of the page, and what was committed to it meanwhile. */
  #listed (state: StreamState, race: Race | undefined): void {
    const session = this.#session
    const head = Math.max(state.head, race?.last ?? 0)
    // What was committed since the scan began is for this session, whatever mark the page shows.
    // Not so where the page shows what the device itself says: what is said late it may have had elsewhere.
    const before = race === undefined || session.sink.position !== undefined ? unknownHead : this.#before(state.stream, race)
    const cursor = Math.min(state.cursor, before)
    const sent = Math.min(sentBefore(state), before)
    let stream = session.streams.get(state.stream)
    if (stream !== undefined) {
      // It is live already; the page may be newer than what was heard, which is still to come.
      if (stream.qos === 0) return
      stream.head = stream.head === unknownHead ? head : Math.max(stream.head, head)
      stream.redeliverTo = Math.max(stream.redeliverTo, sent)
    } else {
      if (this.#isLazy(state.stream, cursor, head)) return
      stream = session.addStream(state.stream, cursor, head)
      if (stream === undefined) return
      stream.redeliverTo = Math.max(stream.redeliverTo, sent)
    }
    // Live only: from what raced with the page on, and from the next one without that.
    if (stream.qos === 0) stream.sentTo = stream.acked = race === undefined ? stream.head : before
    if (stream.sentTo >= stream.head) return
    // It comes with a backlog: nobody waits for it before it has caught up.
    stream.excused = true
    session.queueBehind(stream)
  }

  /** Direct and own streams that are caught up need no memory; a group's stream is how its messages find the session. */
  #isLazy (id: string, cursor: number, head: number): boolean {
    if (this.kind === 'group' || this.kind === 'event') return false
    const session = this.#session
    if (head > cursor || session.orphaned(id)) return session.qosOf(this.kind, id) === 0
    session.passed?.note(id, cursor)
    return true
  }

  /** What a commit that was heard follows; what was said again is known by what the session has had. */
  #before (id: string, { first }: Race): number { return Math.max(first - 1, this.#session.passed?.get(id) ?? 0) }

  /** Commits to streams that should have been on this page, and were not: they are new. */
  #unlisted (next: string | undefined): void {
    const session = this.#session
    for (const [id, race] of this.#raced) {
      if (next !== undefined && id > next) continue
      this.#raced.delete(id)
      // Groups are not listed here unless the page showed them: a foreign group's commit may have been noted as well.
      if (this.kind === 'group' || session.streams.has(id)) continue
      const before = this.#before(id, race)
      const stream = before < race.last ? session.addStream(id, before, race.last) : undefined
      if (stream !== undefined) session.queueBehind(stream)
    }
    if (this.kind === 'group' || next === undefined) this.#raced.clear()
  }

  /** Resumed, and not listed: the membership ended before the session was heard of. */
  #dropUnknown (): void {
    const session = this.#session
    for (const stream of [...session.streams.values()]) {
      const mine = stream.kind === this.kind && (this.#only === undefined || stream.id === this.#only)
      if (mine && stream.head === unknownHead) session.dropStream(stream)
    }
  }
}

/** How far the session was sent the stream on an earlier connection. What is not behind the cursor was not: another device has it. */
function sentBefore ({ sent, cursor }: StreamState): number { return sent > cursor ? sent : 0 }
