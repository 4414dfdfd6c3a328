/** What people say of themselves, who sees it, and who finds them by it. */
import { Refusal } from '../../../errors.ts'
import type { Caller, Listed, Pause, PersonView, ProfileChange, ProfileView } from '../../../operations/rules.ts'
import { isId } from '../../../topics.ts'
import type { EngineHost } from '../../host.ts'
import { KeyedQueue } from '../../keyed-queue.ts'
import { byBytes, drops, type Entry, Finding, keysOf, puts, settingOf } from './finding.ts'
import { changed, type Findable, type Profile, termOf, termsOf, type Visibility } from './profile.ts'

/** Rows that are looked up at the same time. */
const lookupWidth = 16
/** Others have their turn after so many. */
const usersOfPiece = 50
/** So many who are told of a change are worth one more large request. */
const toldOfRequest = 100

/** As configured, of those who have said nothing. */
export interface ProfileSettings { findable: Findable, visible: Visibility }
export const defaultProfileSettings: ProfileSettings = { findable: 'exact', visible: 'contacts' }

export interface ProfileParts {
  /** Who does not want to be seen by whom. */
  blocks: { has (receiver: string, sender: string): boolean | Promise<boolean> }
  /** Who sees more, and hears of changes: `names` in pieces. */
  contacts: { has (user: string, other: string): boolean | Promise<boolean>, names (user: string, pause?: Pause): AsyncIterable<string[]> }
}

const keyOf = (user: string): string => `profiles/of/${user}`
/** No name begins with it. */
const beforeAll = ' '

export class Profiles {
  readonly #host: EngineHost
  readonly #parts: ProfileParts
  readonly #settings: ProfileSettings
  readonly #finding: Finding
  readonly #queue = new KeyedQueue()

  constructor (host: EngineHost, parts: ProfileParts, settings: ProfileSettings) {
    this.#host = host
    this.#parts = parts
    this.#settings = settings
    this.#finding = new Finding(host.store.records, settings.findable)
  }

