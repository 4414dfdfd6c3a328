/** Retention: messages older than the limit leave the store in small steps, so that nobody waits for it. */
import type { EngineHost } from './host.ts'
import { setTimeout as pause } from 'node:timers/promises'

/** Messages of one step, and the pause after it in milliseconds. */
const stepMessages = 500
const stepPauseMs = 20

export class Purge {
  readonly #host: EngineHost
  readonly #stop = new AbortController()
  #timer: NodeJS.Timeout | undefined
  #round: Promise<number> | undefined

  /** `intervalMs`: milliseconds between two rounds. */
  constructor (host: EngineHost, intervalMs: number) {
    this.#host = host
    if (host.limits.retentionSeconds <= 0) return
    this.#timer = setInterval(() => {
      this.run().catch((error: unknown) => { host.log.error({ err: error }, 'the retention purge failed') })
    }, intervalMs)
    this.#timer.unref()
  }

  /** One round; resolves to how many messages went. Rounds do not overlap. */
  run (): Promise<number> {
    this.#round ??= this.#run().finally(() => { this.#round = undefined })
    return this.#round
  }

  /** Ends the timer and waits for the step that is under way. */
  async close (): Promise<void> {
    clearInterval(this.#timer)
    this.#stop.abort()
    await this.#round?.catch((error: unknown) => { this.#host.log.debug({ err: error }, 'the retention purge ended with the server') })
  }

  async #run (): Promise<number> {
    const { retentionSeconds } = this.#host.limits
    if (retentionSeconds <= 0) return 0
    const before = this.#host.now() - retentionSeconds * 1000
    let purged = 0
    while (!this.#stop.signal.aborted) {
      const step = await this.#host.store.purge(before, stepMessages)
      purged += step
      if (step < stepMessages) break
      await pause(stepPauseMs, undefined, { ref: false, signal: this.#stop.signal }).catch(stopped)
    }
    if (purged > 0) this.#host.log.info({ purged }, 'messages beyond the retention were removed')
    return purged
  }
}

/** The pause ends early at `close`; the loop sees the signal. */
function stopped (error: unknown): void { if (!(error instanceof Error && error.name === 'AbortError')) throw error }
