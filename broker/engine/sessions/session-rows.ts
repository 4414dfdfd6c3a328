/** Rows of sessions, as they count: with ends that the store has not taken yet, and beside other servers that share the store. */
import { Refusal } from '../../errors.ts'
import type { SessionRow } from '../../store/store.ts'
import { isShared } from '../../topics.ts'
import type { EngineHost } from '../host.ts'
import { expiry, forEverSeconds, type SessionEnds } from './session-ends.ts'

export class SessionRows {
  readonly #host: EngineHost
  readonly #ends: SessionEnds
  readonly #isLive: (session: string) => boolean

  /** `isLive`: the session has a connection at this server. */
  constructor (host: EngineHost, ends: SessionEnds, isLive: (session: string) => boolean) {
    this.#host = host
    this.#ends = ends
    this.#isLive = isLive
  }

  /** The row with its end when the store has not taken that yet. */
  seen (row: SessionRow): SessionRow { return this.isForeign(row) ? row : this.#ends.seen(row) }

  /** Another server process holds it, or held it last; an earlier start of this one is another one. */
  isForeign ({ node }: SessionRow): boolean { return node !== undefined && node !== this.#host.store.nodes.self }

  /** Which servers are over of those that left rows without an end. */
  async over (rows: readonly SessionRow[]): Promise<ReadonlySet<string>> {
    const nodes = new Set(rows.flatMap(row => row.expiresAt === undefined && row.node !== undefined && this.isForeign(row) ? [row.node] : []))
    return new Set(nodes.size === 0 ? [] : await this.#host.store.nodes.over([...nodes]))
  }

  /** True of a session that is connected at another server. Its row was read before it was asked who is over. */
  isElsewhere (row: SessionRow, over: ReadonlySet<string>): boolean {
    return row.expiresAt === undefined && this.isForeign(row) && !over.has(row.node as string)
  }

  isExpired (row: SessionRow): boolean {
    if (this.#isLive(row.session)) return false
    // Connected elsewhere, or left by a server that is over: the sweep gives it an end.
    if (row.expiresAt === undefined && this.isForeign(row)) return false
    return (row.expiresAt ?? expiry(this.#ends.floor, row.expirySeconds)) <= this.#host.now()
  }

  endedAt (row: SessionRow): number {
    if (row.expiresAt === undefined) return this.#ends.floor
    return row.expirySeconds >= forEverSeconds ? row.createdAt : row.expiresAt - row.expirySeconds * 1000
  }

  /** Drops a session that has no connection; access forgets what it keeps for it. False when another server has opened it since the row was read. */
  async drop (row: SessionRow): Promise<boolean> {
    const { session } = row
    if (!await this.#host.store.dropSession(session, row)) return false
    this.#ends.forget(session)
    this.#host.emit([{ kind: 'expired', session }])
    return true
  }

  /** Shares are counted apart: devices do not push them out, nor they devices. Throws `Refusal` (`rate_limited`). */
  async makeRoom (user: string, share: boolean): Promise<void> {
    const { limits } = this.#host
    const max = share ? limits.maxSharesPerUser : limits.maxSessionsPerUser
    const rows = (await this.#of(user)).filter(({ clientId }) => isShared(clientId) === share)
    if (rows.length < max) return
    const over = await this.over(rows)
    const gone = rows.filter(row => !this.#isLive(row.session) && !this.isElsewhere(row, over))
    gone.sort((a, b) => this.endedAt(this.seen(a)) - this.endedAt(this.seen(b)))
    for (const row of gone) if (await this.drop(row)) return
    throw tooMany(max, share)
  }

  /** The same for a share that is not kept: no row counts it. `open`: shares of the user that are open. */
  checkOpenShares (open: number): void {
    const { maxSharesPerUser } = this.#host.limits
    if (open >= maxSharesPerUser) throw tooMany(maxSharesPerUser, true)
  }

  /** A session of the user subscribes to the share, connected or not. */
  async isWanted (user: string, share: string): Promise<boolean> {
    const key = share.slice(user.length + 1)
    const rows = await this.#of(user)
    return rows.length > this.#most || rows.some(row => !this.isExpired(this.seen(row)) && row.subscriptions.some(({ filter }) => filter === key))
  }

  /** All, where limits are not smaller than they were; more than there may be, otherwise. */
  #of (user: string): Promise<SessionRow[]> { return this.#host.store.sessions({ user, limit: this.#most + 2 }) }
  get #most (): number { return this.#host.limits.maxSessionsPerUser + this.#host.limits.maxSharesPerUser }
}

function tooMany (max: number, share: boolean): Refusal {
  return new Refusal('rate_limited', `a user has at most ${max} ${share ? 'shared subscriptions' : 'sessions that outlive their connection'}`)
}
