/** The conversation list and unread numbers. Both are derived from the same rows with the same formula, so they cannot disagree. */
import type { Conversation, GroupRow, Member, Store, StoredMessage } from '../../store/store.ts'
import type { Page } from '../../operations/rules.ts'
import type { Caller } from '../host.ts'
import { Refusal } from '../../errors.ts'
import { envelopeText } from '../envelope.ts'
import type { Expiry } from './expiry.ts'
import { JsonText } from '../requests/json-text.ts'
import { peerOf } from './receipts.ts'
import { lastVisible, unreadOf } from './visible.ts'

/** Rows of one read, and the conversations that are looked at in one piece: no row outlives its piece. Most lists are a few pieces. */
const pageSize = 100
/** About this many bytes of messages in one answer. */
export const answerBytes = 512 * 1024
/** Conversations that are worth one more large request. */
const chargedSize = 5_000
/** Conversations whose last messages are read in one step: an answer is bounded, and what a step reads beyond it is thrown away. */
const firstStep = 50
const nextStep = 200

/** All conversations of the caller, by conversation id, in pieces; others have their turn between them. */
export async function * entriesOf (store: Store, caller: Caller): AsyncGenerator<Conversation[]> {
  let after: string | undefined
  let count = 0
  do {
    if (count > 0) await caller.pause?.()
    const page: Conversation[] = await store.conversations(caller.user, { limit: pageSize, ...(after === undefined ? {} : { after }) })
    count += pageSize
    if (count % chargedSize === 0) caller.owe?.(1)
    yield page
    after = page.length < pageSize ? undefined : page.at(-1)?.member.conv
  } while (after !== undefined)
}

/** What a list is made from. */
export interface Sources { store: Store, expiry: Expiry }
/** A conversation in the list. */
interface Listed extends Conversation { unread: number }

/** Unread per conversation (only those that have any) and their sum: `{"conversations":{conversation: number},"total":…}`. */
export async function unread ({ store, expiry }: Sources, caller: Caller, now: number): Promise<JsonText> {
  const answer = new JsonText('{"conversations":{')
  let total = 0
  let separator = ''
  for await (const page of entriesOf(store, caller)) {
    const expired = await expiry.unread(page, now)
    for (const [i, { member, head }] of page.entries()) {
      const count = unreadOf(member, head.n, expired[i] as number)
      if (count === 0) continue
      answer.add(`${separator}"${member.conv}":${count}`)
      separator = ','
      total += count
    }
  }
  return answer.add(`},"total":${total}}`)
}

/** Where an entry stands in the list. */
interface Place { pinned: boolean, ts: number, conv: string }

/** Pinned ones first, then the last activity, then the id: a total order, so that pages with ties neither repeat nor skip. */
function order (a: Conversation, b: Conversation): number {
  if (a.member.pinned !== b.member.pinned) return a.member.pinned ? -1 : 1
  if (a.head.ts !== b.head.ts) return b.head.ts - a.head.ts
  return a.member.conv < b.member.conv ? -1 : a.member.conv > b.member.conv ? 1 : 0
}

/** Whether the entry comes after the place in that order. */
function isAfter ({ member, head }: Conversation, place: Place): boolean {
  if (member.pinned !== place.pinned) return place.pinned
  if (head.ts !== place.ts) return head.ts < place.ts
  return member.conv > place.conv
}

const placeText = ({ member, head }: Conversation): string => `${member.pinned ? 1 : 0}.${head.ts}.${member.conv}`

function readPlace (text: string): Place {
  const match = /^([01])\.(\d{1,16})\.(.+)$/.exec(text)
  if (match === null) throw new Refusal('bad_payload', "after: is not a 'next' of an earlier answer")
  return { pinned: match[1] === '1', ts: Number(match[2]), conv: match[3] as string }
}

/**
 * One page of the list, and the unread total over all conversations: `{"conversations":[…],"unread":…,"next":…}`.
 * `after` is the `next` of the page before. A page is cut short when its last messages are more than `answerBytes`.
 */
export async function listConversations (sources: Sources, caller: Caller, now: number, page: Page): Promise<JsonText> {
  const start = page.after === undefined ? undefined : readPlace(page.after)
  const { shown, following, total } = await firstAfter(start, page.limit, sources, caller, now)
  const answer = new JsonText('{"conversations":[')
  const listed = await addItems(answer, shown, sources.store, caller, now)
  const last = shown[listed - 1]
  const next = last !== undefined && listed < following ? `,"next":${JSON.stringify(placeText(last))}` : ''
  return answer.add(`],"unread":${total}${next}}`)
}

