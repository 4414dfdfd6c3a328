/** Persistent sessions: what of a client id outlives its connection, and for how long. [MQTT-3.1.2-4] to [MQTT-3.1.2-6], MQTT 5 section 3.1.2.11.2 */
import { randomBytes } from 'node:crypto'
import { Refusal } from '../../errors.ts'
import type { SessionRow, TimeMs } from '../../store/store.ts'
import type { Topics } from '../../topics.ts'
import type { EngineHost } from '../host.ts'
import { KeyedQueue } from '../keyed-queue.ts'
import type { Engine, SessionResume, SessionStart } from '../../link/port.ts'
import { SubscriptionDates, withDates } from './subscription-dates.ts'
import { SessionEnds, withEnd, type SessionEnd } from './session-ends.ts'
import { SessionRows } from './session-rows.ts'
import { Sweep } from './sweep.ts'

/** What has been acknowledged on its way to the store. */
export interface PendingMarks {
  /** Resolves when the user's marks that wait are written. */
  settled (user: string): Promise<void>
  /** Where a session goes on in a stream. */
  advance (move: { session: string, persistent: true, user: string, stream: string, seq: number, sent: number, begins: true }): void
}

export interface SessionsOptions {
  /** What filters mean. */
  topics: Topics
  /** Milliseconds between two searches for expired sessions. */
  sweepIntervalMs: number
  /** Ends that the store did not take and that are kept for another try (`sessions.unstoredEnds`). */
  maxUnstoredEnds: number
  /** Milliseconds before the first further try. */
  retryMs?: number
}

export class Sessions {
  readonly #host: EngineHost
  readonly #marks: PendingMarks
  readonly #topics: Topics
  readonly #queue = new KeyedQueue()
  /** Sessions with a connection, and since when. */
  readonly #live = new Map<string, { /** in the store, with their cursors */ persistent: boolean, openedAt: TimeMs }>()
  readonly #ends: SessionEnds
  /** Connections are told apart by it and their number: also from those of an earlier start. */
  readonly #epochs = randomBytes(9).toString('base64url')
  #opened = 0
  readonly #rows: SessionRows
  readonly #sweep: Sweep

  constructor (host: EngineHost, marks: PendingMarks, { topics, sweepIntervalMs, maxUnstoredEnds, retryMs }: SessionsOptions) {
    this.#topics = topics
    this.#host = host
    this.#marks = marks
    const put = (session: string, end: SessionEnd): Promise<void> => this.#queue.run(end.user, () => this.#putAway(session, end))
    this.#ends = new SessionEnds({ max: maxUnstoredEnds, put, log: host.log, ...(retryMs !== undefined && { firstRetryMs: retryMs }) }, host.now())
    const isLive = (session: string): boolean => this.#live.has(session)
    this.#rows = new SessionRows(host, this.#ends, isLive)
    this.#sweep = new Sweep({ host, rows: this.#rows, ends: this.#ends, queue: this.#queue, isLive }, sweepIntervalMs)
  }

