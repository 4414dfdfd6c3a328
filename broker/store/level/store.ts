/** The embedded store: the contract of `../store.ts` on LevelDB. One process at a time has it open. */
import type { Conversation, Cursor, GroupMember, GroupRow, Head, Marks, Member, Moved, Nodes, Operation, Outcome, Page, Progress, Records, SessionRow, Store, StoredEvent, StoredMessage, TimeMs, UserRow } from '../store.ts'
import { backupLevel } from './backup.ts'
import { commit } from './commit.ts'
import type { CommitParts } from './commit.ts'
import { Database } from './database.ts'
import type { Faults } from './database.ts'
import { Directory } from './directory.ts'
import { LevelFeed } from './feed.ts'
import { StoreFormatError, StoreUnavailableError } from '../errors.ts'
import { StoreFullError, failureKind } from './failure.ts'
import { formatVersion, readMarker, writeMarker } from './format.ts'
import { Members } from './members.ts'
import { Memberships } from './memberships.ts'
import { Messages } from './messages.ts'
import { tighten } from './permissions.ts'
import type { MessageRange } from './messages.ts'
import { Purge } from './purge.ts'
import { LevelRecords } from './records.ts'
import { Newest } from './newest.ts'
import { Segments } from './segments.ts'
import { Sessions } from './sessions.ts'
import { Tables, defaultCacheSizes } from './tables.ts'
import type { CacheSizes } from './tables.ts'
import { Watermarks } from './watermarks.ts'

export { restoreLevelBackup } from './backup.ts'
export { StoreFullError, StoreLockedError, StoreLostError } from './failure.ts'
export { formatVersion } from './format.ts'
export { shownKey } from './reader.ts'

export interface LevelStoreOptions {
  /** The folder of the store; made when it is not there. */
  path: string
  /** Seconds in which a DUP without `cid` is joined to its first try. Default 86400. */
  resendWindowSeconds?: number
  /** Rows that are kept in memory, by kind. */
  cache?: Partial<CacheSizes>
  /** Bytes of LevelDB's cache of blocks. Default 32 MiB. */
  blockCacheBytes?: number
  /** Bytes that LevelDB collects before it writes a table; it is also what opening has to replay. Default 16 MiB. */
  writeBufferBytes?: number
  /** Characters of messages in a segment, about; see segments.ts. Default 64 Mi. */
  segmentLength?: number
  /** Milliseconds before the first try to go on after a write failed; the pauses double. Default 100. */
  retryIntervalMs?: number
  /** Called once when the store failed and cannot be opened anew: the process has to end. */
  onLost?: (error: Error) => void
  /** Called with each damaged row that is met. */
  onDamage?: (row: string, error?: unknown) => void
  /** Called at the opening with what of the store others than its owner may read, where that cannot be changed. */
  onOpenPaths?: (paths: string[]) => void
  /** Called after each synced write with the number of its rows. */
  onSync?: (rows: number) => void
  /** For tests. */
  faults?: Faults
}

/**
 * Opens (or makes) the store in a folder. Throws `StoreFormatError` (not a store, damaged, incomplete, unknown version),
 * `StoreLockedError` (open in another process), `StoreFailedError` (anything else that LevelDB reports).
 */
export async function openLevelStore (options: LevelStoreOptions): Promise<Store> {
  try {
    return await opened(options)
  } catch (error) {
    // Of the marker, and of the first row that is written.
    if (error instanceof StoreUnavailableError || failureKind(error) !== 'full') throw error
    throw new StoreFullError(options.path, error)
  }
}

