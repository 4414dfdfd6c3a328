/**
 * The documents and their ids. The parts of an id are joined by a space: ids of users, groups and conversations hold none.
 * Ids that decide where a document lies in a sharded database start with three digits of a hash, so that neither new
 * conversations nor busy neighbours gather at one place. `docs/mongodb.md` describes every collection.
 */
import type { Binary } from 'mongodb'
import type { GroupRow, Head, Member, NewMessage, Role, SessionRow, StoredMessage, UserRow } from '../store.ts'

/** A message. Its insert is the commit point. */
export interface MessageDoc {
  /** `place(conv)` */
  c: string
  /** The number in the conversation. */
  s: number
  n: number
  /** The sender. */
  f: string
  /** `c` and the sender's cid, or `i` and the server's id: unique for (c, f). */
  k: string
  id: string
  ts: number
  /** The envelope's members. */
  p: string
  /** Set when it does not count for unread. */
  x?: 1
  /** Set when the sender's own marks moved to it. */
  o?: 1
  /** When it expires. */
  e?: number
  /** Of those that count and expire: the conversation and the number, see `expiringKey`. */
  ec?: string
  /** Packet id and session of a sender without cid, and the digest of what it sent. */
  q?: string
  g?: string
  /** The connection that it came on, and which of its publishes it was. */
  qe?: string
  qn?: number
}

/** Head of a conversation, in `conversations`: derived from the messages, and repaired from them. */
export interface HeadDoc {
  /** `place(conv)` */
  _id: string
  s: number
  n: number
  ts: number
  /** Messages up to it are purged, with the `n` there. */
  ps: number
  pn: number
  /** The last message that counts and expires. */
  e?: number
  /** Time of the oldest message that is left, for the purge; 0 while purged ones have not been removed. Absent: none left. */
  o?: number
}

/** A member's row, in `conversations` too: what one batch derives is one command. */
export interface MemberDoc {
  /** `place(user) conv` */
  _id: string
  u: string
  /** The conversation id as it is. */
  c: string
  /** joinedSeq, clearedSeq, readSeq, readN, deliveredSeq, hiddenUnread */
  j: number
  cl: number
  r: number
  rn: number
  d: number
  h: number
  /** Set before messages are hidden: `h` may be behind, and is counted when the row is read for the first time. */
  x?: 1
  muted?: boolean
  pinned?: boolean
  /** The user has sent a message here. */
  w?: 1
  role?: Role
  mutedUntil?: number
}
export type RowDoc = HeadDoc | MemberDoc

export interface HiddenDoc { _id: string, u: string, c: string, s: number, /** counts for unread */ n: 0 | 1 }
export interface GroupDoc { _id: string, name: string, owner: string, createdAt: number, /** JSON text: keys are the users' */ meta?: string }
export interface UserDoc extends Omit<UserRow, 'uid'> { _id: string }
export interface BlockDoc { _id: string, u: string, b: string }
/** A user's event; `_id` is `user slot` or `user` and the number, so that a newer event of a slot takes the older one's place. */
export interface EventDoc { _id: string, u: string, s: number, ts: number, p: string, /** how far what it tells of is */ m?: number }
export interface EventHeadDoc { _id: string, s: number, d: number }
export interface SessionDoc extends Omit<SessionRow, 'session'> { _id: string }
export interface CursorDoc { /** `stream session` */ _id: string, p: string, s: number, t: number }
/** The memory of a packet id whose message was purged, or was repeated on a later connection. */
export interface ResendDoc { _id: string, c: string, s: number, n: number, id: string, ts: number, g: string, qe?: string, qn?: number }
/** A server process: its name over all starts, and how often it has renewed this row. */
export interface NodeDoc { _id: string, name: string, n: number }
export interface RecordDoc { _id: string, v: Binary }
/** What a commit put into the feed: `_id` its first position, `t` time, `n` how many, `m` of each conversation the first number and how many. */
export interface FeedRowDoc { _id: number, t: number, n: number, m: Array<{ c: string, s: number, n: number }> }
export interface FeedReaderDoc { _id: string, /** position */ p: number, at: number }
export interface MetaDoc {
  _id: string
  version?: number
  /** Of a migration: JSON of where it stopped. */
  checkpoint?: string
  /** Of `feed`: the last position, the last rows, and what each commit replaces. */
  last?: number
  rows?: FeedRowDoc[]
  mark?: string
}

const seqDigits = 16
/** `place(conv)` and the number, which sorts as numbers do: a sparse index holds every document that has one of its fields, so it has one. */
export function expiringKey (c: string, seq: number): string { return `${c} ${String(seq).padStart(seqDigits, '0')}` }

/** The end of a log as the contract shows it. */
export function shownHead ({ seq, n, ts, expiring }: HeadRow): Head { return expiring === 0 ? { seq, n, ts } : { seq, n, ts, expiring } }

/** Three digits of a hash (FNV-1a), a dot, and the id. */
export function place (id: string): string {
  let hash = 0x811c9dc5
  for (let i = 0; i < id.length; i++) hash = Math.imul(hash ^ id.charCodeAt(i), 0x01000193)
  return (hash >>> 20).toString(16).padStart(3, '0') + '.' + id
}
/** The id that `place` was given. */
export function placed (text: string): string { return text.slice(4) }

