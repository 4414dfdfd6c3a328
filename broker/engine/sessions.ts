/** Persistent sessions: what of a client id outlives its connection, and for how long. [MQTT-3.1.2-4] to [MQTT-3.1.2-6], MQTT 5 section 3.1.2.11.2 */
import { Refusal } from '../errors.ts'
import type { SessionRow } from '../store/store.ts'
import type { EngineHost } from './host.ts'
import { KeyedQueue } from './keyed-queue.ts'
import type { Marks } from './marks.ts'
import type { Engine, SessionResume, SessionStart } from './port.ts'

/** "For ever" as MQTT 5 says it, seconds. */
const forEverSeconds = 0xFFFFFFFF
const pageSize = 100
/** After a crash the sessions that it left are given their end this soon, milliseconds. */
const firstSweepMs = 1_000

export class Sessions {
  readonly #host: EngineHost
  readonly #marks: Marks
  readonly #queue = new KeyedQueue()
  /** Sessions with a connection; true when they outlive it. */
  readonly #live = new Map<string, boolean>()
  readonly #startedAt: number
  readonly #firstTimer: NodeJS.Timeout
  readonly #timer: NodeJS.Timeout
  #round: Promise<void> | undefined
  #closed = false

  /** `sweepIntervalMs`: milliseconds between two searches for expired sessions. */
  constructor (host: EngineHost, marks: Marks, sweepIntervalMs: number) {
    this.#host = host
    this.#marks = marks
    this.#startedAt = host.now()
    const sweep = (): void => {
      this.sweep().catch((error: unknown) => { host.log.error({ err: error }, 'expired sessions were not removed') })
    }
    this.#firstTimer = setTimeout(sweep, firstSweepMs)
    this.#firstTimer.unref()
    this.#timer = setInterval(sweep, sweepIntervalMs)
    this.#timer.unref()
  }

  /** False only for a session that is known to end with its connection. */
  isPersistent (session: string): boolean { return this.#live.get(session) !== false }

  /** Throws `Refusal` (`rate_limited`) when the user has too many sessions and all of them are connected. */
  open (start: SessionStart): Promise<SessionResume> {
    const { session, user, clientId } = start
    return this.#queue.run(user, async () => {
      const { store } = this.#host
      // A mark of the session's earlier life must not land in this one.
      await this.#marks.settled(user)
      const expirySeconds = this.#clamp(start.expirySeconds)
      let row = await store.session(session)
      if (row !== undefined && (start.cleanStart || this.#isExpired(row))) {
        await store.dropSession(session)
        row = undefined
      }
      if (row === undefined && expirySeconds > 0) await this.#makeRoom(user)
      if (row !== undefined || expirySeconds > 0) {
        const { expiresAt: _, ...known } = row ?? { session, user, clientId, subscriptions: [], createdAt: this.#host.now() }
        await store.putSession({ ...known, inflight: [], expirySeconds })
      }
      this.#live.set(session, expirySeconds > 0)
      return { present: row !== undefined, subscriptions: row?.subscriptions ?? [], inflight: row?.inflight ?? [] }
    })
  }

  saveSubscriptions (session: string, subscriptions: SessionRow['subscriptions']): Promise<void> {
    return this.#queue.run(userOf(session), async () => {
      const row = await this.#host.store.session(session)
      if (row !== undefined) await this.#host.store.putSession({ ...row, subscriptions })
    })
  }

  close (end: Parameters<Engine['closeSession']>[0]): Promise<void> {
    const { session } = end
    const user = userOf(session)
    return this.#queue.run(user, async () => {
      const { store } = this.#host
      try {
        await this.#marks.settled(user)
        const row = await store.session(session)
        if (row === undefined) return
        const expirySeconds = this.#clamp(end.expirySeconds)
        if (expirySeconds === 0) await store.dropSession(session)
        else await store.putSession({ ...row, inflight: end.inflight, expirySeconds, expiresAt: expiry(this.#host.now(), expirySeconds) })
      } finally {
        this.#live.delete(session)
      }
    })
  }

  /** Removes expired sessions; gives those that a crash left without an end one that counts from the start of the server. */
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
  }

  async #sweep (): Promise<void> {
    const { store } = this.#host
    let after: string | undefined
    do {
      const page: SessionRow[] = await store.sessions({ limit: pageSize, ...(after === undefined ? {} : { after }) })
      await Promise.all(page.filter(row => !this.#live.has(row.session) && (row.expiresAt === undefined || this.#isExpired(row)))
        .map(row => this.#queue.run(row.user, () => this.#settle(row.session))))
      after = page.length < pageSize ? undefined : page.at(-1)?.session
    } while (after !== undefined && !this.#closed)
  }

  async #settle (session: string): Promise<void> {
    const { store } = this.#host
    const row = this.#live.has(session) ? undefined : await store.session(session)
    if (row === undefined) return
    if (this.#isExpired(row)) await this.#drop(session)
    else if (row.expiresAt === undefined) await store.putSession({ ...row, expiresAt: expiry(this.#startedAt, row.expirySeconds) })
  }

  async #makeRoom (user: string): Promise<void> {
    const { store, limits } = this.#host
    const rows = await store.sessions({ user, limit: limits.maxSessionsPerUser + 1 })
    if (rows.length < limits.maxSessionsPerUser) return
    const gone = rows.filter(row => !this.#live.has(row.session)).sort((a, b) => this.#endedAt(a) - this.#endedAt(b))
    const oldest = gone[0]
    if (oldest === undefined) throw new Refusal('rate_limited', `a user has at most ${limits.maxSessionsPerUser} sessions that outlive their connection`)
    await this.#drop(oldest.session)
  }

  /** Drops a session that has no connection; access forgets what it keeps for it. */
  async #drop (session: string): Promise<void> {
    await this.#host.store.dropSession(session)
    this.#host.emit([{ kind: 'expired', session }])
  }

  #endedAt (row: SessionRow): number {
    if (row.expiresAt === undefined) return this.#startedAt
    return row.expirySeconds >= forEverSeconds ? row.createdAt : row.expiresAt - row.expirySeconds * 1000
  }

  #isExpired (row: SessionRow): boolean {
    if (this.#live.has(row.session)) return false
    return (row.expiresAt ?? expiry(this.#startedAt, row.expirySeconds)) <= this.#host.now()
  }

  #clamp (expirySeconds: number): number { return Math.min(expirySeconds, this.#host.limits.maxSessionExpirySeconds) }
}

/** The user of `{user}/{clientId}`; client ids may contain a slash, user ids do not. */
function userOf (session: string): string { return session.slice(0, session.indexOf('/')) }

function expiry (from: number, expirySeconds: number): number {
  return expirySeconds >= forEverSeconds ? Number.MAX_SAFE_INTEGER : from + expirySeconds * 1000
}
