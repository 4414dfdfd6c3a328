/** Persistent sessions with their cursors. */
import type { AnyBulkWriteOperation, Filter, UpdateFilter } from 'mongodb'
import { Lru } from '../cache/lru.ts'
import type { Cursor, Marks, Page, SessionRow, UserRow } from '../store.ts'
import type { Connection } from './connection.ts'
import { oneOf, quick, whole } from './connection.ts'
import { cursorKey } from './documents.ts'
import type { CursorDoc, SessionDoc } from './documents.ts'
import { pieces } from './rows.ts'

const idsOfQuery = 2000

/** A session as this process has it in memory: its cursors count as long as it is the same object. */
interface Life {
  /** The connection that this process has opened, as long as it is the session's last one. */
  own?: string | undefined
  /** The connection that the row named when it was another one's. */
  seen?: string | undefined
}
interface Remembered { row: Cursor | null, life: Life }

export class Sessions {
  readonly #db: Connection
  readonly #cursors: Lru<Remembered>
  readonly #lives: Lru<Life>
  #changes = 0
  /** Rows whose write is in the queue of jobs and has not begun. */
  #batch: { rows: Map<string, Put>, written: Promise<ReadonlySet<string>> } | undefined

  constructor (db: Connection, cacheSize: number) {
    this.#db = db
    this.#cursors = new Lru(cacheSize)
    this.#lives = new Lru(cacheSize)
  }

