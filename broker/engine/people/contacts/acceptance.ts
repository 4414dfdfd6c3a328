/** From whom somebody takes messages: what every direct message is judged by, so all of it is in memory where it was asked for before. */
import type { ContactMode } from '../../../operations/rules.ts'
import type { EngineHost } from '../../host.ts'
import { LookupCache } from '../../lookup-cache.ts'
import { contactKey, contactsPrefix, modeKey, modesPrefix } from './contact-rows.ts'

/** Settings, and pairs of users of which it is known whether they are contacts, in memory. */
const maxCachedModes = 100_000
const maxCachedPairs = 100_000

const modes: readonly ContactMode[] = ['everybody', 'contacts', 'nobody']

export class Acceptance {
  readonly #host: EngineHost
  readonly #fallback: ContactMode
  readonly #modes: LookupCache<ContactMode>
  /** By `{user}/{other}`. One by one: a list of each user would be large, and most users ask for none. */
  readonly #pairs: LookupCache<boolean>
  /** Nobody has said anything, and no message is asked about. */
  #unsaid = false
  #changes = 0

  /** `fallback`: of those who have not said anything. */
  constructor (host: EngineHost, fallback: ContactMode) {
    const { records } = host.store
    this.#host = host
    this.#fallback = fallback
    this.#modes = new LookupCache(async user => {
      const bytes = await records.get(modeKey(user))
      const text = bytes === undefined ? undefined : Buffer.from(bytes).toString()
      return modes.find(known => known === text) ?? fallback
    }, maxCachedModes)
    this.#pairs = new LookupCache(async pair => await records.get(contactsPrefix + pair) !== undefined, maxCachedPairs)
  }

  /** To be called once, before there are messages. */
  async load (): Promise<void> {
    if (this.#fallback !== 'everybody') return
    const changes = this.#changes
    for await (const [key] of this.#host.store.records.range(modesPrefix, `${modesPrefix.slice(0, -1)}0`, 1)) if (key !== '') return
    if (changes === this.#changes) this.#unsaid = true
  }

  /** Whether a user takes messages of another one; synchronous when it is in memory. Block lists are another matter. */
  mayWrite (receiver: string, sender: string): boolean | Promise<boolean> {
    if (this.#unsaid) return true
    const mode = this.#modes.get(receiver)
    if (mode === 'everybody' || receiver === sender) return true
    return mode instanceof Promise ? mode.then(loaded => loaded === 'everybody' || this.has(receiver, sender)) : this.has(receiver, sender)
  }

  /** Whether `other` is a contact of `user`; synchronous when it is in memory. */
  has (user: string, other: string): boolean | Promise<boolean> { return this.#pairs.get(`${user}/${other}`) }

  mode (user: string): ContactMode | Promise<ContactMode> { return this.#modes.get(user) }

  /** `undefined`: as the server's default says. */
  async setMode (user: string, mode: ContactMode | undefined): Promise<ContactMode> {
    this.#said()
    try {
      await this.#host.store.records.write([{ key: modeKey(user), value: mode === undefined ? null : Buffer.from(mode) }], true)
    } finally {
      this.#modes.forget(user)
    }
    return mode ?? this.#fallback
  }

  /** The two became contacts, or are none any more. */
  changed (user: string, other: string): void {
    for (const key of [contactKey(user, other), contactKey(other, user)]) this.forget(key)
  }

  /** The row was changed, perhaps by another server. */
  forget (key: string): void {
    if (key.startsWith(contactsPrefix)) this.#pairs.forget(key.slice(contactsPrefix.length))
    if (!key.startsWith(modesPrefix)) return
    this.#said()
    this.#modes.forget(key.slice(modesPrefix.length))
  }

  #said (): void {
    this.#changes++
    this.#unsaid = false
  }

  clear (): void {
    const wasUnsaid = this.#unsaid
    this.#said()
    this.#modes.clear()
    this.#pairs.clear()
    // Until then each is asked about.
    if (wasUnsaid) this.load().catch((error: unknown) => { this.#host.log.debug({ err: error }, 'whether anybody has said of whom they take messages is not known') })
  }
}
