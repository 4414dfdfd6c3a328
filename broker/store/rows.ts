/** What is kept, and what changes it: the rows, operations and outcomes of the store contract. */

/** Milliseconds since the epoch. */
export type TimeMs = number

/** One message to append to a conversation's log. */
export interface NewMessage {
  op: 'message'
  /** `d:{a}:{b}` or `g:{gid}`. A direct conversation and its two members come into being with its first message. */
  conv: string
  /** The sender. */
  from: string
  /** The server's message id; ignored when the message turns out to be a repeat. */
  id: string
  ts: TimeMs
  /** The sender's client message id: unique per (conversation, sender); a repeat is answered with the first one. */
  cid?: string
  /**
   * For senders without `cid` in sessions that outlive their connection: the store remembers the last message of (session,
   * packetId). A message with `dup` is a repeat of it when its `digest` is the same and the answer to it is in doubt (see
   * `repeats`); the memory of it then moves to the present connection, because the answer may be lost again. Every other
   * message overwrites the memory.
   */
  resend?: Resend
  /** True when it raises unread (`n` grows); false for system messages. */
  counts: boolean
  /** True when the sender's own marks move to this message (sending marks one's own conversation read). */
  marksSender: boolean
  /** Not delivered after this time; absent = never expires. */
  expiresAt?: TimeMs
  /** The envelope's members after `conv` and `seq`, as JSON text without the outer braces: `"id":"…","from":"…",…`. */
  content: string
}

export interface Resend {
  session: string
  packetId: number
  /** Tells what was sent, and to whom. */
  digest: string
  dup: boolean
  /** The connection that it came on: a name of its own, without spaces. */
  epoch: string
  /** Which publish of that connection it is, from 1. */
  number: number
  /** Publishes of that connection up to it were answered, and the client is known to have the answer. */
  proven: number
  /** The session's connection before this one, with what is known of its answers. */
  last?: ConnectionMark
  /** The connections before `last`, the newest first, while each of those between was sent this publish and answered it with nothing. */
  earlier?: readonly ConnectionMark[]
}

/** How far the client of a connection is known to have its answers. */
export interface ConnectionMark { epoch: string, proven: number }

/** Appends to a user's event log. An event with a `slot` replaces the older event of the same slot. */
export interface NewEvent {
  op: 'event'
  user: string
  /** For example `read d:alice:bob`; at most one event per slot stays in the log. */
  slot?: string
  /**
   * Of a slot: it grows with what the events say. Where several servers share the store, one that is not higher than what the slot holds is left out,
   * and its outcome says `replay`; that very event (of the same time) is answered as it was stored.
   */
  mark?: number
  ts: TimeMs
  /** The event's JSON object text without `eseq`: `{"kind":"…",…}`; the reader of the log adds `eseq`. */
  content: string
}

export type Role = 'owner' | 'admin' | 'member'

/** Creates a group or replaces its description. */
export interface PutGroup { op: 'group', group: GroupRow }
/** Removes a group, its members' rows and, later, its log. */
export interface DropGroup { op: 'group.drop', gid: string }
/** Adds a member: history starts after the present head (`joinedSeq`). Adding a member again changes the role only. */
export interface PutMember { op: 'member', gid: string, user: string, role: Role, mutedUntil?: TimeMs }
/** Removes a member. */
export interface DropMember { op: 'member.drop', gid: string, user: string }

/** Operations of one commit, applied in order. */
export type Operation = NewMessage | NewEvent | PutGroup | DropGroup | PutMember | DropMember

/** What became of one operation of a commit. For operations other than messages and events all numbers are 0. */
export interface Outcome {
  /** The message's number in its conversation, or the event's in the user's log. */
  seq: number
  /** The running number of messages that count, at this message. */
  n: number
  /** The id and time of the message that is stored (the first one's when `replay`). */
  id: string
  ts: TimeMs
  /** True when the message was stored before (same cid, or a DUP resend): nothing was written for it. */
  replay: boolean
  /** When the message before it in its log was written; where several processes write, and it has one. */
  prevTs?: TimeMs
  /** Of a message with `marksSender`: the sender's read mark went past messages of others. Absent = it did not, or `replay`. */
  passed?: true
  /**
   * What lies before this in the same log and was stored by commits that were rejected all the same (a database that did not
   * answer in time), ascending; with `replay` it may hold this message itself. Nobody has been told of it: it is announced
   * first, or readers who are at the end of the log would miss it.
   */
  missed?: StoredMessage[]
  /** The same of a user's event log. */
  missedEvents?: StoredEvent[]
}

/** The end of a conversation's log. `seq` and `n` never go back, whatever is purged. */
export interface Head {
  seq: number
  n: number
  ts: TimeMs
  /** The number of the last message that counts and expires; absent when there was none. */
  expiring?: number
}

/** A message as stored. */
export interface StoredMessage {
  seq: number
  n: number
  /** False for messages that do not count for unread. */
  counts: boolean
  id: string
  from: string
  ts: TimeMs
  expiresAt?: TimeMs
  /** As in `NewMessage.content`. */
  content: string
}

export interface StoredEvent { seq: number, ts: TimeMs, content: string }

