/**
 * The index by which people are found: a row for each name of theirs, in a space for each setting, so that a search reads no row of who is not to be
 * found. A row may be of the past, after a crash: the profile says what holds.
 */
import type { Records } from '../../../store/store.ts'
import { type Findable, type Profile, termsOf } from './profile.ts'

/** Of those who have said nothing what is configured holds. */
type Setting = Findable | 'default'
export interface Entry { setting: Setting, term: string, user: string, /** What a page begins behind. */ place: string }
type Change = Parameters<Records['write']>[0][number]

/** Neither an id nor a name has it. */
const separator = '\t'
const afterSeparator = '\n'
const last = '\u{10ffff}'
const spaceOf = (setting: Setting): string => `profiles/find/${setting}/`
const none = new Uint8Array()

export function settingOf ({ findable }: Profile): Setting { return findable ?? 'default' }

/** The keys of somebody's rows. */
export function keysOf (user: string, profile: Profile | undefined): string[] {
  if (profile === undefined || profile.findable === 'nobody') return []
  return termsOf(user, profile).map(term => `${spaceOf(settingOf(profile))}${term}${separator}${user}`)
}

export function puts (keys: readonly string[]): Change[] { return keys.map(key => ({ key, value: none })) }
export function drops (keys: readonly string[]): Change[] { return keys.map(key => ({ key, value: null })) }

export class Finding {
  readonly #records: Records
  readonly #fallback: Findable

  constructor (records: Records, fallback: Findable) {
    this.#records = records
    this.#fallback = fallback
  }

  /** Whether a name is one that a search for `sought` finds with this setting. */
  matches (setting: Setting, term: string, sought: string): boolean {
    return this.#wholeOnly(setting) ? term === sought : term.startsWith(sought)
  }

  /** Rows that match, in the order of their places, at most `limit`; those of the past among them. */
  async page (sought: string, after: string | undefined, limit: number): Promise<Entry[]> {
    const settings: Setting[] = ['prefix', 'exact', ...this.#fallback === 'nobody' ? [] : ['default' as const]]
    const pages = await Promise.all(settings.map(setting => this.#read(setting, sought, after, limit)))
    return pages.flat().sort((a, b) => byBytes(a.place, b.place)).slice(0, limit)
  }

  async #read (setting: Setting, sought: string, after: string | undefined, limit: number): Promise<Entry[]> {
    const space = spaceOf(setting)
    const [first, end] = this.#wholeOnly(setting) ? [sought + separator, sought + afterSeparator] : [sought, sought + last]
    const from = after === undefined || byBytes(after, first) < 0 ? first : `${after}\0`
    const found: Entry[] = []
    if (byBytes(from, end) >= 0) return found
    for await (const [key] of this.#records.range(space + from, space + end, limit)) {
      const place = key.slice(space.length)
      const [term = '', user = ''] = place.split(separator)
      found.push({ setting, term, user, place })
    }
    return found
  }

  #wholeOnly (setting: Setting): boolean { return (setting === 'default' ? this.#fallback : setting) === 'exact' }
}

/** As both stores order keys. */
export function byBytes (a: string, b: string): number { return Buffer.compare(Buffer.from(a), Buffer.from(b)) }
