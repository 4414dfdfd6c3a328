/** Rows of the embedded store as text. Short rows that the commit path writes are numbers between spaces, the others JSON. */
import type { ConnectionMark, Cursor, GroupMember, Head, Member, NewMessage, Role, StoredMessage } from '../store.ts'

/**
 * The head of a conversation with the mark of the purge: everything up to `purgedSeq` is gone. Its newest messages lie in
 * `segment`, from number `segmentFirst` on. `expiring`: the last message that counts and expires, 0 when there was none.
 */
export interface HeadRow { seq: number, n: number, ts: number, purgedSeq: number, purgedN: number, segment: number, segmentFirst: number, expiring: number }
/** What an idempotency key points at. */
export interface CidRow { seq: number, n: number, ts: number, id: string }
/** The last publish of a packet id of a session. It answers repeats by itself, also when the message was purged. */
export interface ResendRow extends CidRow { conv: string, digest: string, /** its connection, and the number in it; rows of earlier versions have none */ epoch?: string, number?: number }
/** The head of a user's event log. */
export interface EventHeadRow { seq: number, deliveredSeq: number }
/** A message with the idempotency key that the purge has to remove with it. */
export interface MessageRow extends StoredMessage { cid?: string }

export interface Codec<T> { encode (row: T): string, decode (text: string, key: string): T }

function numbers (text: string): number[] { return text.split(' ').map(Number) }

export const headCodec: Codec<HeadRow> = {
  encode: row => `${row.seq} ${row.n} ${row.ts} ${row.purgedSeq} ${row.purgedN} ${row.segment} ${row.segmentFirst}` +
    (row.expiring === 0 ? '' : ` ${row.expiring}`),
  decode: text => {
    const [seq = 0, n = 0, ts = 0, purgedSeq = 0, purgedN = 0, segment = 0, segmentFirst = 0, expiring = 0] = numbers(text)
    return { seq, n, ts, purgedSeq, purgedN, segment, segmentFirst, expiring }
  }
}

export const cidCodec: Codec<CidRow> = {
  encode: row => `${row.seq} ${row.n} ${row.ts} ${row.id}`,
  decode: text => {
    const [seq, n, ts] = text.split(' ', 3) as [string, string, string]
    return { seq: Number(seq), n: Number(n), ts: Number(ts), id: text.slice(seq.length + n.length + ts.length + 3) }
  }
}

export const resendCodec: Codec<ResendRow> = {
  encode: row => `${row.epoch === undefined ? '' : `@${row.epoch} ${row.number} `}${row.conv} ${row.digest.length} ${row.digest}${cidCodec.encode(row)}`,
  decode: (text, key) => {
    if (text.startsWith('@')) {
      const [epoch, number] = text.split(' ', 2) as [string, string]
      return { ...resendCodec.decode(text.slice(epoch.length + number.length + 2), key), epoch: epoch.slice(1), number: Number(number) }
    }
    const [conv, length] = text.split(' ', 2) as [string, string]
    const start = conv.length + length.length + 2
    const middle = start + Number(length)
    return { ...cidCodec.decode(text.slice(middle), key), conv, digest: text.slice(start, middle) }
  }
}

/** How far the client of a session's connection is known to have its answers. */
export const provenCodec: Codec<ConnectionMark> = {
  encode: row => `${row.proven} ${row.epoch}`,
  decode: text => {
    const [proven = '', epoch = ''] = text.split(' ')
    return { epoch, proven: Number(proven) }
  }
}

/** `user` and `conv` stand in the key: `m user conv`. */
export const memberCodec: Codec<Member> = {
  encode: row => `${row.joinedSeq} ${row.clearedSeq} ${row.readSeq} ${row.readN} ${row.deliveredSeq} ${row.hiddenUnread} ` +
    `${(row.muted ? 1 : 0) + (row.pinned ? 2 : 0) + (row.posted === true ? 4 : 0)} ${row.role ?? '-'} ${row.mutedUntil ?? '-'}`,
  decode: (text, key) => {
    const [, user = '', conv = ''] = key.split('\x00')
    const field = text.split(' ')
    const flags = Number(field[6])
    return {
      user,
      conv,
      joinedSeq: Number(field[0]),
      clearedSeq: Number(field[1]),
      readSeq: Number(field[2]),
      readN: Number(field[3]),
      deliveredSeq: Number(field[4]),
      hiddenUnread: Number(field[5]),
      muted: (flags & 1) !== 0,
      pinned: (flags & 2) !== 0,
      ...((flags & 4) === 0 ? {} : { posted: true }),
      ...(field[7] === '-' ? {} : { role: field[7] as Role }),
      ...(field[8] === '-' ? {} : { mutedUntil: Number(field[8]) })
    }
  }
}

