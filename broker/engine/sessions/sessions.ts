/** Persistent sessions: what of a client id outlives its connection, and for how long. [MQTT-3.1.2-4] to [MQTT-3.1.2-6], MQTT 5 section 3.1.2.11.2 */
import { Refusal } from '../../errors.ts'
import type { SessionRow } from '../../store/store.ts'
import type { Topics } from '../../topics.ts'
import type { EngineHost } from '../host.ts'
import { KeyedQueue } from '../keyed-queue.ts'
import type { Engine, SessionResume, SessionStart } from '../../link/port.ts'
import type { Holder } from '../../link/remote.ts'
import { Seats, type Elsewhere, type Opening } from './seats.ts'
import { SubscriptionDates, withDates } from './subscription-dates.ts'
import { SessionEnds, withEnd, type SessionEnd } from './session-ends.ts'
import { SessionRows } from './session-rows.ts'
import { Sweep } from './sweep.ts'
import { userOf } from './user-of.ts'

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
  /** Sessions with a connection. */
  readonly seats: Seats
  readonly #ends: SessionEnds
  readonly #rows: SessionRows
  readonly #sweep: Sweep

  constructor (host: EngineHost, marks: PendingMarks, { topics, sweepIntervalMs, maxUnstoredEnds, retryMs }: SessionsOptions) {
    this.#topics = topics
    this.#host = host
    this.#marks = marks
    const put = (session: string, end: SessionEnd): Promise<void> => this.#queue.run(end.user, () => this.#putAway(session, end))
    this.#ends = new SessionEnds({ max: maxUnstoredEnds, put, log: host.log, ...(retryMs !== undefined && { firstRetryMs: retryMs }) }, host.now())
    this.seats = new Seats(host, user => this.#queue.run(user, async () => {}))
    const isLive = (session: string): boolean => this.seats.has(session)
    this.#rows = new SessionRows(host, this.#ends, isLive)
    this.#sweep = new Sweep({ host, rows: this.#rows, ends: this.#ends, queue: this.#queue, isLive }, sweepIntervalMs)
  }

  /** False only for a session that is known to begin and end with its connection. One that is taken up goes on from its cursors, also when it is to end now. */
  isPersistent (session: string): boolean { return this.seats.get(session)?.persistent !== false }

  /** Since when a session subscribes to what, by connections before this one. */
  async dates (session: string): Promise<SubscriptionDates> {
    const openedAt = this.seats.get(session)?.since ?? Infinity
    const row = await this.#host.store.session(session)
    return new SubscriptionDates(this.#topics, row, openedAt)
  }

  /** Throws `Refusal`: `rate_limited` when the user has too many sessions and all of them are connected, `unavailable` when it is taken up at another server meanwhile. */
  open (start: SessionStart): Promise<SessionResume> {
    const { session, user, share = false } = start
    return this.seats.open(session, share, opening => this.#queue.run(user, () => this.#open(start, opening)))
  }

  /** Rejects when the session has gone: it must not be told that its subscriptions are kept. */
  saveSubscriptions (session: string, subscriptions: SessionResume['subscriptions']): Promise<void> {
    const now = this.#host.now()
    return this.#queue.run(userOf(session), async () => {
      const row = await this.#host.store.session(session)
      const isKept = row !== undefined && !this.#rows.isForeign(row) &&
        await this.#host.store.putSession({ ...row, subscriptions: withDates(this.#topics, subscriptions, row, now) }, row)
      if (!isKept && this.seats.get(session)?.persistent === true) throw new Error(row === undefined ? 'the session is not stored any more' : 'the session goes on at another server')
    })
  }

  /** What the store does not take is kept and tried again: the session's time counts from now. */
  close (end: Parameters<Engine['closeSession']>[0]): Promise<void> {
    const { session, inflight, own } = end
    const user = userOf(session)
    this.seats.ending(session)
    let ended: SessionEnd = { user, endedAt: this.#host.now(), expirySeconds: this.#clamp(end.expirySeconds), inflight, own, proven: end.proven }
    return this.#queue.run(user, async () => {
      const persistent = this.seats.get(session)?.persistent !== false || ended.expirySeconds > 0
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
        this.seats.leave(session)
      }
    })
  }

  /** Ends the timer and waits for a sweep that is under way. */
  async end (): Promise<void> {
    await this.#sweep.close()
    await this.#ends.close()
  }

  async #open (start: SessionStart, opening: Opening): Promise<SessionResume | Elsewhere> {
    const { session, user, share = false } = start
    const { epoch, openedAt } = opening.seat
    // A mark of the session's earlier life must not land in this one.
    await this.#marks.settled(user)
    const expirySeconds = this.#clamp(start.expirySeconds)
    const stored = await this.#host.store.session(session)
    const holder = await this.#holder(stored, opening)
    if (holder !== undefined) return { elsewhere: holder }
    const { row, from } = await this.#resumed(start, stored)
    if (row === undefined && expirySeconds > 0) await this.#rows.makeRoom(user, share)
    else if (row === undefined && share) this.#rows.checkOpenShares(this.seats.sharesOf(user))
    const isStored = row !== undefined || expirySeconds > 0
    this.seats.check(opening)
    if (isStored) await this.#putOpen(start, row, expirySeconds, epoch)
    this.#ends.forget(session)
    this.seats.take({ session, epoch, openedAt, persistent: isStored, share, since: this.#host.now() })
    return { ...resumeOf(row, isStored ? epoch : undefined), ...from !== undefined && { from } }
  }

  /** Another server that is to end its connection of the session, or what is under way of its last one, before it is opened here. */
  async #holder (row: SessionRow | undefined, { share, asked }: Opening): Promise<Holder | undefined> {
    if (row?.node === undefined || (!share && (this.#host.remote === undefined || asked.has(row.node)))) return undefined
    const { node, connection } = row
    const isEnded = row.expiresAt !== undefined && this.#rows.isForeign(row) && !share
    if (!isEnded && !this.#rows.isElsewhere(row, await this.#rows.over([row]))) return undefined
    // Two servers would deal what is one's.
    if (share) throw new Refusal('unavailable', 'the shared subscription is open at another server')
    return { node, ...connection !== undefined && { epoch: connection.epoch }, ...isEnded && { ended: true as const } }
  }

  /** The session that goes on, and from which other process; one that is over, or not wanted, is dropped. */
  async #resumed ({ session, cleanStart }: SessionStart, stored: SessionRow | undefined): Promise<{ row: SessionRow | undefined, from: string | undefined }> {
    const { store } = this.#host
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
      const end = row === undefined ? { endedAt: now, expirySeconds, inflight: [] } : { endedAt: this.#rows.endedAt(row), expirySeconds: row.expirySeconds, inflight: row.inflight, own: row.own, connection: row.connection }
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
    if (!this.seats.has(session)) await this.#store(session, end)
    this.#ends.forget(session)
  }

  #clamp (expirySeconds: number): number { return Math.min(expirySeconds, this.#host.limits.maxSessionExpirySeconds) }
}

/** What a client is told of its session; `epoch` of one that is stored. */
function resumeOf (row: SessionRow | undefined, epoch: string | undefined): SessionResume {
  const last = row?.connection
  return {
    present: row !== undefined,
    subscriptions: row?.subscriptions.map(({ since: _, ...subscription }) => subscription) ?? [],
    inflight: row?.inflight ?? [],
    ...row?.own !== undefined && { own: row.own },
    ...(epoch !== undefined ? { resends: { epoch, ...(last !== undefined && { last }) } } : {})
  }
}
