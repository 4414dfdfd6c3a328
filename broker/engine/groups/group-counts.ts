/** In how many groups a user is, and how many they own: counted once, then kept up to date by the changes that are made here. */
import { Refusal } from '../../errors.ts'
import type { EngineHost, Pause } from '../host.ts'
import { LookupCache } from '../lookup-cache.ts'
import { Slots } from '../slots.ts'

interface Counts { memberships: number, owned: number }

/** Users in memory. */
const maxCached = 100_000
/** Rows of one read. */
const pageSize = 200
/** Users who are counted before others have their turn. */
const usersOfPiece = 50
/** Users who are counted at the same time, by all requests together. */
const maxCounting = 8

export class GroupCounts {
  readonly #host: EngineHost
  readonly #counts: LookupCache<Counts>
  readonly #slots = new Slots(maxCounting)

  constructor (host: EngineHost) {
    this.#host = host
    this.#counts = new LookupCache(user => this.#slots.run(() => this.#count(user)), maxCached)
  }

  /** Which of the users are in as many groups as one can be. Others have their turn at each `pause`. */
  async full (users: readonly string[], pause?: Pause): Promise<Set<string>> {
    const full = new Set<string>()
    for (let at = 0; at < users.length; at += usersOfPiece) {
      if (at > 0) await pause?.()
      await Promise.all(users.slice(at, at + usersOfPiece).map(async user => {
        if ((await this.#counts.get(user)).memberships >= this.#host.limits.maxGroupMemberships) full.add(user)
      }))
    }
    return full
  }

  /** Throws `too_large` when the user cannot own one more group. */
  async checkOwner (user: string): Promise<void> {
    const { maxGroupsPerUser: max } = this.#host.limits
    if ((await this.#counts.get(user)).owned >= max) throw new Refusal('too_large', `'${user}' owns ${max} groups already, the most that a user can own`)
  }

  /** Throws `too_large` when the user cannot be in one more group. */
  async checkMember (user: string): Promise<void> {
    const { maxGroupMemberships: max } = this.#host.limits
    if ((await this.#counts.get(user)).memberships >= max) throw new Refusal('too_large', `'${user}' is in ${max} groups already, the most that a user can be in`)
  }

  /** After a change; a count that is just being made is made again. */
  changed (user: string, memberships: number, owned: number): void {
    const counts = this.#counts.peek(user)
    if (counts === undefined) {
      this.#counts.forget(user)
      return
    }
    counts.memberships += memberships
    counts.owned += owned
  }

  /** After a change that may have happened or not. */
  forget (user: string): void { this.#counts.forget(user) }

  clear (): void { this.#counts.clear() }

  async #count (user: string): Promise<Counts> {
    const counts: Counts = { memberships: 0, owned: 0 }
    let after: string | undefined
    do {
      const page = await this.#host.store.memberships(user, { kind: 'g', limit: pageSize, ...(after === undefined ? {} : { after }) })
      counts.memberships += page.length
      for (const { role } of page) if (role === 'owner') counts.owned++
      after = page.length < pageSize ? undefined : page.at(-1)?.conv
    } while (after !== undefined)
    return counts
  }
}