async function opened (options: LevelStoreOptions): Promise<Store> {
  const marker = await readMarker(options.path)
  if (marker?.kind === 'backup') throw new StoreFormatError(`'${options.path}' is a backup: restore it into an empty folder first`)
  // Until the marker says `store`, nothing was ever acknowledged: what a crash left of a first start is made again.
  const create = marker === undefined || marker.kind === 'new'
  if (marker === undefined) await writeMarker(options.path, { kind: 'new' })
  const left = await tighten(options.path)
  if (left.length > 0) options.onOpenPaths?.(left.map(({ path }) => path))
  const db = databaseOf(options, create)
  await db.open()
  let segments: Segments
  let newest: Newest
  let feed: LevelFeed
  try {
    await tighten(options.path)
    if (create || marker.format !== formatVersion) await writeMarker(options.path, { kind: 'store' })
    segments = await Segments.open(db, options.segmentLength ?? 64 * 1024 * 1024)
    newest = await Newest.open(db)
    feed = await LevelFeed.open(db)
  } catch (error) {
    await db.close()
    throw error
  }
  const cache = { ...defaultCacheSizes, ...options.cache }
  return new LevelStore({ db, tables: new Tables(cache), segments, newest, feed, resendWindowMs: (options.resendWindowSeconds ?? 86400) * 1000 })
}

function databaseOf (options: LevelStoreOptions, create: boolean): Database {
  const db = new Database({
    path: options.path,
    blockCacheBytes: options.blockCacheBytes ?? 32 * 1024 * 1024,
    writeBufferBytes: options.writeBufferBytes ?? 16 * 1024 * 1024,
    retryIntervalMs: options.retryIntervalMs ?? 100,
    create,
    ...(options.onLost === undefined ? {} : { onLost: options.onLost }),
    ...(options.onSync === undefined ? {} : { onSync: options.onSync }),
    ...(options.faults === undefined ? {} : { faults: options.faults })
  })
  if (options.onDamage !== undefined) db.reader.onDamage = options.onDamage
  return db
}

class LevelStore implements Store {
  readonly records: Records
  /** The lock: whatever another process left, it is over. */
  readonly nodes: Nodes = { self: undefined, over: async nodes => [...nodes] }
  readonly feed: LevelFeed
  readonly #parts: CommitParts
  readonly #db: Database
  readonly #newest: Newest
  readonly #messages: Messages
  readonly #members: Members
  readonly #memberships: Memberships
  readonly #watermarks: Watermarks
  readonly #directory: Directory
  readonly #sessions: Sessions
  readonly #purge: Purge