export function memberKey (user: string, conv: string): string { return `${place(user)} ${conv}` }
export function hiddenKey (user: string, conv: string, seq: number): string { return `${place(user)} ${conv} ${seq}` }
export function cursorKey (session: string, stream: string): string { return `${stream} ${session}` }
export function blockKey (uid: string, other: string): string { return `${uid} ${other}` }
export function resendKey (resend: { session: string, packetId: number }): string { return `${resend.packetId} ${resend.session}` }

/** What a conversation's head is in memory. */
export interface HeadRow { seq: number, n: number, ts: number, purgedSeq: number, purgedN: number, oldest: number | undefined, expiring: number }

export function headRow (doc: HeadDoc): HeadRow {
  return { seq: doc.s, n: doc.n, ts: doc.ts, purgedSeq: doc.ps, purgedN: doc.pn, oldest: doc.o, expiring: doc.e ?? 0 }
}
export function emptyHead (): HeadRow { return { seq: 0, n: 0, ts: 0, purgedSeq: 0, purgedN: 0, oldest: undefined, expiring: 0 } }

export function memberRow (doc: MemberDoc): Member {
  return {
    user: doc.u,
    conv: doc.c,
    joinedSeq: doc.j,
    clearedSeq: doc.cl,
    readSeq: doc.r,
    readN: doc.rn,
    deliveredSeq: doc.d,
    hiddenUnread: doc.h,
    muted: doc.muted === true,
    pinned: doc.pinned === true,
    ...(doc.w === undefined ? {} : { posted: true }),
    ...(doc.role === undefined ? {} : { role: doc.role }),
    ...(doc.mutedUntil === undefined ? {} : { mutedUntil: doc.mutedUntil })
  }
}

export function memberDoc (row: Member): MemberDoc {
  return {
    _id: memberKey(row.user, row.conv),
    u: row.user,
    c: row.conv,
    j: row.joinedSeq,
    cl: row.clearedSeq,
    r: row.readSeq,
    rn: row.readN,
    d: row.deliveredSeq,
    h: row.hiddenUnread,
    ...(row.muted ? { muted: true } : {}),
    ...(row.pinned ? { pinned: true } : {}),
    ...(row.posted === true ? { w: 1 } : {}),
    ...(row.role === undefined ? {} : { role: row.role }),
    ...(row.mutedUntil === undefined ? {} : { mutedUntil: row.mutedUntil })
  }
}

export function newMember (user: string, conv: string): Member {
  return { user, conv, joinedSeq: 0, clearedSeq: 0, readSeq: 0, readN: 0, deliveredSeq: 0, hiddenUnread: 0, muted: false, pinned: false }
}

/**
 * A row as the contract shows it. The purge does not write the rows of members: a message that was purged is not unread,
 * so the marks of a row are at least the mark of the purge.
 */
export function shown (row: Member, head: HeadRow | null): Member {
  if (head === null || row.readSeq >= head.purgedSeq) return { ...row }
  return { ...row, readSeq: head.purgedSeq, readN: head.purgedN }
}

/** The sender's own marks after its message: sending marks one's own conversation read. */
export function markSender (row: Member, seq: number, n: number): void {
  row.posted = true
  if (row.readSeq >= seq) return
  // A gap stays: what came before may not have reached any device of the sender yet.
  if (row.deliveredSeq === seq - 1) row.deliveredSeq = seq
  row.readSeq = seq
  row.readN = n
  row.hiddenUnread = 0
}

export function messageDoc (op: NewMessage, key: string, at: { seq: number, n: number }): MessageDoc {
  return {
    c: place(op.conv),
    s: at.seq,
    n: at.n,
    f: op.from,
    k: key,
    id: op.id,
    ts: op.ts,
    p: op.content,
    ...(op.counts ? {} : { x: 1 }),
    ...(op.marksSender ? { o: 1 } : {}),
    ...(op.expiresAt === undefined ? {} : { e: op.expiresAt }),
    ...(op.expiresAt === undefined || !op.counts ? {} : { ec: expiringKey(place(op.conv), at.seq) }),
    ...(op.cid !== undefined || op.resend === undefined ? {} : { q: resendKey(op.resend), g: op.resend.digest, qe: op.resend.epoch, qn: op.resend.number })
  }
}

export function storedMessage (doc: MessageDoc): StoredMessage {
  return {
    seq: doc.s,
    n: doc.n,
    counts: doc.x === undefined,
    id: doc.id,
    from: doc.f,
    ts: doc.ts,
    content: doc.p,
    ...(doc.e === undefined ? {} : { expiresAt: doc.e })
  }
}

export function groupRow (doc: GroupDoc): GroupRow {
  const { _id, name, owner, createdAt, meta } = doc
  return { gid: _id, name, owner, createdAt, ...(meta === undefined ? {} : { meta: JSON.parse(meta) as Record<string, unknown> }) }
}

export function groupDoc ({ gid, name, owner, createdAt, meta }: GroupRow): GroupDoc {
  return { _id: gid, name, owner, createdAt, ...(meta === undefined ? {} : { meta: JSON.stringify(meta) }) }
}
