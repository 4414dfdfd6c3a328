/**
 * Keys of the embedded store. The parts of a key are joined by U+0000: MQTT forbids it in topics and client ids
 * [MQTT-1.5.3-2], the ids of users, groups and conversations cannot hold it, and it sorts below everything else, so
 * `a` comes before `a-b` and the rows of one conversation lie together. LevelDB compares keys as bytes of UTF-8.
 *
 * | Key | Row |
 * |---|---|
 * | `l segment conv seq` | messages up to this number; see runs.ts and segments.ts |
 * | `j conv seq` | the segment in which the messages of a conversation lie from this number on |
 * | `h conv` | the head of a conversation |
 * | `c conv from cid` | the idempotency key of a message |
 * | `d session packetId` | the last publishes without `cid` of packet ids up to this one; see resend-runs.ts |
 * | `i session packetId` | the same of one packet id, in stores of before format 4 |
 * | `z conv seq` | when a message that counts expires |
 * | `t ts conv` | the oldest message of a conversation, for the purge |
 * | `m user conv` | a member |
 * | `x user conv seq`, `y conv seq user` | a message that a user hid, from both sides |
 * | `g gid`, `n gid`, `r gid user` | a group, its size, its members |
 * | `u uid`, `b uid other` | an account, a block |
 * | `f user`, `e user seq`, `s user slot` | a user's event log: head, events, the event of a slot |
 * | `p session`, `k session stream` | a session, a cursor |
 * | `q key` | a record of ordinary MQTT |
 * | `w first`, `o name` | the feed: what a commit stored, by its first position; a reader |
 * | `v format` | the format version |
 * | `v newest` | the newest time of a message or event |
 * | `v migration` | how far a migration into this store has come; only while it runs |
 */

const sep = '\x00'
/** One above the separator: the end of the range of keys that start with a prefix and the separator. */
const end = '\x01'
const digits = '0123456789abcdef'

/** A number (an integer from 0) as text that sorts as numbers do: its length in base 36, then its digits. */
export function sortable (n: number): string {
  const text = n.toString(36)
  return digits[text.length] + text
}

/** The number of which `sortable` made the text. */
export function sorted (text: string): number { return parseInt(text.slice(1), 36) }

/** The number in the last part of a key. */
export function lastNumber (key: string): number { return sorted(lastPart(key)) }

/** The last part of a key; right for parts that hold no U+0000. */
export function lastPart (key: string): string { return key.slice(key.lastIndexOf(sep) + 1) }
/** All parts of a key. */
export function parts (key: string): string[] { return key.split(sep) }

/** A range of keys, both ends outside. */
export interface Range { gt: string, lt: string }

/** All keys that start with the given parts, after `after` when given. */
export function under (start: string, after?: string): Range {
  return { gt: after === undefined ? start + sep : start + sep + after, lt: start + end }
}

export const key = {
  message: (segment: number, conv: string, seq: number) => 'l' + sep + sortable(segment) + sep + conv + sep + sortable(seq),
  messages: () => 'l',
  messagesIn: (segment: number) => 'l' + sep + sortable(segment),
  messageRows: (segment: number, conv: string) => 'l' + sep + sortable(segment) + sep + conv,
  segment: (conv: string, first: number) => 'j' + sep + conv + sep + sortable(first),
  segments: (conv: string) => 'j' + sep + conv,
  head: (conv: string) => 'h' + sep + conv,
  heads: () => 'h',
  cid: (conv: string, from: string, cid: string) => 'c' + sep + conv + sep + from + sep + cid,
  resend: (session: string, packetId: number) => 'i' + sep + session + sep + packetId,
  resends: (session: string, packetId: number) => 'd' + sep + session + sep + sortable(packetId),
  resendsOf: (session: string) => 'd' + sep + session,
  allResends: () => 'd',
  oldResends: () => 'i',
  oldest: (ts: number, conv: string) => 't' + sep + sortable(ts) + sep + conv,
  oldestBefore: (ts: number): Range => ({ gt: 't' + sep, lt: 't' + sep + sortable(ts) + sep }),
  expiring: (conv: string, seq: number) => 'z' + sep + conv + sep + sortable(seq),
  expirings: (conv: string) => 'z' + sep + conv,
  member: (user: string, conv: string) => 'm' + sep + user + sep + conv,
  memberships: (user: string) => 'm' + sep + user,
  hidden: (user: string, conv: string, seq: number) => 'x' + sep + user + sep + conv + sep + sortable(seq),
  hiddenOfUser: (user: string) => 'x' + sep + user,
  hiddenOf: (user: string, conv: string) => 'x' + sep + user + sep + conv,
  hider: (conv: string, seq: number, user: string) => 'y' + sep + conv + sep + sortable(seq) + sep + user,
  hiders: (conv: string) => 'y' + sep + conv,
  group: (gid: string) => 'g' + sep + gid,
  groups: () => 'g',
  groupSize: (gid: string) => 'n' + sep + gid,
  groupMember: (gid: string, user: string) => 'r' + sep + gid + sep + user,
  groupMembers: (gid: string) => 'r' + sep + gid,
  user: (uid: string) => 'u' + sep + uid,
  users: () => 'u',
  block: (uid: string, other: string) => 'b' + sep + uid + sep + other,
  blocks: (uid: string) => 'b' + sep + uid,
  eventHead: (user: string) => 'f' + sep + user,
  event: (user: string, seq: number) => 'e' + sep + user + sep + sortable(seq),
  events: (user: string) => 'e' + sep + user,
  slot: (user: string, slot: string) => 's' + sep + user + sep + slot,
  session: (session: string) => 'p' + sep + session,
  sessions: () => 'p',
  proven: (session: string) => 'v' + sep + session,
  cursor: (session: string, stream: string) => 'k' + sep + session + sep + stream,
  cursors: (session: string) => 'k' + sep + session,
  feedRow: (first: number) => 'w' + sep + sortable(first),
  feed: () => 'w',
  feedReader: (name: string) => 'o' + sep + name,
  feedReaders: () => 'o',
  record: (name: string) => 'q' + sep + name,
  newest: () => 'v' + sep + 'newest',
  format: () => 'v' + sep + 'format',
  migration: () => 'v' + sep + 'migration'
}
