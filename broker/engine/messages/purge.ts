/** Retention: messages older than the limit leave the store in small steps, so that nobody waits for it. */
import type { EngineHost } from '../host.ts'
import { setTimeout as pause } from 'node:timers/promises'

/** Messages of one step, and the pause after it in milliseconds. */
const stepMessages = 500
const stepPauseMs = 20

export class Purge {
  readonly #host: EngineHost
  readonly #stop = new AbortController()
  #timer: NodeJS.Timeout | undefined
  #round: { retentionSeconds: number, done: Promise<number> } | undefined

  /** `intervalMs`: milliseconds between two rounds. */
  constructor (host: EngineHost, intervalMs: number) {
    this.#host = host
    if (host.limits.retentionSeconds <= 0) return
    this.#timer = setInterval(() => {
      this.run().catch((error: unknown) => { host.log.error({ err: error }, 'the retention purge failed') })
    }, intervalMs)
    this.#timer.unref()
  }

  /**
   * One round; resolves to how many messages went. Rounds do not overlap: who asks for the retention of the one that is
   * under way gets its result, another retention waits for it. `retentionSeconds`: 0 removes nothing.
   */
  async run (retentionSeconds: number = this.#host.limits.retentionSeconds): Promise<number> {
    while (this.#round !== undefined) {
      const { retentionSeconds: other, done } = this.#round
      if (other === retentionSeconds) return await done
      await done.catch((error: unknown) => { this.#host.log.debug({ err: error }, 'the round before this one failed; who asked for it is told') })
    }
    const done = this.#run(retentionSeconds).finally(() => { this.#round = undefined })
    this.#round = { retentionSeconds, done }
    return await done
  }

  /** Ends the timer and waits for the step that is under way. */
  async close (): Promise<void> {
    clearInterval(this.#timer)
    this.#stop.abort()
    await this.#round?.done.catch((error: unknown) => { this.#host.log.debug({ err: error }, 'the retention purge ended with the server') })
  }

  async #run (retentionSeconds: number): Promise<number> {
    if (retentionSeconds <= 0) return 0
    const before = this.#host.now() - retentionSeconds * 1000
    let purged = 0
    while (!this.#stop.signal.aborted) {
      const step = await this.#host.store.purge(before, stepMessages)
      purged += step
      if (step < stepMessages) break
      // It keeps the process: for a command that purges, nothing else does.
      await pause(stepPauseMs, undefined, { signal: this.#stop.signal }).catch(stopped)
    }
    if (purged > 0) this.#host.log.info({ purged }, 'messages beyond the retention were removed')
    return purged
  }
}

/** The pause ends early at `close`; the loop sees the signal. */
function stopped (error: unknown): void { if (!(error instanceof Error && error.name === 'AbortError')) throw error }
