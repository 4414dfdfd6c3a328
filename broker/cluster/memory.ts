/** What the engine here has in memory of what others change: told by their notices, and forgotten while those cannot come. */
import type { Logger } from 'pino'
import type { Output } from '../link/port.ts'
import type { Notice, Remote } from '../link/remote.ts'
import type { Store } from '../store/store.ts'
import type { Link } from './link.ts'
import { NoticingStore } from './notices.ts'
import type { Registry } from './registry.ts'

export interface MemoryOptions {
  link: Pick<Link, 'on' | 'tellAll'>
  registry: Pick<Registry, 'isLinked' | 'onBeat'>
  log: Logger
  /** Milliseconds of a clock that only goes forward. */
  steady?: () => number
}

/** Between two looks at the accounts of connected users while nothing is heard, milliseconds. */
const verifyMs = 5_000

export class Memory {
  readonly #options: MemoryOptions
  readonly #steady: () => number
  #remote: Remote | undefined
  #wasLinked = true
  #verifyAt = -Infinity

  constructor (options: MemoryOptions) {
    this.#options = options
    this.#steady = options.steady ?? (() => performance.now())
    options.link.on('notices', (notices: Notice[]) => { for (const notice of notices) this.#remote?.forget(notice) })
    options.registry.onBeat(() => { this.#beat() })
  }

  /** The store, of which the other servers hear what is changed. */
  noticed (store: Store): Store { return new NoticingStore(store, notices => { this.#options.link.tellAll('notices', notices) }) }

  /** From now on the engine hears. */
  attach (remote: Remote): void { this.#remote = remote }

  /** Outputs of another server, before the gateway gets them. */
  hear (outputs: readonly Output[]): void { this.#remote?.outputs(outputs) }

  /** Something that others said may be lost. Rejects when the store fails. */
  async missed (): Promise<void> {
    this.#remote?.forget({ kind: 'all' })
    await this.#remote?.verify()
  }

  /** Redis may have forgotten who has which session. */
  claimsLost (): void { this.#remote?.recheck().catch((error: unknown) => { this.#options.log.error({ err: error }, 'who has which session was not looked at again') }) }

  #beat (): void {
    const { isLinked } = this.#options.registry
    if (isLinked && !this.#wasLinked) this.claimsLost()
    this.#wasLinked = isLinked
    if (isLinked) return
    this.#remote?.forget({ kind: 'all' })
    if (this.#steady() - this.#verifyAt < verifyMs) return
    this.#verifyAt = this.#steady()
    // While the database is away too, nobody has banned anybody.
    this.#remote?.verify().catch((error: unknown) => { this.#options.log.debug({ err: error }, 'the accounts of connected users were not looked at') })
  }
}