/** `user` stands in the key: `r gid user`. */
export const groupMemberCodec: Codec<GroupMember> = {
  encode: row => row.mutedUntil === undefined ? row.role : `${row.role} ${row.mutedUntil}`,
  decode: (text, key) => {
    const [role, mutedUntil] = text.split(' ')
    const user = key.slice(key.lastIndexOf('\x00') + 1)
    return { user, role: role as Role, ...(mutedUntil === undefined ? {} : { mutedUntil: Number(mutedUntil) }) }
  }
}

export const eventHeadCodec: Codec<EventHeadRow> = {
  encode: row => `${row.seq} ${row.deliveredSeq}`,
  decode: text => {
    const [seq = 0, deliveredSeq = 0] = numbers(text)
    return { seq, deliveredSeq }
  }
}

export const cursorCodec: Codec<Cursor> = {
  encode: row => `${row.seq} ${row.sent}`,
  decode: text => {
    const [seq = 0, sent = 0] = numbers(text)
    return { seq, sent }
  }
}

export const countCodec: Codec<{ count: number }> = {
  encode: row => String(row.count),
  decode: text => ({ count: Number(text) })
}

/** A message: numbers and the lengths of the texts, `|`, the texts. */
export function encodeMessage (op: NewMessage, n: number): string { return encodeHead(op, n) + op.content }

/** What stands in front of the content in a message's text. */
export function encodeHead (op: NewMessage, n: number): string {
  const { id, from, cid } = op
  const start = `${n}${numbersOf(op)}${id}${from}`
  return cid === undefined ? start : start + cid
}

/** The numbers behind `n`: the same for most messages of a burst. */
function numbersOf ({ counts, ts, expiresAt, id, from, cid }: NewMessage): string {
  const cidLength = cid === undefined ? -1 : cid.length
  if (ts !== last.ts || from.length !== last.from || id.length !== last.id || cidLength !== last.cid || counts !== last.counts || expiresAt !== last.expiresAt) {
    const text = ` ${counts ? 1 : 0} ${ts} ${expiresAt ?? '-'} ${id.length} ${from.length} ${cid === undefined ? '-' : cidLength}|`
    last = { ts, counts, expiresAt, id: id.length, from: from.length, cid: cidLength, text }
  }
  return last.text
}

let last: { ts: number, counts: boolean, expiresAt: number | undefined, id: number, from: number, cid: number, text: string } =
  { ts: NaN, counts: false, expiresAt: undefined, id: 0, from: 0, cid: -1, text: '' }

export function decodeMessage (text: string, seq: number): MessageRow {
  const bar = text.indexOf('|')
  const field = text.slice(0, bar).split(' ')
  const row: MessageRow = decodeFields(text, seq, bar, field)
  if (field[6] === '-') return row
  const cidAt = bar + 1 + Number(field[4]) + Number(field[5])
  row.cid = text.slice(cidAt, cidAt + Number(field[6]))
  return row
}

/** The same without the part that the contract does not show. */
export function decodeStored (text: string, seq: number): StoredMessage {
  const bar = text.indexOf('|')
  return decodeFields(text, seq, bar, text.slice(0, bar).split(' '))
}

function decodeFields (text: string, seq: number, bar: number, field: string[]): StoredMessage {
  const fromAt = bar + 1 + Number(field[4])
  const cidAt = fromAt + Number(field[5])
  // One shape for nearly all: readers of thousands of rows stay fast.
  const row: StoredMessage = {
    seq,
    n: Number(field[0]),
    counts: field[1] === '1',
    id: text.slice(bar + 1, fromAt),
    from: text.slice(fromAt, cidAt),
    ts: Number(field[2]),
    content: text.slice(field[6] === '-' ? cidAt : cidAt + Number(field[6]))
  }
  if (field[3] !== '-') row.expiresAt = Number(field[3])
  return row
}

/** An event: `ts|content`. */
export function encodeEvent (ts: number, content: string): string { return `${ts}|${content}` }
export function decodeEvent (text: string): { ts: number, content: string } {
  const bar = text.indexOf('|')
  return { ts: Number(text.slice(0, bar)), content: text.slice(bar + 1) }
}

/** The end of a log as the contract shows it. */
export function shownHead ({ seq, n, ts, expiring }: HeadRow): Head { return expiring === 0 ? { seq, n, ts } : { seq, n, ts, expiring } }
