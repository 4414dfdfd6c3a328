/**
 * The content of a store as rows that belong to no engine: what `sabethes migrate` moves from one backend to another. What
 * a backend derives from these rows (indexes, numbers of members) is not part of it: the backend that takes them makes it.
 */
import type { FeedReader } from './feed.ts'
import type { FeedRow } from './feed-rows.ts'
import type { Cursor, GroupRow, Member, SessionRow, StoredMessage, TimeMs, UserRow } from './store.ts'

/** The rows of each kind. */
export interface TransferRows {
  user: UserRow
  block: { uid: string, other: string }
  group: GroupRow
  /**
   * The end of a log, and the mark of the purge: messages up to `purgedSeq` are gone. `oldestTs` is the time of the first
   * message behind it, when there is one; `expiring` as in `Head`.
   */
  head: { conv: string, seq: number, n: number, ts: TimeMs, purgedSeq: number, purgedN: number, oldestTs?: TimeMs, expiring?: number }
  /** As it is stored: marks may be behind the mark of the purge. Members of groups have a role. */
  member: Member
  /** A message that a user hid; `counts` as the message does. */
  hidden: { user: string, conv: string, seq: number, counts: boolean }
  /** Only messages behind the mark of the purge. */
  message: StoredMessage & { conv: string, cid?: string }
  event: { user: string, seq: number, ts: TimeMs, content: string, slot?: string }
  eventHead: { user: string, seq: number, deliveredSeq: number }
  session: SessionRow
  cursor: Cursor & { session: string, stream: string }
  /** The last publish of a packet id. Without `epoch` (earlier versions did not write it) it is no message's first try. */
  resend: { session: string, packetId: number, conv: string, seq: number, n: number, id: string, ts: TimeMs, digest: string, epoch?: string, number?: number }
  record: { key: string, value: Uint8Array }
  feed: FeedRow
  feedReader: FeedReader
}
export type TransferKind = keyof TransferRows

/** All kinds, in the order in which they are moved. */
export const transferKinds: readonly TransferKind[] = [
  'user', 'block', 'group', 'head', 'member', 'hidden', 'message', 'event', 'eventHead', 'session', 'cursor', 'resend', 'record',
  'feed', 'feedReader'
]

/** Some rows, and the place behind them: `read` goes on from there. */
export interface TransferPage<K extends TransferKind> { rows: Array<TransferRows[K]>, at: string }

/** How far a migration into a store has come; kept in that store. */
export interface Checkpoint {
  /** `identity` of the source. */
  source: string
  kind: TransferKind
  /** Place in the source behind the last row that was written; absent at the start of a kind. */
  at?: string
  /** Rows written so far, of all kinds. */
  rows: number
}

/** A store that is read. Nobody else may write it meanwhile. */
export interface TransferSource {
  /** Which store it is, without passwords: the same text each time. */
  readonly identity: string
  /** Completes what a crash may have left unfinished, before anything is read. */
  prepare (): Promise<void>
  /** Rows in the order of the store, each once; behind `at` when given. */
  read<K extends TransferKind> (kind: K, at?: string): AsyncIterable<TransferPage<K>>
  /** About how many rows there are, when that is cheap to know. */
  estimate (): Promise<number | undefined>
  close (): Promise<void>
}

/** A store that is filled. Until `finish` it is no store: servers refuse it. */
export interface TransferTarget extends Omit<TransferSource, 'prepare'> {
  /** Where an interrupted migration stopped; `undefined` when the store is empty. Throws `TransferError` when it holds anything else. */
  checkpoint (): Promise<Checkpoint | undefined>
  /** Makes an empty store ready, and remembers the first checkpoint. */
  begin (checkpoint: Checkpoint): Promise<void>
  /** Writes rows and, not before they are on disk, the checkpoint. Rows that are there already stay as they are or are written again. */
  write<K extends TransferKind> (kind: K, rows: ReadonlyArray<TransferRows[K]>, checkpoint: Checkpoint): Promise<void>
  /** Makes it a store. */
  finish (): Promise<void>
}

/** The migration cannot be done, or its result is not equal to its source. */
export class TransferError extends Error {
  override readonly name = 'TransferError'
}
