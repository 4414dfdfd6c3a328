/** Runs the plugins' gates before the commit and their listeners after it. */
import type { Logger } from 'pino'
import { codes } from '../../errors.ts'
import type { Code, Draft, GateVerdict, Stored } from '../../plugin-api.ts'
import { StoreFailure } from '../commit/store-failure.ts'
import { LogSampler } from '../log-sampler.ts'
import { maxPauseMs, PauseEnded } from './pauses.ts'
import { describeFault, promised } from '../plugins/plugin-fault.ts'
import type { RunningPlugin } from '../plugins/running-plugin.ts'

/** A plugin that listens, with the promises of `onStored` that are open. */
interface Listener { readonly plugin: RunningPlugin, open: number, readonly skips: LogSampler }

/** The gates and listeners of one engine, in their order. */
export class Gates {
  /** True when anyone hears of committed messages. */
  readonly listens: boolean
  readonly #gates: RunningPlugin[]
  readonly #listeners: Listener[]
  readonly #listenerPending: number
  readonly #log: Logger
  readonly #failures = new LogSampler(20)
  readonly #pause: (session: string, delayMs: number) => Promise<boolean>

  /**
   * `listenerPending`: promises of one plugin's `onStored` that may be open (`pluginLimits.listenerPending`). `pause` holds a
   * session; it resolves to false when the engine ends before the time is over.
   */
  constructor (
    plugins: readonly RunningPlugin[], log: Logger, listenerPending: number,
    pause: (session: string, delayMs: number) => Promise<boolean> = neverPause
  ) {
    this.#pause = pause
    this.#gates = plugins.filter(plugin => plugin.hooks.onPublish !== undefined)
    this.#listeners = plugins.filter(plugin => plugin.hooks.onStored !== undefined).map(plugin => ({ plugin, open: 0, skips: new LogSampler(1) }))
    this.#listenerPending = listenerPending
    this.listens = this.#listeners.length > 0
    this.#log = log
  }

  /**
   * Asks the gates in order until one refuses. A promise only when a gate answers with one or lets the
   * session wait. Throws, or rejects with, `StoreFailure` (and `PauseEnded`) alone.
   */
  check (draft: Draft, from = 0): GateVerdict | Promise<GateVerdict> {
    for (let i = from; i < this.#gates.length; i++) {
      const gate = this.#gates[i] as RunningPlugin
      let answer: unknown
      try {
        answer = gate.hooks.onPublish?.(draft)
      } catch (error) {
        answer = this.#failure(gate, error)
      }
      if (answer === undefined) continue
      const promise = promised(answer)
      if (promise !== undefined) return this.#checkRest(draft, i, gate, promise)
      const delayMs = delayIn(answer)
      if (delayMs !== undefined) return this.#checkLater(draft, i, delayMs)
      const verdict = this.#verdict(gate, answer)
      if (verdict !== undefined) return verdict
    }
    return undefined
  }

  /** Tells the listeners of a committed message. Never throws, and waits for nobody. */
  stored (message: Stored): void {
    for (const listener of this.#listeners) {
      const { plugin } = listener
      if (listener.open >= this.#listenerPending) {
        this.#skip(listener)
        continue
      }
      try {
        const promise = promised(plugin.hooks.onStored?.(message))
        if (promise === undefined) continue
        listener.open += 1
        promise.then(() => { listener.open -= 1 }, (error: unknown) => {
          listener.open -= 1
          this.#listenerFailed(plugin, error)
        })
      } catch (error) {
        this.#listenerFailed(plugin, error)
      }
    }
  }

