/** Keys that their signer publishes at an address (JWKS). */
import type { Logger } from 'pino'
import { Refusal } from '../../../errors.ts'
import type { Outgoing } from '../../../outgoing.ts'
import type { KeySource } from '../key-file.ts'
import { jwksOf, type GetKey } from './keys.ts'

export interface KeyUrlOptions {
  url: string
  /** Keys that are older are fetched anew, and used meanwhile, milliseconds. */
  cacheMs: number
  /** Nobody is let in by keys that are older, milliseconds. */
  staleMs: number
  /** Time between two fetches at least, milliseconds. */
  retryMs: number
  /** Milliseconds of a clock that only goes forward. */
  steady: () => number
  outgoing: Pick<Outgoing, 'send' | 'close'>
  log: Logger
}

export class KeyUrl implements KeySource<GetKey> {
  readonly #options: KeyUrlOptions
  #keys: GetKey | undefined
  #fetchedAt = -Infinity
  #triedAt = -Infinity
  #fetching: Promise<void> | undefined
  #closed = false

  constructor (options: KeyUrlOptions) { this.#options = options }

  /** The signer may be away: the server starts, and lets nobody in by a token before it has keys. */
  async load (): Promise<void> { await this.#fetch() }

  async current (): Promise<GetKey> {
    const { cacheMs, staleMs } = this.#options
    // Who comes now is let in by the keys that there are.
    if (this.#ageMs > cacheMs) {
      const fetched = this.#fetch()
      if (this.#ageMs > staleMs) await fetched
    }
    if (this.#keys === undefined || this.#ageMs > staleMs) throw new Refusal('unavailable', 'there are no keys to check tokens with', this.#options.retryMs)
    return this.#keys
  }

  async renewed (known: GetKey): Promise<GetKey | undefined> {
    if (this.#keys === known) await this.#fetch()
    return this.#keys === known ? undefined : this.#keys
  }

  close (): void {
    this.#closed = true
    this.#options.outgoing.close()
  }

  get #ageMs (): number { return this.#options.steady() - this.#fetchedAt }

  /** One fetch at a time, and no more than strangers with invented key ids may cause. Never rejects. */
  async #fetch (): Promise<void> {
    const { retryMs, steady } = this.#options
    if (this.#fetching === undefined && !this.#closed && steady() - this.#triedAt >= retryMs) {
      this.#triedAt = steady()
      this.#fetching = this.#get().finally(() => { this.#fetching = undefined })
    }
    await this.#fetching
  }

  async #get (): Promise<void> {
    const { url, outgoing, steady, log } = this.#options
    try {
      const { status, body } = await outgoing.send({ url, method: 'GET', headers: { accept: 'application/jwk-set+json, application/json' } })
      if (status !== 200) throw new Error(`it was answered with ${status}`)
      this.#keys = jwksOf(body)
      this.#fetchedAt = steady()
    } catch (error) {
      if (!this.#closed) log.warn({ url, reason: (error as Error).message }, 'the keys of tokens could not be fetched')
    }
  }
}
