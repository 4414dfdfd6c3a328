/** Members' rows: settings, and what each user hid for themself. How far they read is in watermarks.ts. */
import type { Conversation, Head, Member, Page } from '../store.ts'
import { shownHead } from './codec.ts'
import type { HeadRow } from './codec.ts'
import type { Database } from './database.ts'
import { key, lastNumber, under } from './keys.ts'
import { firstAfter } from './lists.ts'
import { messagesAt } from './message-lookup.ts'
import { Draft } from './tables.ts'
import type { Tables } from './tables.ts'

const noHead: Head = Object.freeze({ seq: 0, n: 0, ts: 0 })

/**
 * A row as the contract shows it. The purge does not write the rows of members: a message that was purged is not unread,
 * so the marks of a row are at least the mark of the purge.
 */
export function shown (row: Member, head: HeadRow | null): Member {
  const seen = marked(row, head)
  return seen === row ? { ...row } : seen
}

/** The same as it lies in memory where it can be: rows there are never changed, others take their place. */
function marked (row: Member, head: HeadRow | null): Member {
  return head === null || row.readSeq >= head.purgedSeq ? row : { ...row, readSeq: head.purgedSeq, readN: head.purgedN }
}

/** In a range of so few numbers each is looked for by its key: others' reads share the trip. */
const fewHidden = 8
/** Rows that are put together in one go: a long page must not hold the event loop up. */
const pieceRows = 500

function turn (): Promise<void> { return new Promise(resolve => { setImmediate(resolve) }) }

function conversation (row: Member, head: HeadRow | null): Conversation {
  return { member: marked(row, head), head: head === null ? noHead : shownHead(head) }
}

export class Members {
  readonly #db: Database
  readonly #tables: Tables

  constructor (db: Database, tables: Tables) {
    this.#db = db
    this.#tables = tables
  }

