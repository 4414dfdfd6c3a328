/**
 * Contacts: two users who agreed to be. A change is three steps: rows, then the events of both, then the row by which a repeat is known for one. So
 * asking again after a failure does what is left, and asking again after none does nothing.
 */
import { Refusal } from '../../../errors.ts'
import type { ContactView, Page, Pause, RequestView } from '../../../operations/rules.ts'
import type { EngineHost } from '../../host.ts'
import { KeyedQueue } from '../../keyed-queue.ts'
import type { Acceptance } from './acceptance.ts'
import { tell } from './contact-events.ts'
import { contactKey, ContactRows, type ContactRow, countOf, drop, madeKey, modeKey, put, waitingKey } from './contact-rows.ts'

/** Users who are told in one commit. */
const usersOfStep = 50

export interface ContactParts {
  acceptance: Acceptance
  blocks: { has (receiver: string, sender: string): boolean | Promise<boolean> }
}

type RowKey = (user: string, other: string) => string

export class Contacts {
  readonly #host: EngineHost
  readonly #parts: ContactParts
  readonly #rows: ContactRows
  readonly #queue = new KeyedQueue()

  constructor (host: EngineHost, parts: ContactParts) {
    this.#host = host
    this.#parts = parts
    this.#rows = new ContactRows(host.store.records)
  }

