/**
 * What this server owns: the logs that it writes, and whose rows it may keep in memory. Two servers may believe to own one log for a moment, while
 * they see different servers; the database tells them apart then (unique numbers), and what either has in memory is forgotten when the views change.
 */
import type { Logger } from 'pino'
import type { Nodes } from '../store/store.ts'
import type { Registry } from './registry.ts'
import type { View } from './view.ts'

export interface OwnershipOptions {
  self: string
  registry: Pick<Registry, 'view' | 'isLinked' | 'onChange' | 'onBeat' | 'beat'>
  /** Tells which processes are over for good (`Nodes.over` of the store). */
  over: Nodes['over']
  log: Logger
}

export class Ownership {
  #options: OwnershipOptions | undefined
  readonly #onChange: Array<() => void> = []
  readonly #onOver: Array<(sinceMs: number) => void> = []
  /** Servers that are not seen any more and may still write, with when they were seen last (milliseconds since the epoch). */
  readonly #missing = new Map<string, number>()
  #keeps = false
  #asking: Promise<void> | undefined

  /** Whether this server may keep rows of a log in memory: it owns the log, and hears of what others write of it. To be given to the store, also before `start`. */
  readonly keeps = (log: string): boolean => this.#keeps && this.isMine(log)

  /** To be called once. Before it nothing is kept. */
  start (options: OwnershipOptions): void {
    this.#options = options
    const { registry } = options
    registry.onChange((view, before) => { this.#changed(view, before) })
    registry.onBeat(() => {
      this.#decide()
      if (this.#missing.size > 0) this.#asking ??= this.#ask().finally(() => { this.#asking = undefined })
    })
    this.#decide()
  }

  /** Called when what this server owns, or may keep, is not what it was. */
  onChange (listener: () => void): void { this.#onChange.push(listener) }
  /** Called when servers that were missing are over: `sinceMs` (since the epoch) they were seen. */
  onOver (listener: (sinceMs: number) => void): void { this.#onOver.push(listener) }

  /** Whether this server writes a log, as far as it knows. */
  isMine (log: string): boolean {
    const { self, registry } = this.#options as OwnershipOptions
    return registry.view.ownerOf(log) === self
  }

  /** The other server that writes a log; undefined: this one does, or no other one can be asked. */
  otherOwner (log: string): string | undefined {
    const { self, registry } = this.#options as OwnershipOptions
    if (!registry.isLinked) return undefined
    const owner = registry.view.ownerOf(log)
    return owner === self ? undefined : owner
  }

  /** Whether a server is in the view. */
  isKnown (node: string): boolean { return this.#options?.registry.view.nodes.has(node) === true }
  /** Looks who is there, now. */
  look (): void {
    this.#options?.registry.beat().catch((error: unknown) => { this.#options?.log.debug({ err: error }, 'who is there is seen with the next heartbeat') })
  }

  /** Resolves when nothing is asked. */
  async settled (): Promise<void> { await this.#asking }

  #changed (view: View, before: View): void {
    for (const node of before.nodes.keys()) if (!view.nodes.has(node)) this.#missing.set(node, Date.now())
    for (const node of view.nodes.keys()) this.#missing.delete(node)
    this.#keeps = this.#mayKeep()
    for (const listener of this.#onChange) listener()
  }

  /** Where Redis does not answer, or somebody is missing who may write, what others write is not heard of. */
  #mayKeep (): boolean { return this.#options?.registry.isLinked === true && this.#missing.size === 0 }

  #decide (): void {
    const keeps = this.#mayKeep()
    if (keeps === this.#keeps) return
    this.#keeps = keeps
    for (const listener of this.#onChange) listener()
  }

  async #ask (): Promise<void> {
    const { over, log } = this.#options as OwnershipOptions
    const asked = [...this.#missing.keys()]
    try {
      const gone = await over(asked)
      const since = Math.min(...gone.map(node => this.#missing.get(node) ?? Infinity))
      for (const node of gone) this.#missing.delete(node)
      if (this.#missing.size > 0 || gone.length === 0) return
      log.info({ servers: gone }, 'servers that were missing are over: what they wrote is taken up')
      this.#decide()
      if (since < Infinity) for (const listener of this.#onOver) listener(since)
    } catch (error) {
      log.debug({ err: error }, 'whether servers are over cannot be told now')
    }
  }
}
