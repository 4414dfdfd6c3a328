/** The health pages: /healthz, the process lives; /readyz, it can take messages. */
import type { Logger } from 'pino'
import { Refusal } from '../errors.ts'
import type { Routes } from './app.ts'

/** What the health pages ask. */
export interface Health {
  /** Resolves when the server can take messages; rejects with the cause otherwise. */
  ready (): Promise<void>
  /** False when the store failed for good: the process is about to end. */
  alive (): boolean
  /** It is about to end, and takes nobody. */
  draining? (): boolean
  version: string
  /** Causes go here and to nobody who asks: they may name machines, ports and paths. */
  log: Logger
  /** Milliseconds for which an answer of `ready` serves everybody who asks. */
  readyForMs: number
}

export function healthRoutes (health: Health): Routes {
  const readiness = new Readiness(health)
  const { version } = health
  return app => {
    app.get('/healthz', async () => {
      if (!health.alive()) throw new Refusal('unavailable', 'the store failed for good: the server ends')
      return { status: 'ok', version }
    })
    app.get('/readyz', async () => {
      if (health.draining?.() === true) throw new Refusal('unavailable', 'the server drains: its clients go to others')
      if (!await readiness.isReady()) throw new Refusal('unavailable', 'the store does not take messages now; the log says why')
      return { status: 'ready', version }
    })
  }
}

class Readiness {
  readonly #health: Health
  #wasReady = true
  /** The answer that serves all, until `#askAgainAt` (monotonic clock, milliseconds). */
  #answer: Promise<boolean> | undefined
  #askAgainAt = 0

  constructor (health: Health) { this.#health = health }

  /** One look at the store at a time, and one in `readyForMs`, however many ask. */
  isReady (): Promise<boolean> {
    if (this.#answer === undefined || performance.now() >= this.#askAgainAt) {
      this.#askAgainAt = Infinity
      this.#answer = this.#ask().finally(() => { this.#askAgainAt = performance.now() + this.#health.readyForMs })
    }
    return this.#answer
  }

  async #ask (): Promise<boolean> {
    try {
      await this.#health.ready()
    } catch (err) {
      this.#change(err as Error)
      return false
    }
    this.#change()
    return true
  }

  /** Told once, however often it is asked. */
  #change (err?: Error): void {
    if (this.#wasReady === (err === undefined)) return
    this.#wasReady = !this.#wasReady
    if (err === undefined) this.#health.log.info('ready again')
    else this.#health.log.error({ err }, 'not ready: the store does not take messages')
  }
}