  /** A listener that cannot keep up misses messages: it may cost no memory without end, and nobody waits for it. */
  #skip ({ plugin, open, skips }: Listener): void {
    plugin.counts.listenerSkipped += 1
    if (skips.take() === undefined) return
    this.#log.warn({ plugin: plugin.name, open, skipped: plugin.counts.listenerSkipped },
      'onStored of a plugin does not hear of messages: too many of its promises are open')
  }

  #listenerFailed (plugin: RunningPlugin, error: unknown): void {
    plugin.counts.listenerFailed += 1
    this.#logFailure(plugin, error, 'onStored of a plugin failed')
  }

  #logFailure (plugin: RunningPlugin, error: unknown, text: string): void {
    const leftOut = this.#failures.take()
    if (leftOut !== undefined) this.#log.error({ plugin: plugin.name, err: describeFault(error), ...(leftOut > 0 && { leftOut }) }, text)
  }

  async #checkRest (draft: Draft, at: number, gate: RunningPlugin, answer: Promise<unknown>): Promise<GateVerdict> {
    const given = await this.#within(gate, answer)
    const delayMs = delayIn(given)
    if (delayMs !== undefined) return await this.#checkLater(draft, at, delayMs)
    return this.#verdict(gate, given) ?? await this.check(draft, at + 1)
  }

  async #checkLater (draft: Draft, at: number, delayMs: number): Promise<GateVerdict> {
    if (!await this.#pause(draft.session, delayMs)) throw new PauseEnded()
    return await this.check(draft, at + 1)
  }

  /** The answer, or what a failure or a timeout means. An answer that comes too late is dropped. */
  async #within (gate: RunningPlugin, answer: Promise<unknown>): Promise<unknown> {
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
    this.#logFailure(gate, error, 'onPublish of a plugin failed')
    return gate.onFailure === 'pass' ? undefined : refusalOf('internal')
  }

  /** Checks what a plugin answered: plugins may be plain JavaScript. */
  #verdict (gate: RunningPlugin, answer: unknown): GateVerdict {
    if (answer === undefined || ownRefusals.has(answer)) return answer as GateVerdict
    const verdict = refusalIn(answer)
    if (verdict === undefined) return this.#failure(gate, new Error('onPublish answered with neither undefined, nor a refusal with a known code, nor a delay'))
    gate.counts.refused += 1
    return verdict
  }
}

/** Longer reasons are cut: they travel in packets of the sender's limits (an MQTT string has at most 65,535 bytes). */
const maxReasonLength = 1_000

/** What a plugin answered as a refusal; `undefined` when it is none, or reading it throws. */
function refusalIn (answer: unknown): GateVerdict {
  if (typeof answer !== 'object' || answer === null) return undefined
  let given: Record<string, unknown>
  try {
    const { code, reason, retryAfterMs } = answer as Record<string, unknown>
    given = { code, reason, retryAfterMs }
  } catch {
    return undefined
  }
  const { code, reason, retryAfterMs } = given
  if (typeof code !== 'string' || !Object.hasOwn(codes, code)) return undefined
  return {
    code: code as Code,
    // Lone surrogates and NUL have no place in an MQTT string [MQTT-1.5.3-1], [MQTT-1.5.3-2].
    ...(typeof reason === 'string' && { reason: Buffer.from(reason.slice(0, maxReasonLength).replaceAll('\0', '')).toString() }),
    ...(typeof retryAfterMs === 'number' && Number.isFinite(retryAfterMs) && retryAfterMs >= 0 && { retryAfterMs })
  }
}

// Refusals made here, because of a failure: they are not the plugin's.
const ownRefusals = new Set<unknown>()
const internal: GateVerdict = { code: 'internal' }
const unavailable: GateVerdict = { code: 'unavailable' }
ownRefusals.add(internal).add(unavailable)

function refusalOf (code: 'internal' | 'unavailable'): GateVerdict { return code === 'internal' ? internal : unavailable }

const neverPause = (): Promise<boolean> => Promise.resolve(true)

/** How long an answer lets its session wait. Other numbers, and what throws when it is read, are no answer. */
function delayIn (answer: unknown): number | undefined {
  if (typeof answer !== 'object' || answer === null) return undefined
  try {
    const { delayMs } = answer as { delayMs?: unknown }
    return typeof delayMs === 'number' && delayMs > 0 && delayMs <= maxPauseMs ? delayMs : undefined
  } catch {
    return undefined
  }
}