  /** False only for a session that is known to begin and end with its connection. One that is taken up goes on from its cursors, also when it is to end now. */
  isPersistent (session: string): boolean { return this.#live.get(session)?.persistent !== false }

  /** Since when a session subscribes to what, by connections before this one. */
  async dates (session: string): Promise<SubscriptionDates> {
    const openedAt = this.#live.get(session)?.openedAt ?? Infinity
    const row = await this.#host.store.session(session)
    return new SubscriptionDates(this.#topics, row, openedAt)
  }

  /** Throws `Refusal` (`rate_limited`) when the user has too many sessions and all of them are connected. */
  open (start: SessionStart): Promise<SessionResume> {
    return this.#queue.run(start.user, () => this.#open(start))
  }

  /** Rejects when the session has gone: it must not be told that its subscriptions are kept. */
  saveSubscriptions (session: string, subscriptions: SessionResume['subscriptions']): Promise<void> {
    const now = this.#host.now()
    return this.#queue.run(userOf(session), async () => {
      const row = await this.#host.store.session(session)
      const isKept = row !== undefined && !this.#rows.isForeign(row) &&
        await this.#host.store.putSession({ ...row, subscriptions: withDates(this.#topics, subscriptions, row, now) }, row)
      if (!isKept && this.#live.get(session)?.persistent === true) throw new Error(row === undefined ? 'the session is not stored any more' : 'the session goes on at another server')
    })
  }

  /** What the store does not take is kept and tried again: the session's time counts from now. */
  close (end: Parameters<Engine['closeSession']>[0]): Promise<void> {
    const { session, inflight } = end
    const user = userOf(session)
    let ended: SessionEnd = { user, endedAt: this.#host.now(), expirySeconds: this.#clamp(end.expirySeconds), inflight, proven: end.proven }
    return this.#queue.run(user, async () => {
      const persistent = this.#live.get(session)?.persistent !== false || ended.expirySeconds > 0
      try {
        await this.#marks.settled(user)
        if (end.unwanted === true && !(await this.#rows.isWanted(user, session))) ended = { ...ended, expirySeconds: 0 }
        const kept = await this.#store(session, ended)
        // Behind the row: what it lists as unacknowledged is before these.
        if (kept) for (const { stream, seq } of end.sent ?? []) this.#marks.advance({ session, persistent: true, user, stream, seq, sent: seq, begins: true })
      } catch (error) {
        // One that was never stored has no end that could be missed.
        if (persistent) this.#ends.keep(session, ended, error)
      } finally {
        this.#live.delete(session)
      }
    })
  }

  /** Ends the timer and waits for a sweep that is under way. */
  async end (): Promise<void> {
    await this.#sweep.close()
    await this.#ends.close()
  }

  async #open (start: SessionStart): Promise<SessionResume> {
    const { session, user } = start
    // A mark of the session's earlier life must not land in this one.
    await this.#marks.settled(user)
    const expirySeconds = this.#clamp(start.expirySeconds)
    const epoch = `${this.#epochs}.${(++this.#opened).toString(36)}`
    const { row, from } = await this.#resumed(start)
    // Two servers would deal what is one's: a device is at one of them by itself.
    if (start.share === true && row !== undefined && this.#rows.isElsewhere(row, await this.#rows.over([row]))) throw new Refusal('unavailable', 'the shared subscription is open at another server')
    if (row === undefined && expirySeconds > 0) await this.#rows.makeRoom(user, start.share === true)
    const isStored = row !== undefined || expirySeconds > 0
    if (isStored) await this.#putOpen(start, row, expirySeconds, epoch)
    this.#ends.forget(session)
    this.#live.set(session, { persistent: isStored, openedAt: this.#host.now() })
    return { ...resumeOf(row, isStored ? epoch : undefined), ...from !== undefined && { from } }
  }

  /** The session that goes on, and from which other process; one that is over, or not wanted, is dropped. */
  async #resumed ({ session, cleanStart }: SessionStart): Promise<{ row: SessionRow | undefined, from: string | undefined }> {
    const { store } = this.#host
    const stored = await store.session(session)
    if (stored === undefined) return { row: undefined, from: undefined }
    const row = this.#rows.seen(stored)
    const from = this.#rows.isForeign(row) ? row.node : undefined
    if (!(cleanStart || this.#rows.isExpired(row))) return { row, from }
    await store.dropSession(session)
    this.#ends.forget(session)
    return { row: undefined, from }
  }

  async #putOpen ({ session, user, clientId, share }: SessionStart, row: SessionRow | undefined, expirySeconds: number, epoch: string): Promise<void> {
    const { store } = this.#host
    const node = store.nodes.self
    const { expiresAt: _, node: __, ...known } = row ?? { session, user, clientId, subscriptions: [], createdAt: this.#host.now() }
    // The cursors of a share are past what it has unacknowledged (`close`): that is kept until the next list of it.
    const inflight = share === true ? row?.inflight ?? [] : []
    try {
      await store.putSession({ ...known, inflight, expirySeconds, connection: { epoch, proven: 0 }, ...node !== undefined && { node } })
    } catch (error) {
      // Nobody is told that the session is open, but the store may hold it as open: it is put back to what it was.
      const now = this.#host.now()
      const end = row === undefined ? { endedAt: now, expirySeconds, inflight: [] } : { endedAt: this.#rows.endedAt(row), expirySeconds: row.expirySeconds, inflight: row.inflight, connection: row.connection }
      this.#ends.keep(session, { user, ...end }, error)
      throw error
    }
  }

  /** Resolves to whether the session goes on. */
  async #store (session: string, end: SessionEnd): Promise<boolean> {
    const { store } = this.#host
    const row = await store.session(session)
    // What another server holds has not ended here.
    if (row === undefined || this.#rows.isForeign(row)) return false
    if (end.expirySeconds > 0) return await store.putSession(withEnd(row, end), row)
    await store.dropSession(session, row)
    return false
  }

  /** Another try for an end that was kept; nothing when the session was opened, or ended again, meanwhile. */
  async #putAway (session: string, end: SessionEnd): Promise<void> {
    if (this.#ends.get(session) !== end) return
    if (!this.#live.has(session)) await this.#store(session, end)
    this.#ends.forget(session)
  }

  #clamp (expirySeconds: number): number { return Math.min(expirySeconds, this.#host.limits.maxSessionExpirySeconds) }
}

/** The user of `{user}/{clientId}`; client ids may contain a slash, user ids do not. */
function userOf (session: string): string { return session.slice(0, session.indexOf('/')) }

/** What a client is told of its session; `epoch` of one that is stored. */
function resumeOf (row: SessionRow | undefined, epoch: string | undefined): SessionResume {
  const last = row?.connection
  return {
    present: row !== undefined,
    subscriptions: row?.subscriptions.map(({ since: _, ...subscription }) => subscription) ?? [],
    inflight: row?.inflight ?? [],
    ...(epoch !== undefined ? { resends: { epoch, ...(last !== undefined && { last }) } } : {})
  }
}