  /** One's own as a whole; of others what they show. Throws `Refusal` (`not_found`). */
  async get (viewer: string, user: string): Promise<ProfileView> {
    const profile = await this.#read(user)
    if (profile === undefined && !await this.#host.userExists(user)) throw new Refusal('not_found', `there is no user '${user}'`)
    if (viewer === user) return this.#own(user, profile ?? {})
    if (profile === undefined || await this.#parts.blocks.has(user, viewer)) return { user }
    const { language, timeZone, fields } = profile
    if (!await this.#shows(profile, user, viewer)) return person(user, profile)
    return { ...person(user, profile), ...language !== undefined && { language }, ...timeZone !== undefined && { timeZone }, ...fields !== undefined && { fields } }
  }

  /** Of many what everybody sees; who is not there is left out. */
  async list (viewer: string, users: readonly string[], pause?: Pause): Promise<PersonView[]> {
    const found: PersonView[] = []
    const asked = [...new Set(users)]
    for (let at = 0; at < asked.length; at += lookupWidth) {
      if (at > 0 && at % usersOfPiece < lookupWidth) await pause?.()
      const some = await Promise.all(asked.slice(at, at + lookupWidth).map(user => this.#view(viewer, user)))
      for (const one of some) if (one !== undefined) found.push(one)
    }
    return found
  }

  async #view (viewer: string, user: string): Promise<PersonView | undefined> {
    const profile = await this.#read(user)
    if (profile === undefined) return await this.#host.userExists(user) ? { user } : undefined
    return viewer !== user && await this.#parts.blocks.has(user, viewer) ? { user } : person(user, profile)
  }

  /**
   * Those whose id or nickname is, or begins with, a text, as far as they want to be found, by name. Who has never said anything is found by the whole
   * id alone. Throws `Refusal` (`bad_payload`).
   */
  async search (text: string, { user: viewer, limit, after }: Listed, pause?: Pause): Promise<{ people: PersonView[], next?: string }> {
    const sought = termOf(text)
    if (sought === '') throw new Refusal('bad_payload', 'text: has nothing that could be looked for')
    const people: PersonView[] = after === undefined ? await this.#silent(viewer, text) : []
    const places: string[] = people.map(() => beforeAll)
    for (let from = after; ;) {
      const entries = await this.#finding.page(sought, from, limit + 1)
      const some = await this.#look(entries, entry => this.#found(viewer, sought, entry))
      for (const [i, one] of some.entries()) {
        if (one === undefined) continue
        people.push(one)
        places.push((entries[i] as Entry).place)
      }
      if (people.length > limit) return { people: people.slice(0, limit), next: places[limit - 1] as string }
      if (entries.length <= limit) return { people }
      from = (entries.at(-1) as Entry).place
      await pause?.()
    }
  }

  /** Who has an account with this very id, and never said anything. */
  async #silent (viewer: string, text: string): Promise<PersonView[]> {
    const { mode, userExists } = this.#host
    // In dev mode every id is somebody.
    if (mode === 'dev' || this.#settings.findable === 'nobody' || !isId(text) || await this.#read(text) !== undefined || !await userExists(text)) return []
    return await this.#parts.blocks.has(text, viewer) ? [] : [{ user: text }]
  }

  /** Of several names that match the first one counts, so nobody is found twice. */
  async #found (viewer: string, sought: string, { setting, term, user }: Entry): Promise<PersonView | undefined> {
    const profile = await this.#read(user)
    if (profile === undefined || settingOf(profile) !== setting) return undefined
    const [first] = termsOf(user, profile).filter(name => this.#finding.matches(setting, name, sought)).sort(byBytes)
    if (first !== term || await this.#parts.blocks.has(user, viewer)) return undefined
    return person(user, profile)
  }

  async #look<Item, Result> (items: readonly Item[], one: (item: Item) => Promise<Result>): Promise<Result[]> {
    const results: Result[] = []
    for (let at = 0; at < items.length; at += lookupWidth) results.push(...await Promise.all(items.slice(at, at + lookupWidth).map(one)))
    return results
  }

  /** The user's devices hear of it, and of nickname and avatar the contacts. Throws `Refusal` (`bad_payload`, `too_large`). */
  async set (user: string, change: ProfileChange, { pause, owe }: Pick<Caller, 'pause' | 'owe'> = {}): Promise<ProfileView> {
    if (Object.values(change).every(value => value === undefined)) return await this.get(user, user)
    const profile = await this.#queue.run(user, () => this.#write(user, before => changed(before ?? {}, change, this.#host.limits))) ?? {}
    await this.#tell([user], user, profile)
    // Also where it is as it was: the time before, telling may have been cut off.
    if (change.nickname !== undefined || change.avatar !== undefined) {
      let told = 0
      for await (const contacts of this.#parts.contacts.names(user, pause)) {
        const apart = await Promise.all(contacts.map(other => this.#apart(user, other)))
        await this.#tell(contacts.filter((_, i) => apart[i] === false), user, profile)
        told += contacts.length
      }
      owe?.(Math.floor(told / toldOfRequest))
    }
    return this.#own(user, profile)
  }

  /** One of the two blocks the other one: a nickname is not a way to whom messages do not reach. */
  async #apart (user: string, other: string): Promise<boolean> {
    const { blocks } = this.#parts
    return await blocks.has(user, other) || await blocks.has(other, user)
  }

  async #tell (users: readonly string[], whose: string, profile: Profile): Promise<void> {
    const ts = this.#host.now()
    const content = JSON.stringify({ kind: 'profile', ...person(whose, profile), ts })
    await this.#host.commit(users.map(user => ({ op: 'event', user, slot: `profile ${whose}`, ts, content })))
  }

  /** The account goes. */
  async forget (user: string): Promise<void> { await this.#queue.run(user, () => this.#write(user, () => undefined)) }

  /**
   * Rows of the index are there before what they lead to, and go after it: what a crash leaves are rows of the past. Another server may change the
   * same profile: what is kept is one's or the other's.
   */
  async #write (user: string, make: (before: Profile | undefined) => Profile | undefined): Promise<Profile | undefined> {
    const { records } = this.#host.store
    const old = new Set<string>()
    for (;;) {
      const bytes = await records.get(keyOf(user))
      const before = bytes === undefined ? undefined : parsed(bytes)
      const after = make(before)
      const keys = keysOf(user, after)
      for (const key of [...keysOf(user, before), ...keys]) old.add(key)
      await records.write(puts(keys), true)
      if (!await this.#swap(keyOf(user), bytes, after)) continue
      for (const key of keys) old.delete(key)
      await records.write(drops([...old]), true)
      await this.#restore(user, old)
      return after
    }
  }

  /** Of rows that were taken away for old ones another server may have made one anew. */
  async #restore (user: string, dropped: ReadonlySet<string>): Promise<void> {
    if (this.#host.remote === undefined) return
    const missing = keysOf(user, await this.#read(user)).filter(key => dropped.has(key))
    await this.#host.store.records.write(puts(missing), true)
  }

  async #swap (key: string, from: Uint8Array | undefined, to: Profile | undefined): Promise<boolean> {
    const { records } = this.#host.store
    const bytes = to === undefined ? null : Buffer.from(JSON.stringify(to))
    if (from !== undefined) return await records.swap(key, from, bytes)
    return bytes === null || Buffer.compare(await records.create(key, bytes), bytes) === 0
  }

  async #read (user: string): Promise<Profile | undefined> {
    const bytes = await this.#host.store.records.get(keyOf(user))
    return bytes === undefined ? undefined : parsed(bytes)
  }

  #shows ({ visible = this.#settings.visible }: Profile, user: string, viewer: string): boolean | Promise<boolean> {
    return visible === 'everybody' || (visible === 'contacts' && this.#parts.contacts.has(user, viewer))
  }

  #own (user: string, profile: Profile): ProfileView { return { ...profile, user, visible: profile.visible ?? this.#settings.visible, findable: profile.findable ?? this.#settings.findable } }
}

/** What everybody sees. */
function person (user: string, { nickname, avatar }: Profile): PersonView {
  return { user, ...nickname !== undefined && { nickname }, ...avatar !== undefined && { avatar } }
}

function parsed (bytes: Uint8Array): Profile { return JSON.parse(Buffer.from(bytes).toString()) as Profile }