/** The first `limit` conversations behind a place, how many there are behind it, and what is unread in all, on whichever side of it. */
async function firstAfter (start: Place | undefined, limit: number, { store, expiry }: Sources, caller: Caller, now: number): Promise<{ shown: Listed[], following: number, total: number }> {
  // The first ones of what was seen so far: sorting all of a long list would hold everybody up.
  const shown: Listed[] = []
  let following = 0
  let total = 0
  for await (const some of entriesOf(store, caller)) {
    const expired = await expiry.unread(some, now)
    const last = shown.length >= limit ? shown[limit - 1] : undefined
    for (const [i, entry] of some.entries()) {
      const count = unreadOf(entry.member, entry.head.n, expired[i] as number)
      total += count
      if (start !== undefined && !isAfter(entry, start)) continue
      following++
      // What comes behind a full page is no part of it: of a long list nearly everything.
      if (last !== undefined && order(last, entry) < 0) continue
      shown.push({ ...entry, unread: count })
    }
    shown.sort(order)
    if (shown.length > limit) shown.length = limit
  }
  return { shown, following, total }
}

/** Adds as many of the entries as an answer holds, with their last messages; resolves to how many. */
async function addItems (answer: JsonText, shown: readonly Listed[], store: Store, caller: Caller, now: number): Promise<number> {
  const [hidden, others] = await Promise.all([
    store.hiddenAt(caller.user, shown.map(({ member, head }) => ({ conv: member.conv, seq: head.seq }))),
    othersOf(store, shown)
  ])
  let listed = 0
  let bytes = 0
  while (listed < shown.length && bytes < answerBytes) {
    const from = listed
    const to = from + stepSize(from, bytes)
    if (listed > 0) await caller.pause?.()
    const messages = await lastVisible(store, shown.slice(from, to), hidden.slice(from, to), now)
    for (let i = 0; i < messages.length && bytes < answerBytes; i++) {
      const message = messages[i]
      const text = itemText(shown[listed] as Listed, message, others[listed])
      answer.add(listed === 0 ? text : `,${text}`)
      if (message !== undefined) bytes += Buffer.byteLength(message.content)
      listed++
    }
  }
  return listed
}

/** Large messages make small steps. */
function stepSize (done: number, bytes: number): number {
  if (done === 0) return firstStep
  const fitting = bytes === 0 ? nextStep : Math.ceil((answerBytes - bytes) / (bytes / done))
  return Math.min(nextStep, Math.max(firstStep, fitting))
}

/** The peers' rows of direct conversations, the groups of the others. */
async function othersOf (store: Store, entries: readonly Conversation[]): Promise<Array<Member | GroupRow | undefined>> {
  const others: Array<Member | GroupRow | undefined> = new Array(entries.length)
  const [direct, groups]: [number[], number[]] = [[], []]
  entries.forEach(({ member }, i) => { (isDirect(member.conv) ? direct : groups).push(i) })
  const memberOf = (i: number): Readonly<Member> => (entries[i] as Conversation).member
  const [peers, rows] = await Promise.all([
    direct.length === 0 ? [] : store.membersAt(direct.map(i => ({ user: peerOf(memberOf(i).conv, memberOf(i).user), conv: memberOf(i).conv }))),
    groups.length === 0 ? [] : store.groupsAt(groups.map(i => gidOf(memberOf(i).conv)))
  ])
  direct.forEach((i, at) => { others[i] = peers[at] })
  groups.forEach((i, at) => { others[i] = rows[at] })
  return others
}

const isDirect = (conv: string): boolean => conv.startsWith('d:')
const gidOf = (conv: string): string => conv.slice(2)

/**
 * An entry of the list as JSON text: `conv`, `kind`, who or what it is with (`with`; `gid`, `name`, `role`), `seq` and `ts` of the
 * last activity, `unread`, `readSeq`, `muted`, `pinned`, `last` (the envelope of the newest message that the user may see), and
 * of direct ones how far the other user read and received (`peerReadSeq`, `peerDeliveredSeq`). Ids need no escaping.
 */
function itemText ({ member, head, unread }: Listed, last: StoredMessage | undefined, other: Member | GroupRow | undefined): string {
  const { user, conv, readSeq, muted, pinned } = member
  const common = `"seq":${head.seq},"ts":${head.ts},"unread":${unread},"readSeq":${readSeq},"muted":${muted},"pinned":${pinned}` +
    (last === undefined ? '' : `,"last":${envelopeText(conv, last.seq, last.content)}`)
  if (isDirect(conv)) {
    const peer = other as Member | undefined
    return `{"conv":"${conv}","kind":"direct","with":"${peerOf(conv, user)}",${common},` +
      `"peerReadSeq":${peer?.readSeq ?? 0},"peerDeliveredSeq":${Math.max(peer?.deliveredSeq ?? 0, peer?.readSeq ?? 0)}}`
  }
  const gid = gidOf(conv)
  const name = JSON.stringify((other as GroupRow | undefined)?.name ?? gid)
  const role = member.role === undefined ? '' : `"role":"${member.role}",`
  return `{"conv":"${conv}","kind":"group","gid":"${gid}","name":${name},${role}${common}}`
}
