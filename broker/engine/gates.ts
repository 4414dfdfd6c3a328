/** Runs the plugins' gates before the commit and their listeners after it. */
import type { Logger } from 'pino'
import { codes } from '../errors.ts'
import type { Code, Draft, GateVerdict, PluginInstance, Stored } from '../plugin-api.ts'
import { StoreFailure } from './committer.ts'

/** A started plugin, with what the engine needs to know of it. */
export interface RunningPlugin {
  readonly name: string
  readonly timeoutMs: number
  readonly onFailure: 'refuse' | 'pass'
  readonly instance: PluginInstance
  readonly counts: PluginCounts
}

/** What a plugin did since the start. */
export interface PluginCounts {
  /** Messages that it refused itself. */
  refused: number
  /** Throws, rejections and answers of `onPublish` that make no sense. */
  failed: number
  /** Answers that did not come within `timeoutMs`. */
  timedOut: number
  /** Throws of `onStored`. */
  listenerFailed: number
}

export function newCounts (): PluginCounts { return { refused: 0, failed: 0, timedOut: 0, listenerFailed: 0 } }

/** The gates and listeners of one engine, in their order. */
export class Gates {
  /** True when anyone hears of committed messages. */
  readonly listens: boolean
  readonly #gates: RunningPlugin[]
  readonly #listeners: RunningPlugin[]
  readonly #log: Logger

  constructor (plugins: readonly RunningPlugin[], log: Logger) {
    this.#gates = plugins.filter(plugin => plugin.instance.onPublish !== undefined)
    this.#listeners = plugins.filter(plugin => plugin.instance.onStored !== undefined)
    this.listens = this.#listeners.length > 0
    this.#log = log
  }

  /** Asks the gates in order until one refuses. A promise only when a gate answers with one. Throws, or rejects with, `StoreFailure` alone. */
  check (draft: Draft, from = 0): GateVerdict | Promise<GateVerdict> {
    for (let i = from; i < this.#gates.length; i++) {
      const gate = this.#gates[i] as RunningPlugin
      let answer: unknown
      try {
        answer = gate.instance.onPublish?.(draft)
      } catch (error) {
        answer = this.#failure(gate, error)
      }
      if (answer === undefined) continue
      if (isThenable(answer)) return this.#checkRest(draft, i, gate, answer)
      const verdict = this.#verdict(gate, answer)
      if (verdict !== undefined) return verdict
    }
    return undefined
  }

  /** Tells the listeners of a committed message. Never throws. */
  stored (message: Stored): void {
    for (const plugin of this.#listeners) {
      try {
        plugin.instance.onStored?.(message)
      } catch (error) {
        plugin.counts.listenerFailed += 1
        this.#log.error({ plugin: plugin.name, err: error }, 'onStored of a plugin failed')
      }
    }
  }

  async #checkRest (draft: Draft, at: number, gate: RunningPlugin, answer: PromiseLike<unknown>): Promise<GateVerdict> {
    return this.#verdict(gate, await this.#within(gate, answer)) ?? await this.check(draft, at + 1)
  }

  /** The answer, or what a failure or a timeout means. An answer that comes too late is dropped. */
  async #within (gate: RunningPlugin, answer: PromiseLike<unknown>): Promise<unknown> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<GateVerdict>(resolve => {
      timer = setTimeout(() => {
        gate.counts.timedOut += 1
        this.#log.warn({ plugin: gate.name, timeoutMs: gate.timeoutMs }, 'onPublish of a plugin timed out')
        resolve(gate.onFailure === 'pass' ? undefined : refusalOf('unavailable'))
      }, gate.timeoutMs)
    })
    try {
      return await Promise.race([answer, late])
    } catch (error) {
      return this.#failure(gate, error)
    } finally {
      clearTimeout(timer)
    }
  }

  #failure (gate: RunningPlugin, error: unknown): GateVerdict {
    // Not the plugin's: a refusal would acknowledge a message that the client had better send again.
    if (error instanceof StoreFailure) throw error
    gate.counts.failed += 1
    this.#log.error({ plugin: gate.name, err: error }, 'onPublish of a plugin failed')
    return gate.onFailure === 'pass' ? undefined : refusalOf('internal')
  }

  /** Checks what a plugin answered: plugins may be plain JavaScript. */
  #verdict (gate: RunningPlugin, answer: unknown): GateVerdict {
    if (answer === undefined || ownRefusals.has(answer)) return answer as GateVerdict
    const { code, reason, retryAfterMs } = (typeof answer === 'object' && answer !== null ? answer : {}) as Record<string, unknown>
    if (typeof code !== 'string' || !Object.hasOwn(codes, code)) {
      return this.#failure(gate, new Error('onPublish answered with neither undefined nor a refusal with a known code'))
    }
    gate.counts.refused += 1
    return {
      code: code as Code,
      ...(typeof reason === 'string' && { reason }),
      ...(typeof retryAfterMs === 'number' && retryAfterMs >= 0 && { retryAfterMs })
    }
  }
}

// Refusals made here, because of a failure: they are not the plugin's.
const ownRefusals = new Set<unknown>()
const internal: GateVerdict = { code: 'internal' }
const unavailable: GateVerdict = { code: 'unavailable' }
ownRefusals.add(internal).add(unavailable)

function refusalOf (code: 'internal' | 'unavailable'): GateVerdict { return code === 'internal' ? internal : unavailable }

function isThenable (value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}
