/** The conversation list and unread numbers. Both are derived from the same rows with the same formula, so they cannot disagree. */
import type { Head, Member, Store, StoredMessage } from '../store/store.ts'
import { Refusal } from '../errors.ts'
import { envelope } from './envelope.ts'
import { peerOf } from './receipts.ts'
import { floorOf, unreadOf, visibleBefore } from './visible.ts'

const pageSize = 500
/** About this many bytes of messages in one answer. */
export const answerBytes = 512 * 1024

export interface Entry { member: Member, head: Head }

interface ListItem {
  conv: string
  kind: 'direct' | 'group'
  /** The other user of a direct conversation. */
  with?: string
  gid?: string
  name?: string
  role?: string
  /** The newest number in the conversation. */
  seq: number
  /** Time of the last activity, milliseconds since the epoch. */
  ts: number
  unread: number
  readSeq: number
  muted: boolean
  pinned: boolean
  /** The envelope of the newest message that the user may see. */
  last?: unknown
  /** Direct conversations: how far the other user read and received. */
  peerReadSeq?: number
  peerDeliveredSeq?: number
}

/** All conversations of a user, by conversation id, in pages. */
export async function * entriesOf (store: Store, user: string): AsyncGenerator<Entry[]> {
  let after: string | undefined
  do {
    const members: Member[] = await store.memberships(user, { limit: pageSize, ...(after === undefined ? {} : { after }) })
    const heads = await store.heads(members.map(member => member.conv))
    yield members.map((member, i) => ({ member, head: heads[i] ?? { seq: 0, n: 0, ts: 0 } }))
    after = members.length < pageSize ? undefined : members.at(-1)?.conv
  } while (after !== undefined)
}

/** Unread per conversation (only those that have any) and their sum. */
export async function unread (store: Store, user: string): Promise<{ total: number, conversations: Map<string, number> }> {
  const conversations = new Map<string, number>()
  let total = 0
  for await (const page of entriesOf(store, user)) {
    for (const { member, head } of page) {
      const count = unreadOf(member, head.n)
      if (count === 0) continue
      conversations.set(member.conv, count)
      total += count
    }
  }
  return { total, conversations }
}

/** Pinned ones first, then the last activity, then the id: a total order, so that pages with ties neither repeat nor skip. */
interface Place { pinned: boolean, ts: number, conv: string }

function compare (a: Place, b: Place): number {
  if (a.pinned !== b.pinned) return a.pinned ? -1 : 1
  if (a.ts !== b.ts) return b.ts - a.ts
  return a.conv < b.conv ? -1 : a.conv > b.conv ? 1 : 0
}

const placeOf = ({ member, head }: Entry): Place => ({ pinned: member.pinned, ts: head.ts, conv: member.conv })
const placeText = ({ pinned, ts, conv }: Place): string => `${pinned ? 1 : 0}.${ts}.${conv}`

function readPlace (text: string): Place {
  const match = /^([01])\.(\d{1,16})\.(.+)$/.exec(text)
  if (match === null) throw new Refusal('bad_payload', "after: is not a 'next' of an earlier answer")
  return { pinned: match[1] === '1', ts: Number(match[2]), conv: match[3] as string }
}

export interface Listing { conversations: ListItem[], unread: number, next?: string }

/** One page of the list, and the unread total over all conversations. `after` is the `next` of the page before. */
export async function listConversations (store: Store, user: string, now: number, page: { after?: string, limit: number }): Promise<Listing> {
  const start = page.after === undefined ? undefined : readPlace(page.after)
  const entries: Entry[] = []
  let total = 0
  for await (const some of entriesOf(store, user)) {
    for (const entry of some) {
      total += unreadOf(entry.member, entry.head.n)
      if (start === undefined || compare(placeOf(entry), start) > 0) entries.push(entry)
    }
  }
  entries.sort((a, b) => compare(placeOf(a), placeOf(b)))
  const shown = entries.slice(0, page.limit)
  const conversations: ListItem[] = []
  let bytes = 0
  let end: Entry | undefined
  // In small steps: the last messages of a page may be large, and the answer is bounded.
  for (let at = 0; at < shown.length && bytes < answerBytes; at += 20) {
    const step = shown.slice(at, at + 20)
    const last = await lastVisible(store, step, now)
    const items = await Promise.all(step.map((entry, i) => item(store, entry, last[i])))
    conversations.push(...items)
    for (const message of last) bytes += message === undefined ? 0 : message.content.length
    end = step.at(-1)
  }
  const more = conversations.length < entries.length && end !== undefined
  return { conversations, unread: total, ...(more ? { next: placeText(placeOf(end as Entry)) } : {}) }
}

/** The newest message that the member may see: most often the conversation's last, which is fetched for all at once. */
async function lastVisible (store: Store, entries: readonly Entry[], now: number): Promise<Array<StoredMessage | undefined>> {
  const newest = await store.messagesAt(entries.map(({ member, head }) => ({ conv: member.conv, seq: head.seq })))
  return await Promise.all(entries.map(async ({ member, head }, i) => {
    if (head.seq <= floorOf(member)) return undefined
    const message = newest[i]
    const expired = message?.expiresAt !== undefined && message.expiresAt <= now
    if (message !== undefined && !expired && (await store.hidden(member.user, member.conv, head.seq - 1, head.seq)).length === 0) return message
    return (await visibleBefore(store, member, now, { before: head.seq, limit: 1, maxBytes: answerBytes })).messages[0]
  }))
}

async function item (store: Store, { member, head }: Entry, last: StoredMessage | undefined): Promise<ListItem> {
  const { user, conv, readSeq, muted, pinned } = member
  const common = {
    seq: head.seq,
    ts: head.ts,
    unread: unreadOf(member, head.n),
    readSeq,
    muted,
    pinned,
    ...(last === undefined ? {} : { last: envelopeOf(conv, last) })
  }
  if (conv.startsWith('d:')) {
    const peer = peerOf(conv, user)
    const row = await store.member(peer, conv)
    return { conv, kind: 'direct', with: peer, ...common, peerReadSeq: row?.readSeq ?? 0, peerDeliveredSeq: row?.deliveredSeq ?? 0 }
  }
  const gid = conv.slice(2)
  const group = await store.group(gid)
  return { conv, kind: 'group', gid, name: group?.name ?? gid, ...(member.role === undefined ? {} : { role: member.role }), ...common }
}

/** A stored message as the receivers' envelope. */
export function envelopeOf (conv: string, message: StoredMessage): unknown {
  return JSON.parse(envelope(conv, message.seq, message.content).toString())
}
