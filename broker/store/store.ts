/**
 * The store contract: what every backend keeps and promises. It speaks of messages and members, not of keys.
 * The contract suite in `test/contract/` runs against every backend.
 *
 * Rules for a backend:
 * - `commit` is on disk (synced) when its promise resolves. If it rejects, nothing of it may become visible, and trying the
 *   same batch again is safe. (A database on the network may have stored a beginning of it, or store it later: see `missed`.)
 * - What goes wrong is told apart by the classes of `errors.ts`. A write that was not taken, and a call that gets no answer from a
 *   database on the network, rejects with a `StoreUnavailableError`, in bounded time.
 * - Calls of `commit` may overlap; the backend applies them in the order of the calls.
 * - A backend caches what it likes, within bounds. The process that opened the store is its only writer; where several share it (`shared`) each log has an
 *   owner, who is told what others write of it, and nothing that one writes undoes what another one has written.
 * - User, group and conversation ids are opaque strings of `A-Z a-z 0-9 . _ - :`, also `__proto__` and `..`.
 */

import type { FeedStore } from './feed.ts'
import type { Conversation, Cursor, GroupMember, GroupRow, Head, Marks, Member, Moved, Nodes, Operation, Outcome, Page, Progress, Records, SessionRow, StoredEvent, StoredMessage, TimeMs, UserRow } from './rows.ts'

export type * from './rows.ts'

/** Conversations: append-only logs. */
export interface LogStore {
  commit (operations: readonly Operation[]): Promise<Outcome[]>
  heads (convs: readonly string[]): Promise<Array<Head | undefined>>
  /** Messages with `after < seq < before`, ascending; `newest: true` takes the newest `limit` of them (still ascending). */
  messages (conv: string, range: { after?: number, before?: number, limit: number, maxBytes?: number, newest?: boolean }): Promise<StoredMessage[]>
  /** The messages of the given (conversation, seq) pairs; `undefined` where there is none. */
  messagesAt (at: ReadonlyArray<{ conv: string, seq: number }>): Promise<Array<StoredMessage | undefined>>
  /**
   * Messages with `seq > after` that count and expire, ascending, whether they have expired yet or not. What of them has expired is
   * not unread: `n` cannot go back when time passes, so it is taken off when it is asked for.
   */
  expiring (conv: string, after: number, limit: number): Promise<Array<{ seq: number, expiresAt: TimeMs }>>
  /** Removes messages older than `before` (and their idempotency keys and deletions), at most `limit`; resolves to how many. */
  purge (before: TimeMs, limit: number): Promise<number>
}

/** Who is in which conversation, with watermarks and settings. */
export interface MemberStore {
  member (user: string, conv: string): Promise<Member | undefined>
  /** `member` for many at once. */
  membersAt (at: ReadonlyArray<{ user: string, conv: string }>): Promise<Array<Member | undefined>>
  /** All conversations of a user, by conversation id. `kind` narrows to direct (`d`) or group (`g`) ones. */
  memberships (user: string, page: Page & { kind?: 'd' | 'g' }): Promise<Member[]>
  /** `memberships` with the heads of the conversations. */
  conversations (user: string, page: Page): Promise<Conversation[]>
  advance (marks: Marks): Promise<Moved>
  /** Hides messages for one user; numbers that are not there are ignored. Resolves to how many were newly hidden. */
  hide (user: string, conv: string, seqs: readonly number[]): Promise<number>
  /** Which of `after < seq <= upTo` the user hid, ascending. */
  hidden (user: string, conv: string, after: number, upTo: number): Promise<number[]>
  /** Whether the user hid each of these messages. */
  hiddenAt (user: string, at: ReadonlyArray<{ conv: string, seq: number }>): Promise<boolean[]>
  /** Hides everything up to the head for one user and marks it read and delivered. */
  clear (user: string, conv: string): Promise<void>
  settings (user: string, conv: string, change: { muted?: boolean, pinned?: boolean }): Promise<void>
}

