/** Connections that are asked to go to another server: so many a second, each when what it has sent is answered. */
import { disconnectReasons } from './connection/disconnect-reasons.ts'
import type { Elsewhere } from './connection/elsewhere.ts'
import type { ListedConnection, Sessions } from './sessions.ts'

/** Milliseconds that a connection is waited for whose publishes are not answered. Its client sends them again elsewhere. */
const patienceMs = 2_000
const stepMs = 50

export interface DrainOptions {
  /** Connections a second, at least: more when that is needed for `withinMs`. */
  perSecond: number
  /** Milliseconds for all. */
  withinMs: number
  /** Addresses for the next client: undefined when none is known. */
  reference: () => string | undefined
  /** False: nobody takes them any more, and it ends. */
  goesOn: () => boolean
  progress?: (moved: number, total: number) => void
}

export interface DeparturesContext {
  readonly sessions: Pick<Sessions, 'connected'>
  /** Of the configuration. */
  readonly elsewhere: Elsewhere | undefined
  /** Milliseconds of a clock that only goes forward. */
  steady (): number
}

interface Leaving { until: number, reason: number, reference: string | undefined, why?: string }

export class Departures {
  readonly #context: DeparturesContext
  readonly #leaving = new Map<ListedConnection, Leaving>()
  #draining: DrainOptions | undefined
  #timer: NodeJS.Timeout | undefined
  #end: (() => void) | undefined

  constructor (context: DeparturesContext) { this.#context = context }

  get draining (): boolean { return this.#draining !== undefined }

  /** Where clients are told to go; while the server drains everybody who connects is sent there. */
  get elsewhere (): Elsewhere | undefined {
    const { elsewhere } = this.#context
    if (this.#draining === undefined) return elsewhere
    return { address: this.#draining.reference() ?? elsewhere?.address, reason: disconnectReasons.serverMoved, redirect: true }
  }

  /** Resolves when all sessions have gone and are stored, or time is up. Nobody is served anew from now on. */
  async drain (options: DrainOptions): Promise<void> {
    this.#draining = options
    const { sessions: { connected }, steady } = this.#context
    const total = connected.size
    const beganAt = steady()
    const rate = Math.max(options.perSecond, Math.ceil(total * 1000 / Math.max(options.withinMs - patienceMs, 1000)))
    let moved = 0
    await new Promise<void>(resolve => {
      this.#end = resolve
      const step = (): void => {
        const passedMs = steady() - beganAt
        const due = Math.ceil(rate * passedMs / 1000)
        // Some may be connecting still.
        for (const { connection } of connected.values()) {
          if (moved >= due) break
          if (this.#begin(connection, disconnectReasons.serverMoved, options.reference() ?? this.#context.elsewhere?.address)) moved++
        }
        this.#step()
        options.progress?.(Math.min(moved, total), total)
        if (connected.size === 0 || passedMs >= options.withinMs || !options.goesOn()) this.close()
      }
      step()
      if (this.#end !== undefined) this.#timer = setInterval(step, stepMs)
    })
  }

  /** Sessions that are here and are not asked to go. */
  get staying (): number {
    let count = 0
    for (const { connection } of this.#context.sessions.connected.values()) if (!connection.isClosed && !this.#leaving.has(connection)) count++
    return count
  }

  /** Asks one session to go for now, to a server with fewer of them; false: it is leaving, or has gone. */
  move (session: string, reference: string): boolean {
    const connection = this.#context.sessions.connected.get(session)?.connection
    if (connection === undefined || !this.#begin(connection, disconnectReasons.useAnotherServer, reference, 'moved to a server with fewer sessions')) return false
    this.#timer ??= setInterval(() => {
      this.#step()
      if (this.#leaving.size === 0 && this.#draining === undefined) this.close()
    }, stepMs)
    return true
  }

  /** Nobody is moved any more. */
  close (): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#leaving.clear()
    this.#end?.()
    this.#end = undefined
  }

  /** It is read no more. */
  #begin (connection: ListedConnection, reason: number, reference: string | undefined, why?: string): boolean {
    if (this.#leaving.has(connection) || connection.isClosed) return false
    connection.hold()
    this.#leaving.set(connection, { until: this.#context.steady() + patienceMs, reason, reference, ...why !== undefined && { why } })
    return true
  }

  #step (): void {
    const now = this.#context.steady()
    for (const [connection, { until, ...how }] of this.#leaving) {
      if (connection.publishes.busy && now < until) continue
      this.#leaving.delete(connection)
      connection.close(how)
    }
  }
}