/** A member's row: watermarks and settings of one user in one conversation. */
export interface Member {
  user: string
  conv: string
  /** Messages up to it came before the user joined. */
  joinedSeq: number
  /** Everything up to it is hidden for this user. */
  clearedSeq: number
  readSeq: number
  /** `n` at `readSeq`. */
  readN: number
  /** Every message up to it reached a device of the user. */
  deliveredSeq: number
  /** Messages after `readSeq` that count and that the user deleted for themself: they are not unread. */
  hiddenUnread: number
  muted: boolean
  pinned: boolean
  /** The user has sent a message in the conversation. */
  posted?: true
  /** Groups only. */
  role?: Role
  mutedUntil?: TimeMs
}

/** A conversation of a user: their row, and the end of its log. */
export interface Conversation { member: Readonly<Member>, head: Head }

export interface GroupRow { gid: string, name: string, owner: string, createdAt: TimeMs, meta?: Record<string, unknown> }

/** A member of a group, from the group's side. */
export interface GroupMember { user: string, role: Role, mutedUntil?: TimeMs }

/** An account. In `dev` mode accounts have no `passwordHash`. */
export interface UserRow {
  uid: string
  createdAt: TimeMs
  passwordHash?: string
  /** Keys of the same password for SCRAM-SHA-256, as of RFC 5803; absent where it was set before they were kept. */
  scram?: string
  banned?: boolean
  name?: string
  /** The account was removed: its id is kept, because whoever had it again could read the conversations that stay. */
  removedAt?: TimeMs
}

/** A persistent session (MQTT client id of a user). Sessions that end with their connection are never stored. */
export interface SessionRow {
  /** `{user}/{clientId}`: a client id belongs to its user. */
  session: string
  user: string
  clientId: string
  /** `since`: when the SUBSCRIBE came; absent in rows of earlier versions. `identifier`, `noLocal`: of MQTT 5. */
  subscriptions: Array<{ filter: string, qos: 0 | 1, since?: TimeMs, identifier?: number, noLocal?: true }>
  /** Packets sent and not acknowledged when the connection ended: sent again with DUP and the same packet id. `had`: see `SessionResume`. */
  inflight: Array<{ packetId: number, stream: string, seq: number, had?: readonly string[] }>
  /** What its last connection had published itself with No Local, as far as its cursors were behind that; absent when there was nothing. */
  own?: OwnRuns[]
  /** When it ends if nobody connects; absent while connected. */
  expiresAt?: TimeMs
  /** Seconds that it outlives its connection (4294967295 = for ever). */
  expirySeconds: number
  createdAt: TimeMs
  /** The present connection, or the last one. */
  connection?: ConnectionMark
  /** The server process that has, or had, that connection (`Nodes.self`); absent where one process alone has the store. */
  node?: string
}

/** Numbers of a conversation: each run from its first to its last one, both included. Objects, as not every database that speaks MongoDB's protocol keeps lists of lists. */
export interface OwnRuns { conv: string, runs: Array<{ first: number, last: number }> }

/** Where a session stands in a stream (a conversation id, `e:{user}`, or `o:{gid}`). */
export interface Cursor { seq: number, /** the highest number that was ever sent to the device */ sent: number }

/** Watermarks to move forward; a mark behind the stored one is ignored. Written without sync, merged, in one batch. */
export interface Marks {
  cursors: Array<{ session: string, stream: string, seq: number, sent: number }>
  members: Array<{ user: string, conv: string, readSeq?: number, deliveredSeq?: number }>
  /** The event log's delivered mark of a user. */
  events: Array<{ user: string, deliveredSeq: number }>
  /** How far the clients of connections have their answers; `proven` of `SessionRow.connection`, where `epoch` is still the same. */
  connections?: Array<ConnectionMark & { session: string }>
}

/** Which members of `Marks.members` really moved, with their rows after it. */
export type Moved = Array<{ user: string, conv: string, read: boolean, delivered: boolean, row: Member }>

export interface Page { after?: string, limit: number }

/** Progress of a long job: counts of rows (or bytes) so far. */
export type Progress = (done: number, total: number | undefined) => void

/** The server processes that share a store. */
export interface Nodes {
  /** What this process calls itself, anew at each start; undefined where one process alone has the store, and for who is no server. */
  readonly self: string | undefined
  /** Which of these are over for good: what they left may be taken up. Rejects when that cannot be told. */
  over (nodes: readonly string[]): Promise<string[]>
}

/** Key-value space for ordinary MQTT (retained messages, queues); keys are compared as UTF-8. */
export interface Records {
  get (key: string): Promise<Uint8Array | undefined>
  /** Puts a row where there is none; on disk when it resolves, to what the key has then: `value`, or what was there. Of several at once one puts its own. */
  create (key: string, value: Uint8Array): Promise<Uint8Array>
  /** Changes a row, or removes it (`null`), while it holds `from`; false: it does not, and is as it was. On disk when it resolves. */
  swap (key: string, from: Uint8Array, to: Uint8Array | null): Promise<boolean>
  /** Rows with `from <= key < to`, in order. */
  range (from: string, to: string, limit?: number): AsyncIterable<[string, Uint8Array]>
  /** On disk when `sync`. Atomic on the embedded store; on MongoDB rows are put before rows are removed, and a failure may leave some of them: more rows, never fewer. */
  write (ops: Array<{ key: string, value: Uint8Array | null }>, sync: boolean): Promise<void>
}