  /** Who has asked the user already becomes a contact. Throws `Refusal` (`bad_payload`, `not_found`, `blocked`, `forbidden`, `too_large`). */
  request (user: string, other: string, text: string | undefined): Promise<'asked' | 'contact'> {
    return this.#between(user, other, async () => {
      if (other === user) throw new Refusal('bad_payload', 'user: it is you')
      if (!await this.#host.userExists(other)) throw new Refusal('not_found', `there is no user '${other}'`)
      if (await this.#rows.waiting(user, other) !== undefined) {
        await this.#join(user, other)
        return 'contact'
      }
      if (await this.#rows.contact(user, other) !== undefined) return 'contact'
      if (await this.#parts.blocks.has(other, user)) throw new Refusal('blocked')
      if (await this.#rows.made(user, other) !== undefined) return 'asked'
      if (await this.#parts.acceptance.mode(other) === 'nobody') throw new Refusal('forbidden', `'${other}' takes no requests`)
      await this.#checkRequest(user, other)
      const row = { ts: this.#host.now(), ...text !== undefined && { text } }
      await this.#rows.write(put(waitingKey(other, user), row))
      await tell(this.#host, { action: 'request', by: user, more: { ...text !== undefined && { text } } }, [{ user, other, state: 'asked' }, { user: other, other: user, state: 'asks' }])
      await this.#rows.write(put(madeKey(user, other), row))
      return 'asked'
    })
  }

  /** Throws `Refusal` (`not_found`, `too_large`). */
  accept (user: string, other: string): Promise<void> {
    return this.#between(user, other, async () => {
      if (await this.#rows.waiting(user, other) !== undefined) return await this.#join(user, other)
      if (await this.#rows.contact(user, other) === undefined) throw new Refusal('not_found', `'${other}' has not asked you`)
    })
  }

  /** Nothing happens when there is no request. */
  refuse (user: string, other: string): Promise<void> {
    return this.#between(user, other, async () => {
      if (await this.#rows.waiting(user, other) === undefined) return
      // Contacts, where accepting was cut off.
      await this.#changing(user, other, () => this.#rows.write(drop(madeKey(other, user)), drop(contactKey(user, other)), drop(contactKey(other, user))))
      await this.#end('refuse', user, other)
      await this.#rows.write(drop(waitingKey(user, other)))
    })
  }

  /** A contact, or a request of the user that is open; nothing happens when there is neither. */
  remove (user: string, other: string): Promise<void> {
    return this.#between(user, other, async () => {
      if (await this.#rows.contact(user, other) !== undefined || await this.#rows.contact(other, user) !== undefined) {
        // Where accepting was cut off, the request is still there, and must not be accepted again.
        await this.#changing(user, other, () => this.#rows.write(drop(contactKey(other, user)), ...openRequests(user, other).map(drop)))
        await this.#end('remove', user, other)
        await this.#changing(user, other, () => this.#rows.write(drop(contactKey(user, other))))
        return
      }
      // One that was cut off may have reached the other one alone.
      const request = await this.#rows.made(user, other) ?? await this.#rows.waiting(other, user)
      if (request === undefined) return
      await this.#rows.write(put(madeKey(user, other), request), drop(waitingKey(other, user)))
      await this.#end('cancel', user, other)
      await this.#rows.write(drop(madeKey(user, other)))
    })
  }

  /** What the user calls a contact, and where they put it: '' and [] remove. Throws `Refusal` (`not_found`). */
  set (user: string, other: string, { remark, groups }: { remark?: string | undefined, groups?: readonly string[] | undefined }): Promise<ContactView> {
    return this.#between(user, other, async () => {
      const changed = await this.#rows.edit(user, other, row => {
        const next: ContactRow = { ...row, ...remark !== undefined && { remark }, ...groups !== undefined && { groups: [...new Set(groups)] } }
        if (next.remark === '') delete next.remark
        if (next.groups?.length === 0) delete next.groups
        return next
      })
      if (changed === undefined) throw new Refusal('not_found', `'${other}' is no contact of yours`)
      const { since, ...more } = changed
      if (remark !== undefined || groups !== undefined) await tell(this.#host, { action: 'set', by: user, more }, [{ user, other, state: 'contact' }])
      return { user: other, since, ...more }
    })
  }

  /** By id; `group`: those that the user has put there. */
  async list (user: string, { group, limit, after }: Page & { group?: string | undefined }): Promise<{ contacts: ContactView[], next?: string }> {
    const contacts: ContactView[] = []
    for await (const [other, row] of this.#rows.contacts(user, group === undefined ? limit + 1 : Infinity, after)) {
      if (group !== undefined && row.groups?.includes(group) !== true) continue
      if (contacts.length === limit) return { contacts, next: (contacts.at(-1) as ContactView).user }
      contacts.push({ user: other, ...row })
    }
    return { contacts }
  }

  /** Those that are open: who asked the user, and whom the user has asked. */
  async requests (user: string): Promise<{ received: RequestView[], sent: RequestView[] }> {
    const { maxContactRequests, maxContactRequestsMade } = this.#host.limits
    const views = async (rows: AsyncIterable<[string, Omit<RequestView, 'user'>]>): Promise<RequestView[]> => {
      const found: RequestView[] = []
      for await (const [other, row] of rows) found.push({ user: other, ...row })
      return found
    }
    return { received: await views(this.#rows.waitingFor(user, maxContactRequests)), sent: await views(this.#rows.madeBy(user, maxContactRequestsMade)) }
  }

  async mode (user: string): Promise<'everybody' | 'contacts' | 'nobody'> { return await this.#parts.acceptance.mode(user) }

  setMode (user: string, mode: 'everybody' | 'contacts' | 'nobody' | undefined): Promise<'everybody' | 'contacts' | 'nobody'> { return this.#parts.acceptance.setMode(user, mode) }

  /** Whom the user has. Others have their turn at each `pause`. */
  names (user: string, pause?: Pause): AsyncGenerator<string[]> { return pieces(after => this.#rows.contacts(user, usersOfStep, after), pause) }

  /** The account goes: the others hear of it. However many rows there are: the limits may have been higher. */
  async forget (user: string): Promise<void> {
    await this.#queue.run(user, async () => {
      for await (const names of this.names(user)) await this.#endAll('remove', user, names, contactKey, contactKey)
      for await (const names of pieces(after => this.#rows.madeBy(user, usersOfStep, after))) await this.#endAll('cancel', user, names, waitingKey, madeKey)
      for await (const names of pieces(after => this.#rows.waitingFor(user, usersOfStep, after))) await this.#endAll('refuse', user, names, madeKey, waitingKey)
      await this.#rows.write(drop(modeKey(user)))
      this.#parts.acceptance.forget(modeKey(user))
    })
  }

  /** `theirs`: rows of the others, which go first. */
  async #endAll (action: 'refuse' | 'remove' | 'cancel', user: string, others: readonly string[], theirs: RowKey, mine: RowKey): Promise<void> {
    try {
      await this.#rows.write(...others.map(other => drop(theirs(other, user))))
      await tell(this.#host, { action, by: user }, others.map(other => ({ user: other, other: user, state: 'none' })))
      await this.#rows.write(...others.map(other => drop(mine(user, other))))
    } finally {
      for (const other of others) this.#parts.acceptance.changed(user, other)
    }
  }

  async #join (user: string, other: string): Promise<void> {
    const [mine, theirs] = [await this.#rows.contact(user, other), await this.#rows.contact(other, user)]
    for (const [whose, row] of [[user, mine], [other, theirs]] as const) if (row === undefined) await this.#checkContacts(whose, user)
    const row = { since: this.#host.now() }
    await this.#changing(user, other, () => this.#rows.write(put(contactKey(user, other), mine ?? row), put(contactKey(other, user), theirs ?? row)))
    await tell(this.#host, { action: 'accept', by: user }, [{ user, other, state: 'contact' }, { user: other, other: user, state: 'contact' }])
    await this.#rows.write(...openRequests(user, other).map(drop))
  }

  async #end (action: 'refuse' | 'remove' | 'cancel', user: string, other: string): Promise<void> {
    await tell(this.#host, { action, by: user }, [{ user, other, state: 'none' }, { user: other, other: user, state: 'none' }])
  }

  async #changing (user: string, other: string, write: () => Promise<void>): Promise<void> {
    try {
      await write()
    } finally {
      this.#parts.acceptance.changed(user, other)
    }
  }

  async #checkRequest (user: string, other: string): Promise<void> {
    const { maxContactRequests, maxContactRequestsMade } = this.#host.limits
    await this.#checkContacts(user, user)
    if (await countOf(this.#rows.madeBy(user, maxContactRequestsMade)) >= maxContactRequestsMade) throw new Refusal('too_large', `at most ${maxContactRequestsMade} requests of yours may be open`)
    // One that was cut off is among them.
    if (await this.#rows.waiting(other, user) !== undefined) return
    if (await countOf(this.#rows.waitingFor(other, maxContactRequests)) >= maxContactRequests) throw new Refusal('too_large', `too many requests wait for '${other}'`)
  }

  async #checkContacts (whose: string, asker: string): Promise<void> {
    const { maxContacts } = this.#host.limits
    if (await countOf(this.#rows.contacts(whose, maxContacts)) < maxContacts) return
    throw new Refusal('too_large', whose === asker ? `you have ${maxContacts} contacts, as many as one may` : `'${whose}' has as many contacts as one may`)
  }

  /** What is changed between two users, and what counts for one of them, one after the other. */
  #between<Result> (user: string, other: string, task: () => Promise<Result>): Promise<Result> {
    const [a, b] = user < other ? [user, other] : [other, user]
    return this.#queue.run(a, () => a === b ? task() : this.#queue.run(b, task))
  }
}

/** The rows of requests between two users, of either. */
function openRequests (user: string, other: string): string[] {
  return [waitingKey(user, other), madeKey(other, user), waitingKey(other, user), madeKey(user, other)]
}

/** Ids of rows, in pages that `read` gives. */
async function * pieces (read: (after: string) => AsyncIterable<[other: string, row: unknown]>, pause?: Pause): AsyncGenerator<string[], void> {
  for (let after = ''; ;) {
    const names: string[] = []
    for await (const [other] of read(after)) names.push(other)
    if (names.length > 0) yield names
    if (names.length < usersOfStep) return
    after = names.at(-1) as string
    await pause?.()
  }
}
