/** Persistent sessions with their cursors, and users' event logs. */
import type { Cursor, Marks, Page, SessionRow, StoredEvent, UserRow } from '../store.ts'
import { decodeEvent, provenCodec } from './codec.ts'
import type { Batch } from './batch.ts'
import type { Database } from './database.ts'
import { key, lastNumber, under } from './keys.ts'
import type { Range } from './keys.ts'
import { Draft } from './tables.ts'
import type { Tables } from './tables.ts'

export class Sessions {
  readonly #db: Database
  readonly #tables: Tables

  constructor (db: Database, tables: Tables) {
    this.#db = db
    this.#tables = tables
  }

  async session (session: string): Promise<SessionRow | undefined> {
    const [text, proof] = await this.#db.getMany([key.session(session), key.proven(session)])
    if (text === undefined) return undefined
    const row = JSON.parse(text) as SessionRow
    if (proof === undefined || row.connection === undefined) return row
    const { epoch, proven } = provenCodec.decode(proof, session)
    return epoch === row.connection.epoch ? { ...row, connection: { epoch, proven: Math.max(proven, row.connection.proven) } } : row
  }

  /** How far clients have their answers: a row beside the session's, which others write meanwhile. Inside `exclusive`. */
  async prove (marks: NonNullable<Marks['connections']>): Promise<void> {
    const batch = this.#db.batch()
    for (const mark of marks) batch.put(key.proven(mark.session), provenCodec.encode(mark))
    await this.#db.write(batch, false)
  }

  putSession (row: SessionRow): Promise<void> {
    return this.#db.put([{ key: key.session(row.session), value: JSON.stringify(row) }], true)
  }

  /** Inside `exclusive`. */
  async dropSession (session: string): Promise<void> {
    const draft = new Draft(this.#tables)
    const batch = this.#db.batch()
    await this.#drop(draft, batch, session)
    await this.#write(draft, batch)
  }

  /** The account with its blocks and sessions. Inside `exclusive`. */
  async dropUser (uid: string, keep?: UserRow): Promise<void> {
    const draft = new Draft(this.#tables)
    const batch = this.#db.batch()
    if (keep === undefined) batch.del(key.user(uid))
    else batch.put(key.user(uid), JSON.stringify(keep))
    for (const [name] of await this.#db.rows(under(key.blocks(uid)))) batch.del(name)
    for (const [, text] of await this.#db.rows(sessionsOf(uid))) {
      await this.#drop(draft, batch, (JSON.parse(text) as SessionRow).session)
    }
    await this.#write(draft, batch)
  }

  async sessions (page: Page & { user?: string }): Promise<SessionRow[]> {
    const range = page.user === undefined ? under(key.sessions()) : sessionsOf(page.user)
    if (page.after !== undefined) {
      const after = key.session(page.after)
      if (Buffer.compare(Buffer.from(after), Buffer.from(range.gt)) > 0) range.gt = after
      if (Buffer.compare(Buffer.from(range.gt), Buffer.from(range.lt)) >= 0) return []
    }
    return (await this.#db.rows(range, page.limit)).map(([, text]) => JSON.parse(text) as SessionRow)
  }

  async cursors (session: string, streams: readonly string[]): Promise<Array<Cursor | undefined>> {
    const rows = await this.#tables.cursors.read(this.#db, streams.map(stream => key.cursor(session, stream)))
    return rows.map(row => row === null ? undefined : { ...row })
  }

  async events (user: string, after: number, limit: number): Promise<StoredEvent[]> {
    const range = { gt: key.event(user, Math.max(0, after)), lt: under(key.events(user)).lt }
    const rows = await this.#db.rows(range, limit)
    return rows.map(([name, text]) => ({ seq: lastNumber(name), ...decodeEvent(text) }))
  }

  async eventHead (user: string): Promise<{ seq: number, deliveredSeq: number }> {
    const row = await this.#tables.eventHeads.readOne(this.#db, key.eventHead(user))
    return row === null ? { seq: 0, deliveredSeq: 0 } : { ...row }
  }

  async #drop (draft: Draft, batch: Batch, session: string): Promise<void> {
    batch.del(key.session(session))
    batch.del(key.proven(session))
    for await (const rows of this.#db.scan(under(key.cursors(session)))) {
      for (const [name] of rows) draft.cursors.set(name, null)
    }
  }

  async #write (draft: Draft, batch: Batch): Promise<void> {
    draft.put(batch)
    await this.#db.write(batch, true)
    draft.settle()
  }
}

/** Sessions are named `{user}/{clientId}`, and no user id holds a slash. */
function sessionsOf (user: string): Range {
  return { gt: key.session(user + '/'), lt: key.session(user + '0') }
}
