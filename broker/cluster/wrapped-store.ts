/** A store around another one, which does all that is not done otherwise. */
import type { FeedStore } from '../store/feed.ts'
import type {
  Conversation, Cursor, GroupMember, GroupRow, Head, Marks, Member, Moved, Nodes, Operation, Outcome, Page, Progress, Records, SessionRow, SharedStore, Store, StoredEvent,
  StoredMessage, TimeMs, UserRow
} from '../store/store.ts'

export class WrappedStore implements Store {
  protected readonly inner: Store

  constructor (inner: Store) { this.inner = inner }

  get records (): Records { return this.inner.records }
  get nodes (): Nodes { return this.inner.nodes }
  get feed (): FeedStore { return this.inner.feed }
  get shared (): SharedStore { return this.inner.shared as SharedStore }

  commit (operations: readonly Operation[]): Promise<Outcome[]> { return this.inner.commit(operations) }
  heads (convs: readonly string[]): Promise<Array<Head | undefined>> { return this.inner.heads(convs) }
  messages (conv: string, range: Parameters<Store['messages']>[1]): Promise<StoredMessage[]> { return this.inner.messages(conv, range) }
  messagesAt (at: ReadonlyArray<{ conv: string, seq: number }>): Promise<Array<StoredMessage | undefined>> { return this.inner.messagesAt(at) }
  expiring (conv: string, after: number, limit: number): Promise<Array<{ seq: number, expiresAt: TimeMs }>> { return this.inner.expiring(conv, after, limit) }
  purge (before: TimeMs, limit: number): Promise<number> { return this.inner.purge(before, limit) }

  member (user: string, conv: string): Promise<Member | undefined> { return this.inner.member(user, conv) }
  membersAt (at: ReadonlyArray<{ user: string, conv: string }>): Promise<Array<Member | undefined>> { return this.inner.membersAt(at) }
  memberships (user: string, page: Page & { kind?: 'd' | 'g' }): Promise<Member[]> { return this.inner.memberships(user, page) }
  conversations (user: string, page: Page): Promise<Conversation[]> { return this.inner.conversations(user, page) }
  advance (marks: Marks): Promise<Moved> { return this.inner.advance(marks) }
  hide (user: string, conv: string, seqs: readonly number[]): Promise<number> { return this.inner.hide(user, conv, seqs) }
  hidden (user: string, conv: string, after: number, upTo: number): Promise<number[]> { return this.inner.hidden(user, conv, after, upTo) }
  hiddenAt (user: string, at: ReadonlyArray<{ conv: string, seq: number }>): Promise<boolean[]> { return this.inner.hiddenAt(user, at) }
  clear (user: string, conv: string): Promise<void> { return this.inner.clear(user, conv) }
  settings (user: string, conv: string, change: { muted?: boolean, pinned?: boolean }): Promise<void> { return this.inner.settings(user, conv, change) }

  group (gid: string): Promise<GroupRow | undefined> { return this.inner.group(gid) }
  groupsAt (gids: readonly string[]): Promise<Array<GroupRow | undefined>> { return this.inner.groupsAt(gids) }
  groupMember (gid: string, user: string): Promise<GroupMember | undefined> { return this.inner.groupMember(gid, user) }
  groupMembers (gid: string, page: Page): Promise<GroupMember[]> { return this.inner.groupMembers(gid, page) }
  groupSize (gid: string): Promise<number> { return this.inner.groupSize(gid) }
  groups (page: Page): Promise<GroupRow[]> { return this.inner.groups(page) }

  user (uid: string): Promise<UserRow | undefined> { return this.inner.user(uid) }
  usersAt (uids: readonly string[]): ReturnType<Store['usersAt']> { return this.inner.usersAt(uids) }
  putUser (user: UserRow): Promise<void> { return this.inner.putUser(user) }
  dropUser (uid: string, keep?: UserRow): Promise<void> { return this.inner.dropUser(uid, keep) }
  users (page: Page): Promise<UserRow[]> { return this.inner.users(page) }
  blocks (uid: string): Promise<string[]> { return this.inner.blocks(uid) }
  setBlock (uid: string, other: string, blocked: boolean): Promise<void> { return this.inner.setBlock(uid, other, blocked) }

  events (user: string, after: number, limit: number): Promise<StoredEvent[]> { return this.inner.events(user, after, limit) }
  eventHead (user: string): Promise<{ seq: number, deliveredSeq: number }> { return this.inner.eventHead(user) }

  session (session: string): Promise<SessionRow | undefined> { return this.inner.session(session) }
  putSession (row: SessionRow, was?: SessionRow): Promise<boolean> { return this.inner.putSession(row, was) }
  dropSession (session: string, was?: SessionRow): Promise<boolean> { return this.inner.dropSession(session, was) }
  sessions (page: Page & { user?: string }): Promise<SessionRow[]> { return this.inner.sessions(page) }
  cursors (session: string, streams: readonly string[]): Promise<Array<Cursor | undefined>> { return this.inner.cursors(session, streams) }

  newest (): Promise<TimeMs> { return this.inner.newest() }
  health (): Promise<void> { return this.inner.health() }
  backup (path: string, progress?: Progress): Promise<void> { return this.inner.backup(path, progress) }
  close (): Promise<void> { return this.inner.close() }
}