  constructor (parts: CommitParts) {
    const { db, tables, newest, feed, resendWindowMs } = parts
    this.#parts = parts
    this.#db = db
    this.#newest = newest
    this.feed = feed
    this.#messages = new Messages(db, tables)
    this.#members = new Members(db, tables)
    this.#memberships = new Memberships(db, tables)
    this.#watermarks = new Watermarks(db, tables)
    this.#directory = new Directory(db, tables)
    this.#sessions = new Sessions(db, tables)
    this.#purge = new Purge(db, tables, resendWindowMs)
    this.records = new LevelRecords(db)
    feed.use(this.#messages)
    db.onReopen = () => { tables.clear() }
  }

  commit (operations: readonly Operation[]): Promise<Outcome[]> {
    return this.#db.exclusive(() => commit(this.#parts, operations))
  }

  heads (convs: readonly string[]): Promise<Array<Head | undefined>> { return this.#messages.heads(convs) }
  messages (conv: string, range: MessageRange): Promise<StoredMessage[]> { return this.#messages.messages(conv, range) }
  messagesAt (at: ReadonlyArray<{ conv: string, seq: number }>): Promise<Array<StoredMessage | undefined>> { return this.#messages.messagesAt(at) }
  expiring (conv: string, after: number, limit: number): Promise<Array<{ seq: number, expiresAt: TimeMs }>> { return this.#messages.expiring(conv, after, limit) }
  purge (before: TimeMs, limit: number): Promise<number> { return this.#purge.run(before, limit) }

  member (user: string, conv: string): Promise<Member | undefined> { return this.#members.member(user, conv) }
  membersAt (at: ReadonlyArray<{ user: string, conv: string }>): Promise<Array<Member | undefined>> { return this.#members.membersAt(at) }
  memberships (user: string, page: Page & { kind?: 'd' | 'g' }): Promise<Member[]> { return this.#memberships.page(user, page) }
  conversations (user: string, page: Page): Promise<Conversation[]> { return this.#members.conversations(user, page) }
  advance (marks: Marks): Promise<Moved> {
    return this.#db.exclusive(async () => {
      if (marks.connections !== undefined) await this.#sessions.prove(marks.connections)
      return await this.#watermarks.advance(marks)
    })
  }

  hide (user: string, conv: string, seqs: readonly number[]): Promise<number> { return this.#db.exclusive(() => this.#members.hide(user, conv, seqs)) }
  hidden (user: string, conv: string, after: number, upTo: number): Promise<number[]> { return this.#members.hidden(user, conv, after, upTo) }
  hiddenAt (user: string, at: ReadonlyArray<{ conv: string, seq: number }>): Promise<boolean[]> { return this.#members.hiddenAt(user, at) }
  clear (user: string, conv: string): Promise<void> { return this.#db.exclusive(() => this.#members.clear(user, conv)) }
  settings (user: string, conv: string, change: { muted?: boolean, pinned?: boolean }): Promise<void> {
    return this.#db.exclusive(() => this.#members.settings(user, conv, change))
  }

  group (gid: string): Promise<GroupRow | undefined> { return this.#directory.group(gid) }
  groupsAt (gids: readonly string[]): Promise<Array<GroupRow | undefined>> { return this.#directory.groupsAt(gids) }
  groupMember (gid: string, user: string): Promise<GroupMember | undefined> { return this.#directory.groupMember(gid, user) }
  groupMembers (gid: string, page: Page): Promise<GroupMember[]> { return this.#directory.groupMembers(gid, page) }
  groupSize (gid: string): Promise<number> { return this.#directory.groupSize(gid) }
  groups (page: Page): Promise<GroupRow[]> { return this.#directory.groups(page) }

  user (uid: string): Promise<UserRow | undefined> { return this.#directory.user(uid) }
  usersAt (uids: readonly string[]): Promise<Array<UserRow | undefined>> { return this.#directory.usersAt(uids) }
  putUser (user: UserRow): Promise<void> { return this.#directory.putUser(user) }
  dropUser (uid: string, keep?: UserRow): Promise<void> { return this.#db.exclusive(() => this.#sessions.dropUser(uid, keep)) }
  users (page: Page): Promise<UserRow[]> { return this.#directory.users(page) }
  blocks (uid: string): Promise<string[]> { return this.#directory.blocks(uid) }
  setBlock (uid: string, other: string, blocked: boolean): Promise<void> { return this.#directory.setBlock(uid, other, blocked) }

  events (user: string, after: number, limit: number): Promise<StoredEvent[]> { return this.#sessions.events(user, after, limit) }
  eventHead (user: string): Promise<{ seq: number, deliveredSeq: number }> { return this.#sessions.eventHead(user) }

  session (session: string): Promise<SessionRow | undefined> { return this.#sessions.session(session) }
  putSession (row: SessionRow): Promise<boolean> { return this.#sessions.putSession(row).then(() => true) }
  dropSession (session: string): Promise<boolean> { return this.#db.exclusive(() => this.#sessions.dropSession(session)).then(() => true) }
  sessions (page: Page & { user?: string }): Promise<SessionRow[]> { return this.#sessions.sessions(page) }
  cursors (session: string, streams: readonly string[]): Promise<Array<Cursor | undefined>> { return this.#sessions.cursors(session, streams) }

  newest (): Promise<TimeMs> { return Promise.resolve(this.#newest.ts) }
  health (): Promise<void> { return this.#db.health() }
  backup (path: string, progress?: Progress): Promise<void> { return backupLevel(this.#db, path, progress) }
  close (): Promise<void> { return this.#db.close() }
}
