/** What a member may see of a conversation's log: not what came before joining, not what was cleared, hidden or has expired. */
import type { Conversation, Member, Store, StoredMessage } from '../../store/store.ts'

/** Rows looked at in one step when few of them may be wanted. */
const scanRows = 256
/** Rows of a further step, when some of the first ones were not visible. */
const nextRows = 50
/** Steps of one call, so that no call is endless. */
const maxSteps = 32
/** Newest messages looked at in all conversations at once, before each of the rest is searched by itself. */
const newestOfAll = 3
/** Conversations that are searched at the same time. */
const searches = 20

export interface Visible {
  /** Ascending. */
  messages: StoredMessage[]
  /** Numbers up to it (down to it, going back) were looked at, visible or not. */
  edge: number
  /** There is more beyond `edge`. */
  more: boolean
}

/** The number after which the member may see anything at all. */
export function floorOf (member: Readonly<Member>): number { return Math.max(member.joinedSeq, member.clearedSeq) }

/** Messages that the member did not read and that count; `headN` is the running number at the conversation's end, `expired` see expiry.ts. */
export function unreadOf (member: Readonly<Member>, headN: number, expired: number): number {
  return Math.max(0, headN - member.readN - member.hiddenUnread - expired)
}

export interface ForwardRange { after: number, limit: number, maxBytes: number, /** only messages of this sender */ from?: string }

/** From `after` on, at most `limit` messages and about `maxBytes` of content (at least one message). */
export async function visibleAfter (store: Store, member: Readonly<Member>, now: number, range: ForwardRange): Promise<Visible> {
  const { conv } = member
  const [head] = await store.heads([conv])
  const end = head?.seq ?? 0
  const messages: StoredMessage[] = []
  let edge = Math.max(range.after, floorOf(member))
  let bytes = 0
  for (let step = 0; step < maxSteps && edge < end; step++) {
    const limit = rowsOfStep(range, step, messages.length)
    const page = await store.messages(conv, { after: edge, before: end + 1, limit, maxBytes: Math.max(1, range.maxBytes - bytes) })
    if (page.length === 0) return { messages, edge: end, more: false }
    const hidden = await hiddenOf(store, member, page)
    for (const message of page) {
      const wanted = isVisible(message, hidden, now) && (range.from === undefined || message.from === range.from)
      if (wanted) {
        const size = Buffer.byteLength(message.content)
        if (messages.length > 0 && bytes + size > range.maxBytes) return { messages, edge, more: true }
        messages.push(message)
        bytes += size
      }
      edge = message.seq
      if (messages.length >= range.limit || bytes >= range.maxBytes) return { messages, edge, more: edge < end }
    }
  }
  return { messages, edge: Math.max(edge, range.after), more: edge < end }
}

function rowsOfStep (range: ForwardRange, step: number, found: number): number {
  if (range.from !== undefined) return scanRows
  return step === 0 ? range.limit : Math.max(nextRows, range.limit - found)
}

/** The newest before `before`, at most `limit` messages and about `maxBytes` of content (at least one message). */
export async function visibleBefore (store: Store, member: Readonly<Member>, now: number, range: { before: number, limit: number, maxBytes: number }): Promise<Visible> {
  const floor = floorOf(member)
  const newestFirst: StoredMessage[] = []
  let edge = range.before
  let bytes = 0
  const answer = (more: boolean): Visible => ({ messages: newestFirst.reverse(), edge, more })
  for (let step = 0; step < maxSteps; step++) {
    if (edge <= floor + 1) return answer(false)
    const page = await store.messages(member.conv, { after: floor, before: edge, limit: step === 0 ? Math.min(nextRows, range.limit) : nextRows, newest: true })
    if (page.length === 0) return answer(false)
    const hidden = await hiddenOf(store, member, page)
    for (const message of page.reverse()) {
      if (isVisible(message, hidden, now)) {
        const size = Buffer.byteLength(message.content)
        if (newestFirst.length > 0 && bytes + size > range.maxBytes) return answer(true)
        newestFirst.push(message)
        bytes += size
      }
      edge = message.seq
      if (newestFirst.length >= range.limit) return answer(edge > floor + 1)
    }
  }
  return answer(true)
}

/**
 * The newest message that the member may see of each conversation; all of one user. Most often it is the log's last one;
 * `lastHidden` tells where the user hid that.
 */
export async function lastVisible (store: Store, entries: readonly Conversation[], lastHidden: readonly boolean[], now: number): Promise<Array<StoredMessage | undefined>> {
  const found: Array<StoredMessage | undefined> = new Array(entries.length)
  let open = [...entries.keys()]
  for (let back = 0; back < newestOfAll; back++) {
    open = open.filter(i => {
      const { member, head } = entries[i] as Conversation
      return head.seq - back > floorOf(member)
    })
    if (open.length === 0) return found
    const at = open.map(i => {
      const { member, head } = entries[i] as Conversation
      return { conv: member.conv, seq: head.seq - back }
    })
    const { user } = (entries[0] as Conversation).member
    const [messages, hidden] = await Promise.all([store.messagesAt(at), back === 0 ? open.map(i => lastHidden[i]) : store.hiddenAt(user, at)])
    open = open.filter((i, j) => {
      const message = messages[j]
      // A log has no gaps: where a message is purged, all before it are.
      if (message === undefined) return false
      if (hidden[j] === true || isExpired(message, now)) return true
      found[i] = message
      return false
    })
  }
  for (let from = 0; from < open.length; from += searches) {
    await Promise.all(open.slice(from, from + searches).map(async i => {
      const { member, head } = entries[i] as Conversation
      const range = { before: head.seq - newestOfAll + 1, limit: 1, maxBytes: Infinity }
      found[i] = (await visibleBefore(store, member, now, range)).messages[0]
    }))
  }
  return found
}

/** Ascending messages of one conversation: those the member hid. */
async function hiddenOf (store: Store, member: Readonly<Member>, page: readonly StoredMessage[]): Promise<ReadonlySet<number>> {
  const first = page[0]
  const last = page.at(-1)
  if (first === undefined || last === undefined) return new Set()
  return new Set(await store.hidden(member.user, member.conv, first.seq - 1, last.seq))
}

function isVisible (message: StoredMessage, hidden: ReadonlySet<number>, now: number): boolean {
  return !hidden.has(message.seq) && !isExpired(message, now)
}

function isExpired ({ expiresAt }: StoredMessage, now: number): boolean { return expiresAt !== undefined && expiresAt <= now }
