/** Who is in which group: the memberships that were asked for lately, in memory. */
import { Refusal } from '../../errors.ts'
import type { GroupMember, GroupRow } from '../../store/store.ts'
import type { Posting } from '../control-port.ts'
import type { EngineHost } from '../host.ts'
import { LookupCache } from '../lookup-cache.ts'

/** Memberships in memory. */
const maxCachedMembers = 100_000

const free: Posting = { ok: true }
const noGroup: Posting = { ok: false, code: 'not_found', reason: 'there is no such group, or you are not in it' }
export const noMember = 'none'

export class Memberships {
  readonly #host: EngineHost
  readonly #members: LookupCache<GroupMember | typeof noMember>

  constructor (host: EngineHost) {
    this.#host = host
    this.#members = new LookupCache(async key => {
      const at = key.indexOf('/')
      return await host.store.groupMember(key.slice(0, at), key.slice(at + 1)) ?? noMember
    }, maxCachedMembers)
  }

  /** Synchronous when it is in memory. */
  get (user: string, gid: string): GroupMember | typeof noMember | Promise<GroupMember | typeof noMember> { return this.#members.get(`${gid}/${user}`) }

  async has (user: string, gid: string): Promise<boolean> { return await this.get(user, gid) !== noMember }

  /** What is stored has changed. */
  forget (user: string, gid: string): void { this.#members.forget(`${gid}/${user}`) }

  clear (): void { this.#members.clear() }

  /** A member that is not muted may post; synchronous when the membership is in memory. */
  mayPost (user: string, gid: string): Posting | Promise<Posting> {
    const member = this.get(user, gid)
    return member instanceof Promise ? member.then(loaded => this.#posting(loaded)) : this.#posting(member)
  }

  #posting (member: GroupMember | typeof noMember): Posting {
    if (member === noMember) return noGroup
    if (member.mutedUntil === undefined || member.mutedUntil <= this.#host.now()) return free
    return { ok: false, code: 'muted', reason: `you are muted in this group until ${new Date(member.mutedUntil).toISOString()}` }
  }

  /** The group and the caller's place in it; throws `not_found` for those who are not in it. */
  async required (user: string, gid: string): Promise<{ group: GroupRow, member: GroupMember }> {
    const member = await this.get(user, gid)
    const group = member === noMember ? undefined : await this.#host.store.group(gid)
    if (member === noMember || group === undefined) throw new Refusal('not_found', 'there is no such group, or you are not in it')
    return { group, member }
  }
}
