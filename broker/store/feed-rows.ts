/** Rows of the feed, as both stores keep them, and how entries are made of them. */
import type { FeedEntry, FeedGap, FeedPage } from './feed.ts'
import type { StoredMessage, TimeMs } from './store.ts'

/** `count` messages of a conversation, from number `seq` on. */
export interface FeedItem { conv: string, seq: number, count: number }

/** One commit: positions `first` to `first + count - 1`. `ts`: the newest time of its messages. */
export interface FeedRow { first: number, ts: TimeMs, count: number, items: FeedItem[] }

/** A message in the feed. */
export interface FeedRef { position: number, conv: string, seq: number }

/** Messages that are looked up at once. */
const stepRefs = 64

export function lastOf ({ first, count }: FeedRow): number { return first + count - 1 }

/** The row of messages that one commit stored, in the order of each conversation; `undefined` when there are none. */
export function feedRow (first: number, messages: ReadonlyArray<{ conv: string, seq: number, ts: TimeMs }>): FeedRow | undefined {
  if (messages.length === 0) return undefined
  const items = new Map<string, FeedItem>()
  const all: FeedItem[] = []
  let ts = 0
  for (const { conv, seq, ts: time } of messages) {
    if (time > ts) ts = time
    const item = items.get(conv)
    if (item !== undefined && item.seq + item.count === seq) {
      item.count++
      continue
    }
    const next = { conv, seq, count: 1 }
    items.set(conv, next)
    all.push(next)
  }
  return { first, ts, count: messages.length, items: all }
}

/**
 * The places behind `after`, up to `limit`, of rows in their order. Where rows are missing there is a gap; `isWhole`: no further row
 * follows these, so that what lacks up to `end` is missing too.
 */
export function feedRefs (rows: readonly FeedRow[], after: number, limit: number, end: number, isWhole: boolean): Array<FeedRef | FeedGap> {
  const found: Array<FeedRef | FeedGap> = []
  let next = after + 1
  const skip = (to: number): void => {
    if (next > to) return
    found.push({ kind: 'gap', position: to, count: to - next + 1, reason: 'missing' })
    next = to + 1
  }
  for (const row of rows) {
    if (found.length >= limit) return found
    if (lastOf(row) < next) continue
    skip(row.first - 1)
    let position = row.first
    for (const { conv, seq, count } of row.items) {
      for (let i = Math.max(0, next - position); i < count && found.length < limit; i++) found.push({ position: position + i, conv, seq: seq + i })
      position += count
    }
    next = lastOf(row) + 1
  }
  if (isWhole && found.length < limit) skip(end)
  return found
}

/** Entries of places, as many as the page takes. `messagesAt`: what the log holds; `undefined` for what was purged. */
export async function feedEntries (
  refs: ReadonlyArray<FeedRef | FeedGap>, { maxBytes }: Pick<FeedPage, 'maxBytes'>,
  messagesAt: (refs: readonly FeedRef[]) => Promise<Array<StoredMessage | undefined>>
): Promise<FeedEntry[]> {
  const entries: FeedEntry[] = []
  let bytes = 0
  for (let at = 0; at < refs.length; at += stepRefs) {
    const step = refs.slice(at, at + stepRefs)
    const wanted = step.filter((ref): ref is FeedRef => !('kind' in ref))
    const messages = await messagesAt(wanted)
    let next = 0
    for (const ref of step) {
      if ('kind' in ref) {
        entries.push(ref)
        continue
      }
      const { position, conv } = ref
      const message = messages[next++]
      if (message === undefined) {
        addPurged(entries, ref)
        continue
      }
      bytes += Buffer.byteLength(message.content)
      if (bytes > maxBytes && entries.length > 0) return entries
      entries.push({ kind: 'message', position, conv, message })
    }
  }
  return entries
}

function addPurged (entries: FeedEntry[], { position, conv, seq }: FeedRef): void {
  const last = entries.at(-1)
  if (last?.kind === 'gap' && last.conv === conv && (last.seq as number) + last.count === seq) {
    last.position = position
    last.count++
  } else {
    entries.push({ kind: 'gap', position, count: 1, reason: 'purged', conv, seq })
  }
}
