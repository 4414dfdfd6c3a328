/**
 * Cursors and watermarks on their way to the store: merged in memory, written lazily and without sync. Losing one costs a
 * repeated packet, never a message.
 */
import type { Logger } from 'pino'
import type { ConnectionMark, Marks as StoreMarks, Moved, Store } from '../../store/store.ts'

/** The first delay after an idle time, milliseconds. */
const idleDelayMs = 50
/** The pause after a flush is this many times the flush: writing marks costs at most about 5 % of the time. */
const pauseFactor = 19
/** Marks that wait before a flush starts at once. */
const flushSize = 10_000
/** Marks in one write: messages wait while it is made ready. */
const chunkSize = 500
/** Marks kept for another try when the store fails; beyond it they are dropped (packets repeat). */
const maxKept = 200_000

interface Watermarks { readSeq?: number, deliveredSeq?: number }
interface Position { seq: number, sent: number }

class Batch {
  readonly users = new Set<string>()
  readonly cursors = new Map<string, Map<string, Position>>()
  readonly members = new Map<string, Map<string, Watermarks>>()
  readonly events = new Map<string, number>()
  readonly connections = new Map<string, ConnectionMark>()
  size = 0

  connection (user: string, { session, epoch, proven }: ConnectionMark & { session: string }): void {
    this.users.add(user)
    const known = this.connections.get(session)
    if (known === undefined) this.size++
    if (known === undefined || known.epoch !== epoch || proven > known.proven) this.connections.set(session, { epoch, proven })
  }

  cursor (user: string, session: string, stream: string, seq: number, sent: number): void {
    this.users.add(user)
    let streams = this.cursors.get(session)
    if (streams === undefined) this.cursors.set(session, streams = new Map())
    const known = streams.get(stream)
    if (known === undefined) {
      streams.set(stream, { seq, sent })
      this.size++
      return
    }
    if (seq > known.seq) known.seq = seq
    if (sent > known.sent) known.sent = sent
  }

  member (user: string, conv: string, marks: Watermarks): void {
    this.users.add(user)
    let convs = this.members.get(user)
    if (convs === undefined) this.members.set(user, convs = new Map())
    const known = convs.get(conv)
    if (known === undefined) {
      convs.set(conv, { ...marks })
      this.size++
      return
    }
    if (marks.readSeq !== undefined && marks.readSeq > (known.readSeq ?? 0)) known.readSeq = marks.readSeq
    if (marks.deliveredSeq !== undefined && marks.deliveredSeq > (known.deliveredSeq ?? 0)) known.deliveredSeq = marks.deliveredSeq
  }

  event (user: string, deliveredSeq: number): void {
    this.users.add(user)
    const known = this.events.get(user)
    if (known === undefined) this.size++
    if (known === undefined || deliveredSeq > known) this.events.set(user, deliveredSeq)
  }

  merge (other: Batch): void {
    for (const chunk of other.chunks(Infinity)) {
      for (const c of chunk.cursors) this.cursor(userOf(c.session), c.session, c.stream, c.seq, c.sent)
      for (const { user, conv, ...marks } of chunk.members) this.member(user, conv, marks)
      for (const e of chunk.events) this.event(e.user, e.deliveredSeq)
      // What came meanwhile is the later word: it may be of another connection.
      for (const c of chunk.connections ?? []) if (!this.connections.has(c.session)) this.connection(userOf(c.session), c)
    }
  }

  /** Cursors last: whoever stops between two pieces sends what is not marked as delivered once more. */
  * chunks (size: number): Generator<StoreMarks> {
    let chunk: StoreMarks = { cursors: [], members: [], events: [] }
    let count = 0
    const full = (): boolean => ++count >= size
    const fresh = (): void => { chunk = { cursors: [], members: [], events: [] }; count = 0 }
    for (const [user, convs] of this.members) {
      for (const [conv, marks] of convs) {
        chunk.members.push({ user, conv, ...marks })
        if (full()) { yield chunk; fresh() }
      }
    }
    for (const [user, deliveredSeq] of this.events) {
      chunk.events.push({ user, deliveredSeq })
      if (full()) { yield chunk; fresh() }
    }
    for (const [session, streams] of this.cursors) {
      for (const [stream, position] of streams) {
        chunk.cursors.push({ session, stream, ...position })
        if (full()) { yield chunk; fresh() }
      }
    }
    for (const [session, mark] of this.connections) {
      (chunk.connections ??= []).push({ session, ...mark })
      if (full()) { yield chunk; fresh() }
    }
    if (count > 0) yield chunk
  }
}

