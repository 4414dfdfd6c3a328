/** What nobody caught in this process: rejections without a handler, exceptions out of timers and events. */
import type { Logger } from 'pino'
import { LogSampler } from '../log-sampler.ts'
import { describeFault } from './plugin-fault.ts'
import { currentOwner, isServerStack } from './plugin-scope.ts'

export type StrayKind = 'unhandledRejection' | 'uncaughtException'

/** What nobody caught since the start. */
export interface StrayCounts { rejections: number, exceptions: number }

export class Strays {
  readonly counts: StrayCounts = { rejections: 0, exceptions: 0 }
  readonly #log: Logger
  readonly #sampler = new LogSampler()

  constructor (log: Logger) { this.#log = log }

  /**
   * Logs and counts it; to be called within the process event. True when the server can go on: after a rejection (nothing
   * was broken off by it), and after an exception of a plugin's own timer or event, which unwound no code of the server.
   * After any other exception it must stop. Never throws.
   */
  judge (kind: StrayKind, error: unknown): boolean {
    const owner = currentOwner()
    const fault = describeFault(error)
    const rejected = kind === 'unhandledRejection'
    const goesOn = rejected || (owner !== undefined && !isServerStack(fault.stack ?? ''))
    if (rejected) this.counts.rejections += 1
    else this.counts.exceptions += 1
    if (owner !== undefined) owner.counts.stray += 1
    const plugin = owner === undefined ? {} : { plugin: owner.name }
    if (!goesOn) {
      this.#log.fatal({ ...plugin, err: fault, ...this.counts }, 'an exception that nobody caught: the server stops')
      return false
    }
    const leftOut = this.#sampler.take()
    if (leftOut !== undefined) {
      this.#log.error({ ...plugin, err: fault, ...this.counts, leftOut }, rejected ? 'a promise was rejected and nobody caught it' : 'an exception of a plugin that nobody caught')
    }
    return true
  }
}
