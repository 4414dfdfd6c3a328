/** Watermarks: how far members read and received, sessions were sent to, and events were delivered. */
import type { Marks, Member, Moved } from '../store.ts'
import type { HeadRow } from './codec.ts'
import type { Database } from './database.ts'
import { key, under } from './keys.ts'
import { shown } from './members.ts'
import { messagesAt } from './message-lookup.ts'
import { Draft } from './tables.ts'
import type { Tables } from './tables.ts'

/** What became of members' rows, by their keys. */
type MovedRows = Map<string, { read: boolean, delivered: boolean }>

export class Watermarks {
  readonly #db: Database
  readonly #tables: Tables

  constructor (db: Database, tables: Tables) {
    this.#db = db
    this.#tables = tables
  }

  /** Forward, without sync. Inside `exclusive`. */
  async advance (marks: Marks): Promise<Moved> {
    const draft = new Draft(this.#tables)
    for (const { user, conv } of marks.members) {
      draft.want(draft.members, key.member(user, conv))
      draft.want(draft.heads, key.head(conv))
    }
    for (const { session, stream } of marks.cursors) draft.want(draft.cursors, key.cursor(session, stream))
    for (const { user } of marks.events) draft.want(draft.eventHeads, key.eventHead(user))
    await draft.load(this.#db)

    const moved: MovedRows = new Map()
    for (const mark of marks.members) moveMember(draft, mark, moved)
    await this.#numberRead(draft, moved)
    for (const mark of marks.cursors) moveCursor(draft, mark)
    for (const mark of marks.events) moveEvents(draft, mark)
    await draft.write(this.#db, false)
    return [...moved].map(([name, what]) => {
      const row = draft.members.get(name) as Member
      return { user: row.user, conv: row.conv, ...what, row: shown(row, draft.heads.get(key.head(row.conv))) }
    })
  }

  /** `readN` and `hiddenUnread` of rows whose `readSeq` moved. */
  async #numberRead (draft: Draft, moved: Map<string, { read: boolean }>): Promise<void> {
    const rows: Member[] = []
    for (const [name, { read }] of moved) {
      if (!read) continue
      const row = draft.members.edit(name) as Member
      const head = draft.heads.get(key.head(row.conv)) as HeadRow
      if (row.readSeq === head.seq) {
        row.readN = head.n
        row.hiddenUnread = 0
      } else {
        rows.push(row)
      }
    }
    const messages = await messagesAt(this.#db, rows.map(({ conv, readSeq }) => ({ conv, seq: readSeq, head: draft.heads.get(key.head(conv)) })))
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i] as Member
      const message = messages[i]
      // Of a damaged message nobody knows how many before it count: the mark stays where it was counted.
      row.readN = message === undefined ? Math.max(row.readN, (draft.heads.get(key.head(row.conv)) as HeadRow).purgedN) : message.n
      if (row.hiddenUnread === 0) continue
      const range = { gt: key.hidden(row.user, row.conv, row.readSeq), lt: under(key.hiddenOf(row.user, row.conv)).lt }
      row.hiddenUnread = (await this.#db.rows(range)).filter(([, counts]) => counts === '1').length
    }
  }
}

function moveMember (draft: Draft, mark: Marks['members'][number], moved: MovedRows): void {
  const name = key.member(mark.user, mark.conv)
  const head = draft.heads.get(key.head(mark.conv))
  const old = draft.members.get(name)
  if (old === null || head === null) return
  const readSeq = Math.min(mark.readSeq ?? 0, head.seq)
  const deliveredSeq = Math.min(mark.deliveredSeq ?? 0, head.seq)
  const read = readSeq > Math.max(old.readSeq, head.purgedSeq)
  const delivered = deliveredSeq > old.deliveredSeq
  if (!read && !delivered) return
  const row = draft.members.edit(name) as Member
  if (read) row.readSeq = readSeq
  if (delivered) row.deliveredSeq = deliveredSeq
  const earlier = moved.get(name)
  moved.set(name, { read: read || earlier?.read === true, delivered: delivered || earlier?.delivered === true })
}

function moveCursor (draft: Draft, mark: Marks['cursors'][number]): void {
  const name = key.cursor(mark.session, mark.stream)
  const old = draft.cursors.get(name)
  if (old === null) draft.cursors.set(name, { seq: Math.max(0, mark.seq), sent: Math.max(0, mark.sent) })
  else if (mark.seq > old.seq || mark.sent > old.sent) draft.cursors.set(name, { seq: Math.max(old.seq, mark.seq), sent: Math.max(old.sent, mark.sent) })
}

function moveEvents (draft: Draft, { user, deliveredSeq }: Marks['events'][number]): void {
  const head = draft.eventHeads.get(key.eventHead(user))
  if (head === null || Math.min(deliveredSeq, head.seq) <= head.deliveredSeq) return
  draft.eventHeads.set(key.eventHead(user), { seq: head.seq, deliveredSeq: Math.min(deliveredSeq, head.seq) })
}
