/** Persistent sessions: what of a client id outlives its connection, and for how long. [MQTT-3.1.2-4] to [MQTT-3.1.2-6], MQTT 5 section 3.1.2.11.2 */
import { randomBytes } from 'node:crypto'
import { Refusal } from '../../errors.ts'
import type { SessionRow, TimeMs } from '../../store/store.ts'
import { isShared, type Topics } from '../../topics.ts'
import type { EngineHost } from '../host.ts'
import { KeyedQueue } from '../keyed-queue.ts'
import type { Engine, SessionResume, SessionStart } from '../../link/port.ts'
import { SubscriptionDates, withDates } from './subscription-dates.ts'
import { expiry, forEverSeconds, SessionEnds, withEnd, type SessionEnd } from './session-ends.ts'

const pageSize = 100
/** After a crash the sessions that it left are given their end this soon, milliseconds. */
const firstSweepMs = 1_000

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
  readonly #firstTimer: NodeJS.Timeout
  readonly #timer: NodeJS.Timeout
  #round: Promise<void> | undefined
  #closed = false

  constructor (host: EngineHost, marks: PendingMarks, { topics, sweepIntervalMs, maxUnstoredEnds, retryMs }: SessionsOptions) {
    this.#topics = topics
    this.#host = host
    this.#marks = marks
    const put = (session: string, end: SessionEnd): Promise<void> => this.#queue.run(end.user, () => this.#putAway(session, end))
    this.#ends = new SessionEnds({ max: maxUnstoredEnds, put, log: host.log, ...(retryMs !== undefined && { firstRetryMs: retryMs }) }, host.now())
    const sweep = (): void => {
      this.sweep().catch((error: unknown) => { host.log.error({ err: error }, 'expired sessions were not removed') })
    }
    this.#firstTimer = setTimeout(sweep, firstSweepMs)
    this.#firstTimer.unref()
    this.#timer = setInterval(sweep, sweepIntervalMs)
    this.#timer.unref()
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
      const isKept = row !== undefined && !this.#isForeign(row) &&
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
        if (end.unwanted === true && !(await this.#isWanted(user, session))) ended = { ...ended, expirySeconds: 0 }
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

  /** Removes expired sessions; gives those that a crash left without an end one, which counts from the start of the server, or from now when another server left them. */
  sweep (): Promise<void> {
    this.#round ??= this.#sweep().finally(() => { this.#round = undefined })
    return this.#round
  }

  /** Ends the timer and waits for a sweep that is under way. */
  async end (): Promise<void> {
    this.#closed = true
    clearTimeout(this.#firstTimer)
    clearInterval(this.#timer)
    await this.#round?.catch((error: unknown) => { this.#host.log.debug({ err: error }, 'the sweep of sessions ended with the server') })
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
    if (start.share === true && row !== undefined && this.#isElsewhere(row, await this.#over([row]))) throw new Refusal('unavailable', 'the shared subscription is open at another server')
    if (row === undefined && expirySeconds > 0) await this.#makeRoom(user, start.share === true)
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
    const row = this.#seen(stored)
    const from = this.#isForeign(row) ? row.node : undefined
    if (!(cleanStart || this.#isExpired(row))) return { row, from }
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
      const end = row === undefined ? { endedAt: now, expirySeconds, inflight: [] } : { endedAt: this.#endedAt(row), expirySeconds: row.expirySeconds, inflight: row.inflight, connection: row.connection }
      this.#ends.keep(session, { user, ...end }, error)
      throw error
    }
  }

  /** The row with its end when the store has not taken that yet. */
  #seen (row: SessionRow): SessionRow { return this.#isForeign(row) ? row : this.#ends.seen(row) }

  /** Another server process holds it, or held it last; an earlier start of this one is another one. */
  #isForeign ({ node }: SessionRow): boolean { return node !== undefined && node !== this.#host.store.nodes.self }

  /** Which servers are over of those that left rows without an end. */
  async #over (rows: readonly SessionRow[]): Promise<ReadonlySet<string>> {
    const nodes = new Set(rows.flatMap(row => row.expiresAt === undefined && row.node !== undefined && this.#isForeign(row) ? [row.node] : []))
    return new Set(nodes.size === 0 ? [] : await this.#host.store.nodes.over([...nodes]))
  }

  /** True of a session that is connected at another server. Its row was read before it was asked who is over. */
  #isElsewhere (row: SessionRow, over: ReadonlySet<string>): boolean {
    return row.expiresAt === undefined && this.#isForeign(row) && !over.has(row.node as string)
  }

  /** Resolves to whether the session goes on. */
  async #store (session: string, end: SessionEnd): Promise<boolean> {
    const { store } = this.#host
    const row = await store.session(session)
    // What another server holds has not ended here.
    if (row === undefined || this.#isForeign(row)) return false
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

  async #sweep (): Promise<void> {
    const { store } = this.#host
    let after: string | undefined
    do {
      const page: SessionRow[] = await store.sessions({ limit: pageSize, ...(after === undefined ? {} : { after }) })
      const gone = page.filter(row => !this.#live.has(row.session) && (row.expiresAt === undefined || this.#isExpired(this.#seen(row))))
      const over = await this.#over(gone)
      await Promise.all(gone.filter(row => !this.#isElsewhere(row, over)).map(row => this.#queue.run(row.user, () => this.#settle(row.session, over))))
      after = page.length < pageSize ? undefined : page.at(-1)?.session
    } while (after !== undefined && !this.#closed)
  }

  async #settle (session: string, over: ReadonlySet<string>): Promise<void> {
    const { store, now } = this.#host
    const row = this.#live.has(session) ? undefined : await store.session(session)
    // It may have been opened at another server meanwhile, which started after `over` was known.
    if (row === undefined || this.#isElsewhere(row, over)) return
    const seen = this.#seen(row)
    if (this.#isExpired(seen)) {
      await this.#drop(row)
      return
    }
    if (row.expiresAt !== undefined) return
    // When another server ended nobody knows: not later than now.
    const endedAt = this.#isForeign(row) ? now() : this.#ends.floor
    await store.putSession({ ...seen, expiresAt: seen.expiresAt ?? expiry(endedAt, row.expirySeconds) }, row)
    this.#ends.forget(session)
  }

  /** Shares are counted apart: devices do not push them out, nor they devices. */
  async #makeRoom (user: string, share: boolean): Promise<void> {
    const { limits } = this.#host
    const max = share ? limits.maxSharesPerUser : limits.maxSessionsPerUser
    const rows = (await this.#rowsOf(user)).filter(({ clientId }) => isShared(clientId) === share)
    if (rows.length < max) return
    const over = await this.#over(rows)
    const gone = rows.filter(row => !this.#live.has(row.session) && !this.#isElsewhere(row, over))
    gone.sort((a, b) => this.#endedAt(this.#seen(a)) - this.#endedAt(this.#seen(b)))
    for (const row of gone) if (await this.#drop(row)) return
    throw new Refusal('rate_limited', `a user has at most ${max} ${share ? 'shared subscriptions' : 'sessions that outlive their connection'}`)
  }

  /** All, where limits are not smaller than they were; more than there may be, otherwise. */
  #rowsOf (user: string): Promise<SessionRow[]> { return this.#host.store.sessions({ user, limit: this.#mostRows + 2 }) }
  get #mostRows (): number { return this.#host.limits.maxSessionsPerUser + this.#host.limits.maxSharesPerUser }

  /** A session of the user subscribes to the share, connected or not. */
  async #isWanted (user: string, share: string): Promise<boolean> {
    const key = share.slice(user.length + 1)
    const rows = await this.#rowsOf(user)
    return rows.length > this.#mostRows || rows.some(row => !this.#isExpired(this.#seen(row)) && row.subscriptions.some(({ filter }) => filter === key))
  }

  /** Drops a session that has no connection; access forgets what it keeps for it. False when another server has opened it since the row was read. */
  async #drop (row: SessionRow): Promise<boolean> {
    const { session } = row
    if (!await this.#host.store.dropSession(session, row)) return false
    this.#ends.forget(session)
    this.#host.emit([{ kind: 'expired', session }])
    return true
  }

  #endedAt (row: SessionRow): number {
    if (row.expiresAt === undefined) return this.#ends.floor
    return row.expirySeconds >= forEverSeconds ? row.createdAt : row.expiresAt - row.expirySeconds * 1000
  }

  #isExpired (row: SessionRow): boolean {
    if (this.#live.has(row.session)) return false
    // Connected elsewhere, or left by a server that is over: the sweep gives it an end.
    if (row.expiresAt === undefined && this.#isForeign(row)) return false
    return (row.expiresAt ?? expiry(this.#ends.floor, row.expirySeconds)) <= this.#host.now()
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