/** The user of `{user}/{clientId}`. */
function userOf (session: string): string { return session.slice(0, session.indexOf('/')) }

export interface MarksOptions {
  store: Store
  log: Logger
  /** The longest that a mark waits, milliseconds. */
  maxDelayMs: number
  /** Hears which watermarks moved. */
  onMoved: (moved: Moved) => void
}

export class Marks {
  readonly #options: MarksOptions
  #pending = new Batch()
  #writing: Batch | undefined
  #running: Promise<void> | undefined
  #next: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #pauseMs = 0
  #endedAt = 0
  #closed = false

  constructor (options: MarksOptions) { this.#options = options }

  /** A device acknowledged up to `seq` and was sent up to `sent`; `persistent` sessions keep cursors. */
  advance (move: { session: string, persistent: boolean, user: string, stream: string, seq: number, sent: number, begins?: true }): void {
    const { user, stream, seq } = move
    if (move.persistent) this.#pending.cursor(user, move.session, stream, seq, move.sent)
    if (seq > 0 && move.begins !== true) {
      if (stream.startsWith('e:')) this.#pending.event(user, seq)
      else if (!stream.startsWith('o:')) this.#pending.member(user, stream, { deliveredSeq: seq })
    }
    this.#schedule()
  }

  /** The client of a session's connection has the answers to its publishes up to `proven`. */
  prove (mark: ConnectionMark & { session: string }): void {
    this.#pending.connection(userOf(mark.session), mark)
    this.#schedule()
  }

  /** Resolves when everything up to `seq` is marked read; marks that come together are written together. */
  read (user: string, conv: string, seq: number): Promise<void> {
    this.#pending.member(user, conv, { readSeq: seq, deliveredSeq: seq })
    return this.flush()
  }

  /** Resolves when the user's marks so far are in the store. */
  settled (user: string): Promise<void> {
    if (this.#pending.users.has(user)) return this.flush()
    if (this.#writing?.users.has(user) === true) return this.#running as Promise<void>
    return Promise.resolve()
  }

  /** Writes what waits; rejects when the store fails (the marks are kept for another try). */
  flush (): Promise<void> {
    if (this.#running === undefined) return this.#pending.size === 0 ? Promise.resolve() : this.#write()
    if (this.#next === undefined) {
      const again = (): Promise<void> => {
        this.#next = undefined
        return this.#pending.size === 0 ? Promise.resolve() : this.#write()
      }
      this.#next = this.#running.then(again, again)
    }
    return this.#next
  }

  /** Writes what waits and ends the timer. */
  async close (): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    await this.flush()
  }

  #schedule (): void {
    if (this.#closed) return
    if (this.#pending.size >= flushSize && this.#running === undefined) this.#background()
    if (this.#timer !== undefined || this.#pending.size === 0) return
    const rest = this.#pauseMs - (performance.now() - this.#endedAt)
    const delayMs = Math.min(Math.max(idleDelayMs, rest), this.#options.maxDelayMs)
    this.#timer = setTimeout(() => { this.#background() }, delayMs)
    this.#timer.unref()
  }

  #background (): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.flush().catch((error: unknown) => { this.#options.log.error({ err: error }, 'marks were not written') })
  }

  #write (): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const batch = this.#pending
    this.#pending = new Batch()
    this.#writing = batch
    const startedAt = performance.now()
    this.#running = this.#store(batch).finally(() => {
      this.#writing = undefined
      this.#running = undefined
      this.#endedAt = performance.now()
      this.#pauseMs = (this.#endedAt - startedAt) * pauseFactor
      this.#schedule()
    })
    return this.#running
  }

  async #store (batch: Batch): Promise<void> {
    try {
      for (const chunk of batch.chunks(chunkSize)) {
        const moved = await this.#options.store.advance(chunk)
        if (moved.length > 0) this.#options.onMoved(moved)
      }
    } catch (error) {
      if (this.#pending.size + batch.size <= maxKept) this.#pending.merge(batch)
      else this.#options.log.warn({ marks: batch.size }, 'marks were dropped: packets will repeat')
      throw error
    }
  }
}
