/**
 * Open invitations to groups: one for each user and group. They count against the one who invites, and no more than a few wait for
 * anybody, so strangers fill nobody's list.
 */
import type { EngineHost } from '../host.ts'
import type { Store } from '../../store/store.ts'

export interface Invitation { gid: string, by: string, ts: number }

const toKey = (user: string, gid: string): string => `groups/to/${user}/${gid}`
const byKey = (by: string, user: string, gid: string): string => `groups/by/${by}/${user}/${gid}`
/** Of a change in several steps: how many may still be invited, counted when it is first needed, and where it lets others go first. */
export interface Budget { room?: number, rest: () => Promise<void> }
/** All keys that begin with `start` and a slash: 0 is what follows it. */
const under = (start: string): [string, string] => [`${start}/`, `${start}0`]
const none = new Uint8Array()
/** Invitations come before the group that they are for; it is there this long after them, milliseconds. */
const makingMs = 60_000
/** Look-ups that run at the same time. */
const lookupWidth = 16

type Change = Parameters<Store['records']['write']>[0][number]

export class Invitations {
  readonly #host: EngineHost

  constructor (host: EngineHost) { this.#host = host }

  /**
   * Invites users to a group. `known` are those who were invited before, by somebody who still may (`mayInvite`, of others than `by`);
   * `full` those whom nobody can invite now, because `by` has made as many invitations as one may, or as many wait for them.
   */
  async put (by: string, gid: string, users: readonly string[], budget: Budget, mayInvite: (other: string) => Promise<boolean>): Promise<{ fresh: string[], known: string[], full: string[] }> {
    const { store, limits, now } = this.#host
    const result = { fresh: [] as string[], known: [] as string[], full: [] as string[] }
    if (users.length === 0) return result
    budget.room ??= limits.maxInvitationsMade - await this.#madeBy(by)
    const changes: Change[] = []
    const value = Buffer.from(JSON.stringify({ by, ts: now() }))
    for (let at = 0; at < users.length; at += lookupWidth) {
      const some = users.slice(at, at + lookupWidth)
      const states = await Promise.all(some.map(async user => {
        const before = await this.get(user, gid)
        if (before !== undefined) return before.by === by || await mayInvite(before.by) ? 'known' : before
        return await this.#countTo(user) >= limits.maxInvitations ? 'full' : 'fresh'
      }))
      for (const [i, user] of some.entries()) {
        const found = states[i] as Invitation | 'fresh' | 'known' | 'full'
        const wanted = typeof found === 'object' ? 'fresh' : found
        const state = wanted === 'fresh' && budget.room-- <= 0 ? 'full' : wanted
        result[state].push(user)
        if (state === 'fresh' && typeof found === 'object') changes.push({ key: byKey(found.by, user, gid), value: null })
        if (state === 'fresh') changes.push({ key: byKey(by, user, gid), value: none }, { key: toKey(user, gid), value })
      }
    }
    // Looking up was about as much work as writing is.
    await budget.rest()
    await store.records.write(changes, true)
    return result
  }

  async get (user: string, gid: string): Promise<Invitation | undefined> {
    const bytes = await this.#host.store.records.get(toKey(user, gid))
    return bytes === undefined ? undefined : read(gid, bytes)
  }

  /** Ends invitations; those that are not there are left out. Resolves to whose they were. */
  async drop (gid: string, users: readonly string[]): Promise<string[]> {
    const dropped: string[] = []
    const changes: Change[] = []
    for (const user of users) {
      const found = await this.get(user, gid)
      if (found === undefined) continue
      dropped.push(user)
      changes.push({ key: toKey(user, gid), value: null }, { key: byKey(found.by, user, gid), value: null })
    }
    await this.#host.store.records.write(changes, true)
    return dropped
  }

  /** Those that wait for a user, by group; they are few. */
  async of (user: string): Promise<Invitation[]> {
    const found: Invitation[] = []
    for await (const [key, value] of this.#host.store.records.range(...under(`groups/to/${user}`), this.#host.limits.maxInvitations)) {
      found.push(read(key.slice(key.lastIndexOf('/') + 1), value))
    }
    return found
  }

  /** Invitations that wait for a user; at the limit those go whose group is gone, and is not just being made. */
  async #countTo (user: string): Promise<number> {
    const { limits, now } = this.#host
    const found = await this.of(user)
    if (found.length < limits.maxInvitations) return found.length
    const before = now() - makingMs
    return found.length - await this.#dropGone(found.filter(({ ts }) => ts < before).map(({ gid, by }) => ({ user, gid, by })))
  }

  /** Invitations that a user has made and that are open; at the limit those go whose group is gone. */
  async #madeBy (by: string): Promise<number> {
    const { store, limits } = this.#host
    const made: Array<{ user: string, gid: string }> = []
    for await (const [key] of store.records.range(...under(`groups/by/${by}`), limits.maxInvitationsMade)) {
      const [user = '', gid = ''] = key.split('/').slice(3)
      made.push({ user, gid })
    }
    if (made.length < limits.maxInvitationsMade) return made.length
    return made.length - await this.#dropGone(made.map(({ user, gid }) => ({ user, gid, by })))
  }

  /** Ends invitations to groups that are gone. How many. */
  async #dropGone (made: ReadonlyArray<{ user: string, gid: string, by: string }>): Promise<number> {
    const { store } = this.#host
    const groups = await store.groupsAt(made.map(({ gid }) => gid))
    const gone = made.filter((_, i) => groups[i] === undefined)
    await store.records.write(gone.flatMap(({ user, gid, by }) => [{ key: toKey(user, gid), value: null }, { key: byKey(by, user, gid), value: null }]), true)
    return gone.length
  }
}

function read (gid: string, bytes: Uint8Array): Invitation {
  const { by, ts } = JSON.parse(Buffer.from(bytes).toString()) as { by: string, ts: number }
  return { gid, by, ts }
}
