/** What servers have in memory of each other's rows: told when it is written elsewhere, and forgotten when that may not have been heard. */
import type { Logger } from 'pino'
import type { Store } from '../store/store.ts'
import type { Link } from './link.ts'
import type { Ownership } from './ownership.ts'

/** Rows of one notice; what is more is all. */
const rowsOfNotice = 5_000
/** Milliseconds before a server was seen for the last time in which it may have left something: inserts that were given up are carried out later, and clocks differ. */
const leftWithinMs = 120_000

export interface RowMemoryOptions {
  inner: Store
  link: Pick<Link, 'tellAll' | 'on' | 'onBroken'>
  ownership: Ownership
  log: Logger
}

export class RowMemory {
  readonly #options: RowMemoryOptions
  #settling: Promise<void> = Promise.resolve()
  #closed = false

  constructor (options: RowMemoryOptions) {
    this.#options = options
    const { inner: { shared }, link, ownership } = options
    shared?.onForeign(rows => { link.tellAll('forget', rows.length > rowsOfNotice ? null : rows) })
    link.on('forget', (rows: string[] | null, from) => {
      shared?.forget(rows ?? undefined)
      // It sees this server, which does not see it yet.
      if (!ownership.isKnown(from)) ownership.look()
    })
    link.onBroken(() => { shared?.forget() })
    ownership.onChange(() => {
      shared?.forget()
      // What this server wrote as an owner so far, others may have in memory who have been the owners for a moment already.
      link.tellAll('forget', null)
    })
    ownership.onOver(sinceMs => { this.#settling = this.#settling.then(() => this.#settle(sinceMs)) })
  }

  async close (): Promise<void> {
    this.#closed = true
    await this.#settling
  }

  /**
   * Looks at what servers that are over may have left: messages without what follows from them. Their conversations' owners write that when they look, and nobody
   * may look for long: the feed's readers and the purge would wait for it.
   */
  async #settle (sinceMs: number): Promise<void> {
    const { inner, ownership, log } = this.#options
    try {
      for await (const page of inner.shared?.inserted(sinceMs - leftWithinMs) ?? []) {
        if (this.#closed) return
        await inner.heads([...new Set(page.map(({ conv }) => conv))].filter(conv => ownership.isMine(conv)))
      }
    } catch (error) {
      log.warn({ err: error }, 'what servers that are over have left is not looked up: it is written when its conversation is used next')
    }
  }
}
