/** Pages of a user's conversations by kind. Who comes back asks for them: lists that are known are not looked for on the disk. */
import type { Member, Page } from '../store.ts'
import { Lru } from '../cache/lru.ts'
import type { HeadRow } from './codec.ts'
import type { Database } from './database.ts'
import { key, under } from './keys.ts'
import type { Range } from './keys.ts'
import { firstAfter } from './lists.ts'
import { shown } from './members.ts'
import type { Tables } from './tables.ts'

/** The whole list of who has fewer conversations is read at once, and kept. */
const mostLearned = 64
/** Users that have more. */
const mostLong = 10_000

export class Memberships {
  readonly #db: Database
  readonly #tables: Tables
  /** Lists that are being read, by user. */
  readonly #learning = new Map<string, Promise<unknown>>()
  readonly #long = new Lru<true>(mostLong)

  constructor (db: Database, tables: Tables) {
    this.#db = db
    this.#tables = tables
  }

  async page (user: string, page: Page & { kind?: 'd' | 'g' }): Promise<Member[]> {
    const range = rangeOf(user, page)
    if (range.gt >= range.lt || page.limit <= 0) return []
    const { lists } = this.#tables
    let list = lists.get(user)
    if (list === undefined && this.#long.get(user) === undefined) {
      const learned = await this.#learn(user)
      if (learned !== undefined) return await this.#shown(learned.filter(([name]) => name > range.gt && name < range.lt).slice(0, page.limit))
      list = lists.get(user)
    }
    return list === undefined ? await this.#shown(await this.#db.together.rows(range, page.limit)) : await this.#kept(list, range, page.limit)
  }

  async #kept (list: { readonly members: readonly string[], readonly heads: readonly string[] }, { gt, lt }: Range, limit: number): Promise<Member[]> {
    const { members, heads } = this.#tables
    const end = firstAfter(list.members, lt)
    const found: Member[] = []
    for (let at = firstAfter(list.members, gt); at < end && found.length < limit;) {
      const to = Math.min(end, at + limit - found.length)
      const rows = await members.read(this.#db, list.members.slice(at, to))
      const ends = await heads.read(this.#db, list.heads.slice(at, to))
      rows.forEach((row, i) => {
        // Left meanwhile: no row. Who gets a short page takes it for the last one, so the next are taken in.
        if (row !== null) found.push(shown(row, ends[i] as HeadRow | null))
      })
      at = to
    }
    return found
  }

  async #shown (found: ReadonlyArray<[string, string]>): Promise<Member[]> {
    const { members, heads } = this.#tables
    const rows = found.map(([name, text]) => members.codec.decode(text, name))
    const ends = await heads.read(this.#db, rows.map(row => key.head(row.conv)))
    return rows.map((row, i) => shown(row, ends[i] as HeadRow | null))
  }

  /** Answers the rows of the whole list to whoever has it read. Who asks meanwhile may have seen a change since, and has to look whether the list was kept. */
  async #learn (user: string): Promise<Array<[string, string]> | undefined> {
    const underWay = this.#learning.get(user)
    if (underWay !== undefined) {
      await underWay
      return undefined
    }
    const learning = this.#read(user).finally(() => { this.#learning.delete(user) })
    this.#learning.set(user, learning)
    return await learning
  }

  async #read (user: string): Promise<Array<[string, string]> | undefined> {
    const { lists, members } = this.#tables
    const begun = lists.begin(user)
    const since = members.now()
    const found = await this.#db.together.rows(under(key.memberships(user)), mostLearned)
    if (found.length === mostLearned) {
      this.#long.set(user, true)
      return undefined
    }
    for (const [name, text] of found) members.keep(name, members.codec.decode(text, name), since)
    lists.page(user, found.map(([name]) => name), { after: undefined, last: true, since: begun })
    return found
  }
}

function rangeOf (user: string, { kind, after }: { kind?: 'd' | 'g', after?: string }): Range {
  const range = under(key.memberships(user), after)
  if (kind === undefined) return range
  const start = under(key.memberships(user)).gt + kind
  return { gt: range.gt < start + ':' ? start + ':' : range.gt, lt: start + ';' }
}