  async member (user: string, conv: string): Promise<Member | undefined> {
    const row = await this.#tables.members.readOne(this.#db, key.member(user, conv))
    if (row === null) return undefined
    return shown(row, await this.#tables.heads.readOne(this.#db, key.head(conv)))
  }

  async membersAt (at: ReadonlyArray<{ user: string, conv: string }>): Promise<Array<Member | undefined>> {
    const rows = await this.#tables.members.read(this.#db, at.map(({ user, conv }) => key.member(user, conv)))
    const heads = await this.#tables.heads.read(this.#db, at.map(({ conv }) => key.head(conv)))
    return rows.map((row, i) => row === null ? undefined : shown(row, heads[i] as HeadRow | null))
  }

  async conversations (user: string, page: Page): Promise<Conversation[]> {
    const { lists, members, heads } = this.#tables
    const list = lists.get(user)
    if (list === undefined) return await this.#scan(user, page)
    const { gt } = under(key.memberships(user), page.after)
    const found: Conversation[] = []
    for (let at = page.after === undefined ? 0 : firstAfter(list.members, gt); at < list.members.length && found.length < page.limit;) {
      if (found.length > 0) await turn()
      const to = at + Math.min(pieceRows, page.limit - found.length)
      const [rows, ends] = await Promise.all([members.read(this.#db, list.members.slice(at, to)), heads.read(this.#db, list.heads.slice(at, to))])
      rows.forEach((row, i) => {
        // Left meanwhile: no row.
        if (row !== null) found.push(conversation(row, ends[i] as HeadRow | null))
      })
      at = to
    }
    return found
  }

  /** A page as it is on disk. Whose list is read to its end has it remembered; of the first page the rows are. */
  async #scan (user: string, page: Page): Promise<Conversation[]> {
    const { lists, members, heads } = this.#tables
    const begun = lists.begin(user)
    const since = members.now()
    const range = under(key.memberships(user), page.after)
    const found = await this.#db.rows(range, page.limit)
    const result: Conversation[] = []
    for (let at = 0; at < found.length; at += pieceRows) {
      if (at > 0) await turn()
      const piece = found.slice(at, at + pieceRows)
      const rows = piece.map(([name, text]) => members.codec.decode(text, name))
      if (page.after === undefined) rows.forEach((row, i) => { members.keep((piece[i] as [string, string])[0], row, since) })
      const ends = await heads.read(this.#db, rows.map(row => key.head(row.conv)))
      rows.forEach((row, i) => { result.push(conversation(row, ends[i] as HeadRow | null)) })
    }
    const after = page.after === undefined ? undefined : range.gt
    lists.page(user, found.map(([name]) => name), { after, last: found.length < page.limit, since: begun })
    return result
  }

  /** Hides messages for one user; on disk when it resolves. Inside `exclusive`. */
  async hide (user: string, conv: string, seqs: readonly number[]): Promise<number> {
    const { draft, name, headKey } = await this.#draftOf(user, conv)
    const head = draft.heads.get(headKey)
    const old = draft.members.get(name)
    if (old === null || head === null) return 0
    const floor = Math.max(old.joinedSeq, old.clearedSeq, head.purgedSeq)
    const wanted = [...new Set(seqs)].filter(seq => Number.isSafeInteger(seq) && seq > floor && seq <= head.seq)
    const messages = await messagesAt(this.#db, wanted.map(seq => ({ conv, seq, head })))
    const hidden = await this.#db.getMany(wanted.map(seq => key.hidden(user, conv, seq)))
    const batch = this.#db.batch()
    const row = draft.members.edit(name) as Member
    let count = 0
    for (let i = 0; i < wanted.length; i++) {
      const message = messages[i]
      const seq = wanted[i] as number
      if (message === undefined || hidden[i] !== undefined) continue
      const { counts } = message
      batch.put(key.hidden(user, conv, seq), counts ? '1' : '0')
      batch.put(key.hider(conv, seq, user), counts ? '1' : '0')
      if (counts && seq > Math.max(row.readSeq, head.purgedSeq)) row.hiddenUnread++
      count++
    }
    if (count === 0) {
      await batch.close()
      return 0
    }
    draft.put(batch)
    await this.#db.write(batch, true)
    draft.settle()
    return count
  }

  async hidden (user: string, conv: string, after: number, upTo: number): Promise<number[]> {
    if (upTo <= after) return []
    const from = Math.max(0, after)
    if (upTo - from <= fewHidden) {
      const seqs = Array.from({ length: Math.max(0, upTo - from) }, (_, i) => from + 1 + i)
      let damaged = false
      const texts = await this.#db.getMany(seqs.map(seq => key.hidden(user, conv, seq)), () => { damaged = true })
      // What may be hidden is not shown: the range tells what is wrong.
      if (!damaged) return seqs.filter((_, i) => texts[i] !== undefined)
    }
    const to = Math.min(upTo, Number.MAX_SAFE_INTEGER - 1) + 1
    const rows = await this.#db.together.rows({ gt: key.hidden(user, conv, from), lt: key.hidden(user, conv, to) }, Infinity)
    return rows.map(([name]) => lastNumber(name))
  }

  async hiddenAt (user: string, at: ReadonlyArray<{ conv: string, seq: number }>): Promise<boolean[]> {
    // Few users hide anything: one look spares the others.
    const some = at.length > 0 && (await this.#db.rows(under(key.hiddenOfUser(user)), 1)).length > 0
    if (!some) return at.map(() => false)
    const texts = await this.#db.getMany(at.map(({ conv, seq }) => key.hidden(user, conv, Math.max(0, seq))))
    return texts.map(text => text !== undefined)
  }

  /** Inside `exclusive`. */
  async clear (user: string, conv: string): Promise<void> {
    const { draft, name, headKey } = await this.#draftOf(user, conv)
    const row = draft.members.edit(name)
    const head = draft.heads.get(headKey)
    if (row === null || head === null) return
    row.clearedSeq = row.readSeq = row.deliveredSeq = head.seq
    row.readN = head.n
    row.hiddenUnread = 0
    const hidden = await this.#db.rows(under(key.hiddenOf(user, conv)))
    const batch = this.#db.batch()
    for (const [hiddenKey] of hidden) {
      batch.del(hiddenKey)
      batch.del(key.hider(conv, lastNumber(hiddenKey), user))
    }
    draft.put(batch)
    await this.#db.write(batch, true)
    draft.settle()
  }

  /** Inside `exclusive`. */
  async settings (user: string, conv: string, change: { muted?: boolean, pinned?: boolean }): Promise<void> {
    const { draft, name } = await this.#draftOf(user, conv)
    const row = draft.members.edit(name)
    if (row === null) return
    if (change.muted !== undefined) row.muted = change.muted
    if (change.pinned !== undefined) row.pinned = change.pinned
    await draft.write(this.#db, true)
  }

  async #draftOf (user: string, conv: string): Promise<{ draft: Draft, name: string, headKey: string }> {
    const draft = new Draft(this.#tables)
    const name = key.member(user, conv)
    const headKey = key.head(conv)
    draft.want(draft.members, name)
    draft.want(draft.heads, headKey)
    await draft.load(this.#db)
    return { draft, name, headKey }
  }
}
