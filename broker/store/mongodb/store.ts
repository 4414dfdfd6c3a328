/** The MongoDB store. `docs/mongodb.md` describes its collections and what each operation costs. */
import { Refusal } from '../../errors.ts'
import type {
  Conversation, Cursor, GroupMember, GroupRow, Head, Marks, Member, Moved, Nodes, Operation, Outcome, Page, Records, SessionRow, SharedStore, Store, StoredEvent, StoredMessage,
  TimeMs, UserRow
} from '../store.ts'
import type { Checkpoint } from '../transfer.ts'
import { Append } from './append.ts'
import { commit } from './commit.ts'
import { Connection, whole } from './connection.ts'
import type { Faults, SentCommand } from './connection.ts'
import { Directory } from './directory.ts'
import { EventLog } from './events.ts'
import { StoreFormatError } from '../errors.ts'
import { MongoFeed } from './feed.ts'
import { duplicates } from './failure.ts'
import { GroupChanges } from './group-changes.ts'
import { createIndexes } from './indexes.ts'
import { Members } from './members.ts'
import { Messages } from './messages.ts'
import type { MessageRange } from './messages.ts'
import { Purge } from './purge.ts'
import { MongoNodes } from './nodes.ts'
import type { NodeOptions } from './nodes.ts'
import { MongoRecords } from './records.ts'
import { SharedRows } from './shared.ts'
import { Rows, defaultCacheSizes } from './rows.ts'
import type { CacheSizes } from './rows.ts'
import { Sessions } from './sessions.ts'

export { urlDatabase } from './connection.ts'
export type { FaultPlace, Faults, SentCommand } from './connection.ts'

/** The version of the documents. A store of another version is refused. */
export const formatVersion = 1
/** Of a database that a migration is filling: servers refuse it. */
export const unfinishedVersion = 0

export interface MongoStoreOptions {
  /** `mongodb://…` or `mongodb+srv://…`. It may hold a password and is never shown. */
  url: string
  /** Default: the one in the URL, or `sabethes`. */
  database?: string
  /** Seconds in which a DUP without `cid` is joined to its first try. Default 86400. */
  resendWindowSeconds?: number
  /**
   * Whether this process is the one that writes a conversation (`d:…`, `g:…`: its log, its members' rows) or an event log (`e:{user}`). What it does not own it reads
   * from the database each time. The answer may change at any time; then `shared.forget` is to be called. Absent: nobody else writes anything.
   */
  owns?: (log: string) => boolean
  /** Rows that are kept in memory, by kind. */
  cache?: Partial<CacheSizes>
  /** Milliseconds after which an operation that gets no answer fails. Default 5000. */
  timeoutMs?: number
  /** Called when heads and marks could not be written behind messages that are stored: with the first failure of a burst. */
  onDerivedFailure?: (error: unknown) => void
  /** Called with each command that is sent, for tests and measurements. */
  onCommand?: (command: SentCommand) => void
  /** Of a server, which shares the database with others. Absent: it is only looked at, or worked on, by who has no clients. */
  node?: NodeOptions
  /** For tests. */
  faults?: Faults
}

/**
 * Connects, makes the indexes that are missing, and opens the store. Throws `StoreUnavailableError` (no answer in time),
 * `StoreFormatError` (documents of an unknown version, or of a migration that was not finished), and what the driver says to a bad URL or password.
 */
export async function openMongoStore (options: MongoStoreOptions): Promise<Store> {
  const db = new Connection({
    url: options.url,
    database: options.database,
    timeoutMs: options.timeoutMs ?? 5000,
    ...(options.onCommand === undefined ? {} : { onCommand: options.onCommand }),
    ...(options.faults === undefined ? {} : { faults: options.faults })
  })
  const feed = new MongoFeed(db)
  const nodes = new MongoNodes(db, options.node)
  await db.open()
  try {
    // The indexes of a large database may take their time.
    await db.finish(async () => {
      await checkFormat(db)
      await createIndexes(db.db)
      await feed.look()
      await nodes.register()
    })
  } catch (error) {
    await db.close()
    throw error
  }
  return new MongoStore(db, feed, nodes, options)
}

