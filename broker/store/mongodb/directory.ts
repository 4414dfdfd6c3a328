/** Groups, accounts and block lists. */
import type { GroupMember, GroupRow, Page, UserRow } from '../store.ts'
import { groupId } from '../../topics.ts'
import type { Connection } from './connection.ts'
import { whole } from './connection.ts'
import { blockKey, groupRow } from './documents.ts'
import type { MemberDoc, UserDoc } from './documents.ts'
import type { GroupChanges } from './group-changes.ts'
import { idsOfQuery, memberAt, pieces } from './rows.ts'
import type { Rows } from './rows.ts'

export class Directory {
  readonly #db: Connection
  readonly #rows: Rows
  readonly #groups: GroupChanges

  constructor (db: Connection, rows: Rows, groups: GroupChanges) {
    this.#db = db
    this.#rows = rows
    this.#groups = groups
  }

  async group (gid: string): Promise<GroupRow | undefined> {
    const doc = await this.#db.groups.findOne({ _id: gid })
    return doc === null ? undefined : groupRow(doc)
  }

  async groupsAt (gids: readonly string[]): Promise<Array<GroupRow | undefined>> {
    const docs = await Promise.all(pieces([...new Set(gids)], idsOfQuery).map(some => this.#db.groups.find({ _id: { $in: some } }, whole).toArray()))
    const found = new Map(docs.flat().map(doc => [doc._id, doc]))
    return gids.map(gid => {
      const doc = found.get(gid)
      return doc === undefined ? undefined : groupRow(doc)
    })
  }

  async groups (page: Page): Promise<GroupRow[]> {
    if (page.limit <= 0) return []
    return (await this.#db.groups.find(behind(page), whole).sort({ _id: 1 }).limit(page.limit).toArray()).map(groupRow)
  }

  async groupMember (gid: string, user: string): Promise<GroupMember | undefined> {
    const conv = groupId(gid)
    const row = (await this.#rows.read([conv], [{ user, conv }])).members.get(memberAt(user, conv))
    if (row == null || row.role === undefined) return undefined
    return { user, role: row.role, ...(row.mutedUntil === undefined ? {} : { mutedUntil: row.mutedUntil }) }
  }

  async groupMembers (gid: string, page: Page): Promise<GroupMember[]> {
    if (page.limit <= 0) return []
    const docs = await this.#db.rows.find({ c: groupId(gid), u: { $gt: page.after ?? '' } }, whole).sort({ u: 1 }).limit(page.limit)
      .project<Pick<MemberDoc, 'u' | 'role' | 'mutedUntil'>>({ _id: 0, u: 1, role: 1, mutedUntil: 1 }).toArray()
    return docs.map(({ u, role = 'member', mutedUntil }) => ({ user: u, role, ...(mutedUntil === undefined ? {} : { mutedUntil }) }))
  }

  async groupSize (gid: string): Promise<number> {
    const isOwn = this.#rows.owns(groupId(gid))
    const cached = isOwn ? this.#groups.sizes.get(gid) : undefined
    if (cached !== undefined) return cached
    const { changes } = this.#groups
    const count = await this.#db.rows.countDocuments({ c: groupId(gid) })
    if (isOwn && changes === this.#groups.changes) this.#groups.sizes.set(gid, count)
    return count
  }

  async user (uid: string): Promise<UserRow | undefined> {
    const doc = await this.#db.users.findOne({ _id: uid })
    return doc === null ? undefined : userRow(doc)
  }

  async usersAt (uids: readonly string[]): Promise<Array<UserRow | undefined>> {
    const docs = await Promise.all(pieces([...new Set(uids)], idsOfQuery).map(some => this.#db.users.find({ _id: { $in: some } }, whole).toArray()))
    const found = new Map(docs.flat().map(doc => [doc._id, userRow(doc)]))
    return uids.map(uid => found.get(uid))
  }

  async putUser ({ uid, ...row }: UserRow): Promise<void> {
    await this.#db.users.replaceOne({ _id: uid }, row, { upsert: true })
  }

  async users (page: Page): Promise<UserRow[]> {
    if (page.limit <= 0) return []
    return (await this.#db.users.find(behind(page), whole).sort({ _id: 1 }).limit(page.limit).toArray()).map(userRow)
  }

  async blocks (uid: string): Promise<string[]> {
    const docs = await this.#db.blocks.find({ u: uid }, whole).sort({ b: 1 }).toArray()
    return docs.map(doc => doc.b)
  }

  async setBlock (uid: string, other: string, blocked: boolean): Promise<void> {
    const filter = { _id: blockKey(uid, other) }
    if (blocked) await this.#db.blocks.replaceOne(filter, { u: uid, b: other }, { upsert: true })
    else await this.#db.blocks.deleteOne(filter)
  }
}

function userRow ({ _id, ...row }: UserDoc): UserRow { return { uid: _id, ...row } }
function behind (page: Page): { _id?: { $gt: string } } { return page.after === undefined ? {} : { _id: { $gt: page.after } } }
