/**
 * Who may put whom into a group (ADR 7). A block list holds always, and who takes messages of contacts alone is put into groups by them alone. Otherwise
 * everybody says for themself: anybody may, or contacts and whom one has written a message oneself may and others invite, or nobody may.
 */
import type { Code } from '../../errors.ts'
import type { ContactMode } from '../../operations/rules.ts'
import { directId } from '../../topics.ts'
import type { EngineHost, Pause } from '../host.ts'
import { LookupCache } from '../lookup-cache.ts'
import { Slots } from '../slots.ts'

export const consents = ['everybody', 'known', 'nobody'] as const
export type Consent = typeof consents[number]
export type Admission = 'add' | 'invite' | Extract<Code, 'blocked' | 'forbidden'>

/** Settings in memory. */
const maxCached = 20_000
/** Users who are looked up at the same time, by all requests together: each may bring a block list. */
const maxLooking = 8
const rowsOfLookup = 200
/** Users who are looked up before others have their turn. */
const usersOfPiece = 50

const settingPrefix = 'groups/consent/'
const settingKey = (user: string): string => settingPrefix + user

interface Pairs { has (user: string, other: string): boolean | Promise<boolean> }
export interface ConsentParts {
  /** Who does not want to hear of whom. */
  blocks: Pairs
  /** Who knows whom, and whether that is needed. */
  contacts: Pairs & { mode (user: string): ContactMode | Promise<ContactMode> }
}

export class Consents {
  readonly #host: EngineHost
  readonly #parts: ConsentParts
  readonly #settings: LookupCache<Consent>
  readonly #slots = new Slots(maxLooking)
  /** Of those who have not said anything. */
  readonly #fallback: Consent

  constructor (host: EngineHost, parts: ConsentParts, fallback: Consent) {
    this.#host = host
    this.#parts = parts
    this.#fallback = fallback
    this.#settings = new LookupCache(async user => {
      const bytes = await host.store.records.get(settingKey(user))
      const text = bytes === undefined ? undefined : Buffer.from(bytes).toString()
      return consents.find(known => known === text) ?? fallback
    }, maxCached)
  }

  async of (user: string): Promise<Consent> { return await this.#settings.get(user) }

  /** `undefined`: as the server's default says. */
  async set (user: string, consent: Consent | undefined): Promise<Consent> {
    try {
      await this.#host.store.records.write([{ key: settingKey(user), value: consent === undefined ? null : Buffer.from(consent) }], true)
    } finally {
      this.#settings.forget(user)
    }
    return consent ?? this.#fallback
  }

  /** Another server has changed the row. */
  forget (key: string): void { if (key.startsWith(settingPrefix)) this.#settings.forget(key.slice(settingPrefix.length)) }

  clear (): void { this.#settings.clear() }

  async #look (user: string, by: string): Promise<Admission> {
    const { blocks, contacts } = this.#parts
    const [blocked, consent, mode] = await Promise.all([blocks.has(user, by), this.#settings.get(user), contacts.mode(user)])
    if (blocked) return 'blocked'
    if (consent === 'nobody') return 'forbidden'
    if (mode === 'everybody' && consent === 'everybody') return 'add'
    if (await contacts.has(user, by)) return 'add'
    return mode === 'everybody' ? 'invite' : 'forbidden'
  }

  /** What becomes of each of the users whom `by` wants in a group. Others have their turn at each `pause`. */
  async judge (by: string, users: readonly string[], pause?: Pause): Promise<Admission[]> {
    const answers: Admission[] = []
    for (let at = 0; at < users.length; at += usersOfPiece) {
      if (at > 0) await pause?.()
      answers.push(...await Promise.all(users.slice(at, at + usersOfPiece).map(user => this.#slots.run(() => this.#look(user, by)))))
    }
    const strangers = [...users.keys()].filter(i => answers[i] === 'invite')
    for (let at = 0; at < strangers.length; at += rowsOfLookup) {
      const some = strangers.slice(at, at + rowsOfLookup)
      const rows = await this.#host.store.membersAt(some.map(i => ({ user: users[i] as string, conv: directId(users[i] as string, by) })))
      some.forEach((i, j) => { if (rows[j]?.posted === true) answers[i] = 'add' })
    }
    return answers
  }
}