async function checkFormat (db: Connection): Promise<void> {
  const documents = await db.meta.find({ _id: { $in: ['format', 'migration'] } }).toArray()
  const found = documents.find(({ _id }) => _id === 'format')
  const migration = documents.find(({ _id }) => _id === 'migration')
  if (found?.version === formatVersion) {
    // A migration that ended just before its first row or behind its last one. Left there, it would be gone on with.
    if (migration !== undefined) await db.meta.deleteOne({ _id: 'migration' })
    return
  }
  if (migration !== undefined || found?.version === unfinishedVersion) throw new StoreFormatError(unfinished(migration?.checkpoint))
  if (found !== undefined) {
    throw new StoreFormatError(`the database has format version ${found.version}, and this program knows version ${formatVersion}`)
  }
  try {
    await db.meta.insertOne({ _id: 'format', version: formatVersion })
  } catch (error) {
    // Another process opened the same new database.
    if ((error as { code?: unknown }).code !== 11000 && duplicates(error) === undefined) throw error
  }
}

/** What to do about a migration that stopped; its checkpoint says where it came from. */
function unfinished (checkpoint: string | undefined): string {
  const source = checkpoint === undefined ? undefined : (JSON.parse(checkpoint) as Checkpoint).source
  if (source === undefined) return 'the database holds an unfinished migration: run the same sabethes migrate again'
  // What identifies a database is its address without user and password.
  const from = source.replace(/^mongodb:(?!\/\/)/, 'mongodb://')
  return `the database holds an unfinished migration from ${source}: finish it with sabethes migrate --from '${from}' --to config`
}

class MongoStore implements Store {
  readonly records: Records
  readonly feed: MongoFeed
  readonly nodes: Nodes
  readonly shared: SharedStore
  readonly #db: Connection
  readonly #append: Append
  readonly #events: EventLog
  readonly #groups: GroupChanges
  readonly #messages: Messages
  readonly #members: Members
  readonly #directory: Directory
  readonly #sessions: Sessions
  readonly #purge: Purge
  readonly #settled: () => Promise<void>

