/**
 * Ends of sessions that the store has not taken. A session's time counts from when its connection really ended, so an end
 * that cannot be stored is kept here and tried again until it is.
 */
import type { Logger } from 'pino'
import type { ConnectionMark, SessionRow, TimeMs } from '../../store/store.ts'

export interface SessionEnd {
  readonly user: string
  readonly endedAt: TimeMs
  /** Seconds that the session outlives it; 0 = it goes. */
  readonly expirySeconds: number
  readonly inflight: SessionRow['inflight']
  readonly own?: SessionRow['own'] | undefined
  /** Up to which of the connection's publishes the client has the answers. */
  readonly proven?: number | undefined
  /** The connection to put back: the one that is stored never came to be. */
  readonly connection?: ConnectionMark | undefined
}

export interface SessionEndsOptions {
  /** Ends that are kept; beyond it the oldest are forgotten, and `floor` rises. */
  max: number
  /** Stores one; rejects when the store does not take it. Calls `forget` when it does. */
  put: (session: string, end: SessionEnd) => Promise<void>
  log: Logger
  /** Milliseconds before the first and between later tries. */
  firstRetryMs?: number
  maxRetryMs?: number
}

const pageSize = 100

export class SessionEnds {
  readonly #options: SessionEndsOptions
  readonly #ends = new Map<string, SessionEnd>()
  #timer: NodeJS.Timeout | undefined
  #round: Promise<void> | undefined
  #delayMs: number
  #floor: TimeMs
  #closed = false

  /** `startedAt`: what counts as the end of sessions that a crash left without one. */
  constructor (options: SessionEndsOptions, startedAt: TimeMs) {
    this.#options = options
    this.#delayMs = options.firstRetryMs ?? 1_000
    this.#floor = startedAt
  }

  get size (): number { return this.#ends.size }

  /** What counts as the end of a stored session of which no end is known: never earlier than the true one. */
  get floor (): TimeMs { return this.#floor }

  get (session: string): SessionEnd | undefined { return this.#ends.get(session) }
  forget (session: string): void { this.#ends.delete(session) }

  /** The stored row as it would be if the store had taken the end. */
  seen (row: SessionRow): SessionRow {
    const end = this.#ends.get(row.session)
    return end === undefined ? row : withEnd(row, end)
  }

  /** Keeps an end that the store did not take. */
  keep (session: string, end: SessionEnd, error: unknown): void {
    const { max, log } = this.#options
    if (this.#ends.size === 0) log.error({ err: error, session }, 'the end of a session was not stored: it is tried again until it is')
    this.#ends.delete(session)
    this.#ends.set(session, end)
    for (const [oldest, { endedAt }] of this.#ends) {
      if (this.#ends.size <= max) break
      this.#ends.delete(oldest)
      // It lives a little longer than it should, which harms nobody.
      this.#floor = Math.max(this.#floor, endedAt)
    }
    this.#schedule()
  }

  /** Tries all; resolves when none is left or one failed. */
  retry (): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#round ??= this.#retry().finally(() => {
      this.#round = undefined
      this.#schedule()
    })
    return this.#round
  }

  /** One last try, and no more timers. */
  async close (): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    await this.#round
    if (this.#ends.size > 0) await this.retry()
    if (this.#ends.size > 0) this.#options.log.warn({ sessions: this.#ends.size }, 'ends of sessions could not be stored: their time counts from the next start')
  }

  async #retry (): Promise<void> {
    const { put, log, firstRetryMs = 1_000, maxRetryMs = 30_000 } = this.#options
    const before = this.#ends.size
    const waiting = [...this.#ends]
    let failure: { error: unknown } | undefined
    // One finds out whether the store is back; the others do not all have to.
    for (let at = 0, count = 1; at < waiting.length; at += count, count = pageSize) {
      const page = waiting.slice(at, at + count)
      const results = await Promise.allSettled(page.map(([session, end]) => put(session, end)))
      const failed = page.filter((_, i) => results[i]?.status === 'rejected')
      if (failed.length > 0) failure = { error: results.find(one => one.status === 'rejected')?.reason }
      for (const [session, end] of failed) this.#moveBack(session, end)
      if (failed.length === page.length) break
    }
    if (failure !== undefined) {
      this.#delayMs = Math.min(maxRetryMs, this.#delayMs * 2)
      log.debug({ err: failure.error, sessions: this.#ends.size }, 'ends of sessions are not stored yet')
      return
    }
    this.#delayMs = firstRetryMs
    if (before > 0 && this.#ends.size === 0) log.info({ sessions: before }, 'the ends of sessions are stored')
  }

  /** Others are tried before it next time: its own row may be what fails. */
  #moveBack (session: string, end: SessionEnd): void {
    if (this.#ends.get(session) !== end) return
    this.#ends.delete(session)
    this.#ends.set(session, end)
  }

  #schedule (): void {
    if (this.#closed || this.#ends.size === 0 || this.#timer !== undefined || this.#round !== undefined) return
    this.#timer = setTimeout(() => { this.retry().catch((error: unknown) => { this.#options.log.error({ err: error }, 'ends of sessions are not tried again') }) }, this.#delayMs)
    this.#timer.unref()
  }
}

/** "For ever" as MQTT 5 says it, seconds. */
export const forEverSeconds = 0xFFFFFFFF

/** The row of a session that ended. */
export function withEnd ({ own: _, ...row }: SessionRow, { endedAt, expirySeconds, inflight, own = [], proven = 0, connection = row.connection }: SessionEnd): SessionRow {
  const mark = connection === undefined ? {} : { connection: { ...connection, proven: Math.max(connection.proven, proven) } }
  return { ...row, ...mark, inflight, ...own.length > 0 && { own }, expirySeconds, expiresAt: expiry(endedAt, expirySeconds) }
}

/** When a session ends that outlives its connection by `expirySeconds`. */
export function expiry (from: TimeMs, expirySeconds: number): TimeMs {
  return expirySeconds >= forEverSeconds ? Number.MAX_SAFE_INTEGER : from + expirySeconds * 1000
}
