/** Groups as their members see them. */
import type { Page } from '../../operations/rules.ts'
import type { GroupMember, GroupRow, Role } from '../../store/store.ts'
import { groupId } from '../../topics.ts'
import type { EngineHost } from '../host.ts'
import type { Groups } from './groups.ts'

type PageOf = Page & { user: string }
interface Listed { gid: string, name: string, owner?: string, role: Role, size: number }

export class GroupViews {
  readonly #host: EngineHost
  readonly #groups: Groups

  constructor (host: EngineHost, groups: Groups) {
    this.#host = host
    this.#groups = groups
  }

  /** The group, the user's role in it, and a page of its members. Throws `Refusal` (`not_found`). */
  async info (gid: string, { user, limit, after }: PageOf): Promise<GroupRow & { size: number, role: Role, members: GroupMember[], next?: string }> {
    const { store } = this.#host
    const { group, member } = await this.#groups.required(user, gid)
    const [size, members] = await Promise.all([store.groupSize(gid), store.groupMembers(gid, { limit, ...(after !== undefined && { after }) })])
    const next = members.length >= limit ? members.at(-1)?.user : undefined
    return { ...group, size, role: member.role, members, ...(next !== undefined && { next }) }
  }

  /** A page of the groups that the user is in. */
  async list ({ user, limit, after }: PageOf): Promise<{ groups: Listed[], next?: string }> {
    const { store } = this.#host
    const rows = await store.memberships(user, { kind: 'g', limit, ...(after !== undefined && { after: groupId(after) }) })
    const gids = rows.map(row => row.conv.slice(2))
    const [found, sizes] = await Promise.all([store.groupsAt(gids), Promise.all(gids.map(gid => store.groupSize(gid)))])
    const groups = rows.map(({ role = 'member' }, i) => {
      const [gid, group] = [gids[i] as string, found[i]]
      return { gid, name: group?.name ?? gid, ...(group !== undefined && { owner: group.owner }), role, size: sizes[i] as number }
    })
    const next = rows.length >= limit ? gids.at(-1) : undefined
    return { groups, ...(next !== undefined && { next }) }
  }
}
