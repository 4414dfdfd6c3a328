/** Groups, accounts and block lists. */
import type { GroupMember, GroupRow, Page, UserRow } from '../store.ts'
import type { Database } from './database.ts'
import { key, lastPart, under } from './keys.ts'
import type { Tables } from './tables.ts'

export class Directory {
  readonly #db: Database
  readonly #tables: Tables

  constructor (db: Database, tables: Tables) {
    this.#db = db
    this.#tables = tables
  }

  group (gid: string): Promise<GroupRow | undefined> { return this.#json<GroupRow>(key.group(gid)) }
  async groupsAt (gids: readonly string[]): Promise<Array<GroupRow | undefined>> {
    const texts = await this.#db.getMany(gids.map(gid => key.group(gid)))
    return texts.map(text => text === undefined ? undefined : JSON.parse(text) as GroupRow)
  }

  groups (page: Page): Promise<GroupRow[]> { return this.#page<GroupRow>(key.groups(), page) }

  async groupMember (gid: string, user: string): Promise<GroupMember | undefined> {
    const row = await this.#tables.groupMembers.readOne(this.#db, key.groupMember(gid, user))
    return row === null ? undefined : { ...row }
  }

  async groupMembers (gid: string, page: Page): Promise<GroupMember[]> {
    const { codec } = this.#tables.groupMembers
    const rows = await this.#db.rows(under(key.groupMembers(gid), page.after), page.limit)
    return rows.map(([name, text]) => codec.decode(text, name))
  }

  async groupSize (gid: string): Promise<number> {
    return (await this.#tables.groupSizes.readOne(this.#db, key.groupSize(gid)))?.count ?? 0
  }

  user (uid: string): Promise<UserRow | undefined> { return this.#json<UserRow>(key.user(uid)) }
  async usersAt (uids: readonly string[]): Promise<Array<UserRow | undefined>> {
    const texts = await this.#db.getMany(uids.map(uid => key.user(uid)))
    return texts.map(text => text === undefined ? undefined : JSON.parse(text) as UserRow)
  }

  users (page: Page): Promise<UserRow[]> { return this.#page<UserRow>(key.users(), page) }
  putUser (user: UserRow): Promise<void> {
    return this.#db.put([{ key: key.user(user.uid), value: JSON.stringify(user) }], true)
  }

  async blocks (uid: string): Promise<string[]> {
    return (await this.#db.rows(under(key.blocks(uid)))).map(([name]) => lastPart(name))
  }

  setBlock (uid: string, other: string, blocked: boolean): Promise<void> {
    return this.#db.put([{ key: key.block(uid, other), value: blocked ? '1' : null }], true)
  }

  async #json<T> (name: string): Promise<T | undefined> {
    const text = await this.#db.get(name)
    return text === undefined ? undefined : JSON.parse(text) as T
  }

  async #page<T> (start: string, page: Page): Promise<T[]> {
    return (await this.#db.rows(under(start, page.after), page.limit)).map(([, text]) => JSON.parse(text) as T)
  }
}