/** Groups and their members. */
export interface GroupStore {
  group (gid: string): Promise<GroupRow | undefined>
  /** `group` for many at once. */
  groupsAt (gids: readonly string[]): Promise<Array<GroupRow | undefined>>
  /** `undefined` when the user is no member. */
  groupMember (gid: string, user: string): Promise<GroupMember | undefined>
  groupMembers (gid: string, page: Page): Promise<GroupMember[]>
  groupSize (gid: string): Promise<number>
  groups (page: Page): Promise<GroupRow[]>
}

/** Accounts and block lists. */
export interface PeopleStore {
  user (uid: string): Promise<UserRow | undefined>
  /** `user` for many at once. */
  usersAt (uids: readonly string[]): Promise<Array<UserRow | undefined>>
  putUser (user: UserRow): Promise<void>
  /**
   * Removes the account with its blocks and sessions; messages stay. `keep` takes the account's place: a crash leaves the
   * one or the other, and never an id without a row. Trying again is safe, and removes what a crash left.
   */
  dropUser (uid: string, keep?: UserRow): Promise<void>
  users (page: Page): Promise<UserRow[]>
  blocks (uid: string): Promise<string[]>
  setBlock (uid: string, other: string, blocked: boolean): Promise<void>
}

/** What happens to a user beside messages. */
export interface EventStore {
  /** Ascending, `seq > after`. */
  events (user: string, after: number, limit: number): Promise<StoredEvent[]>
  /** `seq` of the newest event and the mark up to which a device received them. */
  eventHead (user: string): Promise<{ seq: number, deliveredSeq: number }>
}

/** Sessions that outlive their connection, and their cursors. */
export interface SessionStore {
  session (session: string): Promise<SessionRow | undefined>
  /**
   * On disk when it resolves. With `was` only if no other process has opened, ended or dropped the session since that was read, and only the fields that
   * differ from it; resolves to false where nothing is written. (A process makes one change of a session at a time: where it is alone, `was` says nothing.)
   */
  putSession (row: SessionRow, was?: SessionRow): Promise<boolean>
  /** With its cursors. `was` as for `putSession`; resolves to whether it was still that. */
  dropSession (session: string, was?: SessionRow): Promise<boolean>
  sessions (page: Page & { user?: string }): Promise<SessionRow[]>
  cursors (session: string, streams: readonly string[]): Promise<Array<Cursor | undefined>>
}

/** What several server processes that share a database need of it. */
export interface SharedStore {
  /**
   * Messages that were inserted since `since`, by the clocks of the servers that wrote them, in pages: the numbers of each, and who wrote it. Some that
   * are a little older may be among them; one that a server had begun to write before `since` may not.
   */
  inserted (since: TimeMs): AsyncIterable<Array<{ conv: string, seq: number, from: string }>>
  /**
   * What this process has in memory of these is read anew: conversations (`d:…`, `g:…`: the head and all members' rows), one member's row and the head
   * (`{user} {conversation}`), event logs (`e:{user}`). Absent: everything. To be called when another process has written it.
   */
  forget (rows?: readonly string[]): void
  /**
   * `listener` hears, in the words of `forget`, what this process has written, or may have, of logs that it does not own: before the call that wrote it ends. The
   * owner is to forget it.
   */
  onForeign (listener: (rows: string[]) => void): void
}

export interface Store extends LogStore, MemberStore, GroupStore, PeopleStore, EventStore, SessionStore {
  /** The newest time that a message (embedded: or an event) was ever given; 0 when there is none. May take a while: asked at the start. */
  newest (): Promise<TimeMs>
  readonly records: Records
  readonly nodes: Nodes
  /** What was committed, for readers with a cursor; see feed.ts. */
  readonly feed: FeedStore
  /** Absent where one process has the store for itself. */
  readonly shared?: SharedStore
  /** A number for the health page; rejects when the store cannot serve. */
  health (): Promise<void>
  /** Writes a copy that `restore` can read into the empty folder `path`, while the store is in use. */
  backup (path: string, progress?: Progress): Promise<void>
  close (): Promise<void>
}