  constructor (db: Connection, feed: MongoFeed, nodes: MongoNodes, options: MongoStoreOptions) {
    const cache: CacheSizes = { ...defaultCacheSizes, ...options.cache }
    const resendWindowMs = (options.resendWindowSeconds ?? 86400) * 1000
    const rows = new Rows(db, cache, feed, options.owns)
    const records = new MongoRecords(db)
    this.#db = db
    this.feed = feed
    this.nodes = nodes
    this.#append = new Append(db, rows, feed, resendWindowMs, options.onDerivedFailure)
    this.#events = new EventLog(db, cache.events, options.owns)
    this.#groups = new GroupChanges(db, rows, cache.groups)
    this.#messages = new Messages(db, rows)
    this.#members = new Members(db, rows)
    this.#directory = new Directory(db, rows, this.#groups)
    this.#sessions = new Sessions(db, cache.cursors)
    this.#purge = new Purge(db, rows, resendWindowMs)
    this.records = records
    this.shared = new SharedRows({ rows, groups: this.#groups, events: this.#events, messages: this.#messages })
    this.#settled = async () => { await Promise.all([records.settled(), nodes.close()]) }
  }

  commit (operations: readonly Operation[]): Promise<Outcome[]> {
    const parts = { append: this.#append, events: this.#events, groups: this.#groups }
    return this.#db.exclusive(() => commit(parts, operations))
  }

  heads (convs: readonly string[]): Promise<Array<Head | undefined>> { return this.#db.read(() => this.#messages.heads(convs)) }
  messages (conv: string, range: MessageRange): Promise<StoredMessage[]> { return this.#db.read(() => this.#messages.messages(conv, range)) }
  messagesAt (at: ReadonlyArray<{ conv: string, seq: number }>): Promise<Array<StoredMessage | undefined>> { return this.#db.read(() => this.#messages.messagesAt(at)) }
  expiring (conv: string, after: number, limit: number): Promise<Array<{ seq: number, expiresAt: TimeMs }>> { return this.#db.read(() => this.#messages.expiring(conv, after, limit)) }
  purge (before: TimeMs, limit: number): Promise<number> { return this.#purge.run(before, limit) }

  member (user: string, conv: string): Promise<Member | undefined> { return this.#db.read(() => this.#members.member(user, conv)) }
  membersAt (at: ReadonlyArray<{ user: string, conv: string }>): Promise<Array<Member | undefined>> { return this.#db.read(() => this.#members.membersAt(at)) }
  memberships (user: string, page: Page & { kind?: 'd' | 'g' }): Promise<Member[]> { return this.#db.read(() => this.#members.memberships(user, page)) }
  conversations (user: string, page: Page): Promise<Conversation[]> { return this.#db.read(() => this.#members.conversations(user, page)) }

  advance (marks: Marks): Promise<Moved> {
    return this.#db.exclusive(async () => {
      // Cursors come first, and are there before anything else is written: a device without one starts behind what another device
      // has received, and would miss what came between if the process died after the others.
      if (marks.cursors.length > 0) await this.#sessions.advance(marks.cursors)
      // A job ends when all its writes have ended.
      const [members, ...others] = await Promise.allSettled([
        marks.members.length > 0 ? this.#members.advance(marks) : [],
        marks.events.length > 0 ? this.#events.advance(marks.events) : undefined,
        marks.connections !== undefined ? this.#sessions.prove(marks.connections) : undefined
      ])
      for (const result of others) if (result.status === 'rejected') throw result.reason
      if (members.status === 'rejected') throw members.reason
      return members.value
    })
  }

  hide (user: string, conv: string, seqs: readonly number[]): Promise<number> { return this.#db.exclusive(() => this.#members.hide(user, conv, seqs)) }
  hidden (user: string, conv: string, after: number, upTo: number): Promise<number[]> { return this.#db.read(() => this.#members.hidden(user, conv, after, upTo)) }
  hiddenAt (user: string, at: ReadonlyArray<{ conv: string, seq: number }>): Promise<boolean[]> { return this.#db.read(() => this.#members.hiddenAt(user, at)) }
  clear (user: string, conv: string): Promise<void> { return this.#db.exclusive(() => this.#members.clear(user, conv)) }
  settings (user: string, conv: string, change: { muted?: boolean, pinned?: boolean }): Promise<void> {
    return this.#db.exclusive(() => this.#members.settings(user, conv, change))
  }

  group (gid: string): Promise<GroupRow | undefined> { return this.#db.read(() => this.#directory.group(gid)) }
  groupsAt (gids: readonly string[]): Promise<Array<GroupRow | undefined>> { return this.#db.read(() => this.#directory.groupsAt(gids)) }
  groupMember (gid: string, user: string): Promise<GroupMember | undefined> { return this.#db.read(() => this.#directory.groupMember(gid, user)) }
  groupMembers (gid: string, page: Page): Promise<GroupMember[]> { return this.#db.read(() => this.#directory.groupMembers(gid, page)) }
  groupSize (gid: string): Promise<number> { return this.#db.read(() => this.#directory.groupSize(gid)) }
  groups (page: Page): Promise<GroupRow[]> { return this.#db.read(() => this.#directory.groups(page)) }

  user (uid: string): Promise<UserRow | undefined> { return this.#db.read(() => this.#directory.user(uid)) }
  usersAt (uids: readonly string[]): Promise<Array<UserRow | undefined>> { return this.#db.read(() => this.#directory.usersAt(uids)) }
  putUser (user: UserRow): Promise<void> { return this.#db.exclusive(() => this.#directory.putUser(user)) }
  dropUser (uid: string, keep?: UserRow): Promise<void> { return this.#sessions.dropUser(uid, keep) }
  users (page: Page): Promise<UserRow[]> { return this.#db.read(() => this.#directory.users(page)) }
  blocks (uid: string): Promise<string[]> { return this.#db.read(() => this.#directory.blocks(uid)) }
  setBlock (uid: string, other: string, blocked: boolean): Promise<void> { return this.#db.read(() => this.#directory.setBlock(uid, other, blocked)) }

  events (user: string, after: number, limit: number): Promise<StoredEvent[]> { return this.#db.read(() => this.#events.events(user, after, limit)) }
  eventHead (user: string): Promise<{ seq: number, deliveredSeq: number }> { return this.#db.read(() => this.#events.head(user)) }

  session (session: string): Promise<SessionRow | undefined> { return this.#db.read(() => this.#sessions.session(session)) }
  putSession (row: SessionRow, was?: SessionRow): Promise<boolean> { return this.#sessions.putSession(row, was) }
  dropSession (session: string, was?: SessionRow): Promise<boolean> { return this.#sessions.dropSession(session, was) }
  sessions (page: Page & { user?: string }): Promise<SessionRow[]> { return this.#db.read(() => this.#sessions.sessions(page)) }
  cursors (session: string, streams: readonly string[]): Promise<Array<Cursor | undefined>> { return this.#db.read(() => this.#sessions.cursors(session, streams)) }

  async newest (): Promise<TimeMs> {
    // No index: heads change with every message, and this is asked once.
    const [head] = await this.#db.rows.find({ ts: { $gt: 0 } }, whole).sort({ ts: -1 }).limit(1).project<{ ts: number }>({ _id: 0, ts: 1 }).toArray()
    return head?.ts ?? 0
  }

  health (): Promise<void> { return this.#db.health() }

  async backup (): Promise<void> {
    throw new Refusal('unavailable', 'a store in MongoDB is copied with MongoDB\'s own tools: mongodump (with --oplog), or a snapshot of its volumes')
  }

  close (): Promise<void> { return this.#db.close(this.#settled()) }
}