  async session (session: string): Promise<SessionRow | undefined> {
    const doc = await this.#db.sessions.findOne({ _id: session })
    const epoch = doc?.connection?.epoch
    // It was at another server in between, which has moved its cursors.
    if (this.#life(session).own !== epoch) this.#lives.set(session, { seen: epoch })
    return doc === null ? undefined : sessionRow(doc)
  }

  /** Clients that come all at once, behind a restart, share a write: one each would keep the messages behind them waiting. */
  async putSession (row: SessionRow, was?: SessionRow): Promise<boolean> {
    let batch = this.#batch
    if (batch === undefined) {
      const rows = new Map<string, Put>()
      const ends = (): void => { if (this.#batch?.rows === rows) this.#batch = undefined }
      const written = this.#db.exclusive(async () => {
        ends()
        return await this.#put(rows)
      })
      // A job that fails with the one before it never begins.
      written.then(ends, ends)
      this.#batch = batch = { rows, written }
    }
    const before = batch.rows.get(row.session)
    batch.rows.set(row.session, { row, was: before === undefined ? was : before.was })
    return !(await batch.written).has(row.session)
  }

  /** Resolves to the sessions that were not written, because they are not any more as they were read. */
  async #put (rows: ReadonlyMap<string, Put>): Promise<ReadonlySet<string>> {
    const found = await this.#db.bulk(this.#db.sessions, [...rows.values()].map(({ row, was }): AnyBulkWriteOperation<SessionDoc> => {
      if (was !== undefined) return { updateOne: { filter: stillAs(was), update: changes(was, row) } }
      const { session, ...replacement } = row
      return { replaceOne: { filter: { _id: session }, replacement, upsert: true } }
    }), { ordered: false })
    for (const { row: { session, connection }, was } of rows.values()) {
      // Over a row that was read before, which may not have been there any more: it opens nothing.
      if (was !== undefined) continue
      const life = this.#life(session)
      if (connection?.epoch !== life.seen) life.own = connection?.epoch
    }
    return found < rows.size ? await this.#unwritten(rows) : new Set()
  }

  async #unwritten (rows: ReadonlyMap<string, Put>): Promise<ReadonlySet<string>> {
    const docs = await this.#db.sessions.find({ _id: oneOf([...rows.keys()]) }, whole).project<SessionDoc>({ connection: 1, expiresAt: 1 }).toArray()
    const stored = new Map(docs.map(doc => [doc._id, doc]))
    return new Set([...rows].filter(([session, { row, was }]) => {
      const doc = stored.get(session)
      return was !== undefined && (doc === undefined || doc.connection?.epoch !== row.connection?.epoch || doc.expiresAt !== row.expiresAt)
    }).map(([session]) => session))
  }

  dropSession (session: string, was?: SessionRow): Promise<boolean> {
    // What is put from now on comes behind the removal.
    this.#batch = undefined
    return this.#db.exclusive(() => this.#drop(session, was))
  }

  /**
   * The account with its blocks and sessions. What takes its place comes first: the id is never free. Without that the
   * account comes last: until then trying again is possible.
   */
  dropUser (uid: string, keep?: UserRow): Promise<void> {
    this.#batch = undefined
    return this.#db.exclusive(async () => {
      if (keep !== undefined) {
        const { uid: _, ...row } = keep
        await this.#db.users.replaceOne({ _id: uid }, row, { upsert: true })
      }
      const sessions = await this.#db.sessions.find(ofUser(uid), whole).project<{ _id: string }>({ _id: 1 }).toArray()
      for (const { _id } of sessions) await this.#drop(_id)
      await this.#db.blocks.deleteMany({ u: uid })
      if (keep === undefined) await this.#db.users.deleteOne({ _id: uid })
    })
  }

  /** Inside `exclusive`. A session that is there has its cursors: they go behind it. */
  async #drop (session: string, was?: SessionRow): Promise<boolean> {
    const { deletedCount } = await this.#db.sessions.deleteOne(was === undefined ? { _id: session } : stillAs(was))
    if (deletedCount === 0 && was !== undefined) return false
    const docs = await this.#db.cursors.find({ p: session }, whole).project<{ _id: string }>({ _id: 1 }).toArray()
    if (docs.length > 0) await this.#db.cursors.deleteMany({ p: session })
    this.#changes++
    const life = this.#life(session)
    life.own = life.seen = undefined
    for (const { _id } of docs) this.#cursors.set(_id, { row: null, life })
    return true
  }

  async sessions (page: Page & { user?: string }): Promise<SessionRow[]> {
    if (page.limit <= 0) return []
    const bounds = page.user === undefined ? { _id: { $gt: '' } } : ofUser(page.user)
    const filter = page.after === undefined ? bounds : { $and: [bounds, { _id: { $gt: page.after } }] }
    return (await this.#db.sessions.find(filter, whole).sort({ _id: 1 }).limit(page.limit).toArray()).map(sessionRow)
  }

  async cursors (session: string, streams: readonly string[]): Promise<Array<Cursor | undefined>> {
    const rows = await this.#read(streams.map(stream => ({ session, stream })))
    return streams.map(stream => {
      const row = rows.get(cursorKey(session, stream))
      return row == null ? undefined : { ...row }
    })
  }

  /** How far clients have their answers. Inside `exclusive`. */
  async prove (marks: NonNullable<Marks['connections']>): Promise<void> {
    await this.#db.bulk(this.#db.sessions, marks.map(({ session, epoch, proven }) => (
      { updateOne: { filter: { _id: session, 'connection.epoch': epoch }, update: { $max: { 'connection.proven': proven } } } }
    )), { ordered: false, writeConcern: quick })
  }

  /** Cursors forward. Inside `exclusive`. */
  async advance (marks: Marks['cursors']): Promise<void> {
    const lives = new Map(marks.map(({ session }) => [session, this.#life(session)]))
    const moved = movedCursors(marks, await this.#read(marks))
    if (moved.size === 0) return
    const operations = [...moved].map(([_id, { session, row }]): AnyBulkWriteOperation<CursorDoc> => (
      { updateOne: { filter: { _id }, update: { $max: { s: row.seq, t: row.sent }, $setOnInsert: { p: session } }, upsert: true } }
    ))
    this.#changes++
    try {
      await this.#db.bulk(this.#db.cursors, operations, { ordered: false, writeConcern: quick })
    } catch (error) {
      for (const key of moved.keys()) this.#cursors.delete(key)
      throw error
    }
    this.#changes++
    for (const [key, { session, row }] of moved) this.#cursors.set(key, { row, life: lives.get(session) as Life })
  }

  #life (session: string): Life {
    let life = this.#lives.get(session)
    if (life === undefined) this.#lives.set(session, life = {})
    return life
  }

  async #read (at: ReadonlyArray<{ session: string, stream: string }>): Promise<Map<string, Cursor | null>> {
    const rows = new Map<string, Cursor | null>()
    const missing = new Map<string, Life>()
    for (const { session, stream } of at) {
      const key = cursorKey(session, stream)
      const life = this.#life(session)
      const known = this.#cursors.get(key)
      const isKnown = known?.life === life
      rows.set(key, isKnown ? known.row : null)
      if (!isKnown) missing.set(key, life)
    }
    const changes = this.#changes
    await Promise.all(pieces([...missing.keys()], idsOfQuery).map(async some => {
      for (const doc of await this.#db.cursors.find({ _id: oneOf(some) }, whole).toArray()) rows.set(doc._id, { seq: doc.s, sent: doc.t })
    }))
    if (changes === this.#changes) for (const [key, life] of missing) this.#cursors.set(key, { row: rows.get(key) ?? null, life })
    return rows
  }
}

/** A row to be written; with `was` over that one only. */
interface Put { row: SessionRow, was: SessionRow | undefined }

const absent = { $exists: false }

/** The session if it has not been opened, ended or dropped since: each connection has an epoch of its own. */
function stillAs ({ session, connection, expiresAt }: SessionRow): Filter<SessionDoc> {
  return { _id: session, 'connection.epoch': connection?.epoch ?? absent, expiresAt: expiresAt ?? absent }
}

/** What of a row is to be written: the fields that are not as they were read. How far the client has its answers is written beside it meanwhile. */
function changes (was: SessionRow, row: SessionRow): UpdateFilter<SessionDoc> {
  const { session: _, connection, ...fields } = row
  const before: Partial<Record<string, unknown>> = { ...was }
  const set = Object.fromEntries(Object.entries(fields).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(before[name])))
  const gone = Object.keys(was).filter(name => !(name in row))
  const isSame = connection?.epoch === was.connection?.epoch
  return {
    // An update that changes nothing finds its document too.
    $set: { expirySeconds: row.expirySeconds, ...set, ...(connection !== undefined && !isSame && { connection }) },
    ...(gone.length > 0 && { $unset: Object.fromEntries(gone.map(name => [name, ''])) }),
    ...(connection !== undefined && isSame && { $max: { 'connection.proven': connection.proven } })
  }
}

/** Those of the marks that are ahead of their rows, by key. */
function movedCursors (marks: Marks['cursors'], rows: ReadonlyMap<string, Cursor | null>): Map<string, { session: string, row: Cursor }> {
  const moved = new Map<string, { session: string, row: Cursor }>()
  for (const { session, stream, seq, sent } of marks) {
    const key = cursorKey(session, stream)
    const old = moved.get(key)?.row ?? rows.get(key) ?? null
    if (old !== null && seq <= old.seq && sent <= old.sent) continue
    moved.set(key, { session, row: { seq: Math.max(old?.seq ?? 0, seq), sent: Math.max(old?.sent ?? 0, sent) } })
  }
  return moved
}

/** Sessions are named `{user}/{clientId}`, and no user id holds a slash. */
function ofUser (user: string): { _id: { $gt: string, $lt: string } } { return { _id: { $gt: user + '/', $lt: user + '0' } } }
function sessionRow ({ _id, ...row }: SessionDoc): SessionRow { return { session: _id, ...row } }
