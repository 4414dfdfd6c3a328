/** Looks for sessions whose time has passed, and for those that a crash left without an end. */
import type { SessionRow } from '../../store/store.ts'
import type { EngineHost } from '../host.ts'
import type { KeyedQueue } from '../keyed-queue.ts'
import { expiry, type SessionEnds } from './session-ends.ts'
import type { SessionRows } from './session-rows.ts'

const pageSize = 100
/** After a crash the sessions that it left are given their end this soon, milliseconds. */
const firstSweepMs = 1_000

export interface SweepContext {
  readonly host: EngineHost
  readonly rows: SessionRows
  readonly ends: SessionEnds
  /** By user: what is done with the sessions of one is done one after the other. */
  readonly queue: KeyedQueue
  /** The session has a connection at this server. */
  isLive (session: string): boolean
}

export class Sweep {
  readonly #context: SweepContext
  readonly #firstTimer: NodeJS.Timeout
  readonly #timer: NodeJS.Timeout
  #round: Promise<void> | undefined
  #closed = false

  /** `intervalMs`: milliseconds between two sweeps. */
  constructor (context: SweepContext, intervalMs: number) {
    this.#context = context
    const sweep = (): void => {
      this.run().catch((error: unknown) => { context.host.log.error({ err: error }, 'expired sessions were not removed') })
    }
    this.#firstTimer = setTimeout(sweep, firstSweepMs)
    this.#firstTimer.unref()
    this.#timer = setInterval(sweep, intervalMs)
    this.#timer.unref()
  }

  /** Removes expired sessions; gives those that a crash left without an end one, which counts from the start of the server, or from now when another server left them. */
  run (): Promise<void> {
    this.#round ??= this.#sweep().finally(() => { this.#round = undefined })
    return this.#round
  }

  /** Ends the timers and waits for a sweep that is under way. */
  async close (): Promise<void> {
    this.#closed = true
    clearTimeout(this.#firstTimer)
    clearInterval(this.#timer)
    await this.#round?.catch((error: unknown) => { this.#context.host.log.debug({ err: error }, 'the sweep of sessions ended with the server') })
  }

  async #sweep (): Promise<void> {
    const { host: { store }, rows, queue, isLive } = this.#context
    let after: string | undefined
    do {
      const page: SessionRow[] = await store.sessions({ limit: pageSize, ...(after === undefined ? {} : { after }) })
      const gone = page.filter(row => !isLive(row.session) && (row.expiresAt === undefined || rows.isExpired(rows.seen(row))))
      const over = await rows.over(gone)
      await Promise.all(gone.filter(row => !rows.isElsewhere(row, over)).map(row => queue.run(row.user, () => this.#settle(row.session, over))))
      after = page.length < pageSize ? undefined : page.at(-1)?.session
    } while (after !== undefined && !this.#closed)
  }

  async #settle (session: string, over: ReadonlySet<string>): Promise<void> {
    const { host: { store, now }, rows, ends, isLive } = this.#context
    const row = isLive(session) ? undefined : await store.session(session)
    // It may have been opened at another server meanwhile, which started after `over` was known.
    if (row === undefined || rows.isElsewhere(row, over)) return
    const seen = rows.seen(row)
    if (rows.isExpired(seen)) {
      await rows.drop(row)
      return
    }
    if (row.expiresAt !== undefined) return
    // When another server ended nobody knows: not later than now.
    const endedAt = rows.isForeign(row) ? now() : ends.floor
    await store.putSession({ ...seen, expiresAt: seen.expiresAt ?? expiry(endedAt, row.expirySeconds) }, row)
    ends.forget(session)
  }
}
