/** Rows that say what other rows say too, made again of those when they are damaged or gone. */
import type { EventHeadRow, HeadRow, MessageRow } from './codec.ts'
import type { Database } from './database.ts'
import { key, lastNumber, lastPart, parts, sorted, under } from './keys.ts'
import { decodeRun } from './runs.ts'

/**
 * The head of a conversation, of its messages; `null` when it has none. What was purged is what comes before the first one. A
 * conversation whose last messages are damaged as well goes on behind the highest number that a row or a segment names.
 */
export async function rebuildHead (db: Database, name: string): Promise<HeadRow | null> {
  const conv = lastPart(name)
  let head: HeadRow | undefined
  const newest = await db.last(under(key.messages()))
  const segments = new Map((await db.rows(under(key.segments(conv)))).map(([row, segment]) => [Number(segment), lastNumber(row)]))
  if (segments.size === 0) return null
  for (let segment = newest === undefined ? 0 : sorted(parts(newest[0])[1] as string); segment > 0; segment--) {
    for await (const rows of db.scan(under(key.messageRows(segment, conv)))) {
      for (const [row, text] of rows) {
        for (const message of decodeRun(text, lastNumber(row))) head = withMessage(head, message, segment, segments.get(segment))
      }
    }
  }
  if (head === undefined) return null
  // Rows of the newest segment may be gone too: their numbers are not given again.
  const [segment, first] = [...segments].reduce((one, other) => other[1] > one[1] ? other : one)
  if (first > head.seq) Object.assign(head, { seq: first, segment, segmentFirst: first })
  return head
}

/** The head of the messages seen so far, newest segment first, and one more. */
function withMessage (head: HeadRow | undefined, message: MessageRow, segment: number, segmentFirst: number | undefined): HeadRow {
  const { seq, n, ts, counts, expiresAt } = message
  if (head === undefined) head = { seq, n, ts, purgedSeq: seq - 1, purgedN: counts ? n - 1 : n, segment, segmentFirst: segmentFirst ?? seq, expiring: 0 }
  else if (seq > head.seq) Object.assign(head, { seq, n, ts })
  else if (seq <= head.purgedSeq) Object.assign(head, { purgedSeq: seq - 1, purgedN: counts ? n - 1 : n })
  if (counts && expiresAt !== undefined && seq > head.expiring) head.expiring = seq
  return head
}

/** The head of a user's event log. Nothing counts as delivered: a device may get events again. */
export async function rebuildEventHead (db: Database, name: string): Promise<EventHeadRow | null> {
  const last = await db.last(under(key.events(lastPart(name))))
  return last === undefined ? null : { seq: lastNumber(last[0]), deliveredSeq: 0 }
}

/** The number of members of a group. */
export async function rebuildGroupSize (db: Database, name: string): Promise<{ count: number } | null> {
  let count = 0
  for await (const rows of db.scan(under(key.groupMembers(lastPart(name))))) count += rows.length
  return count === 0 ? null : { count }
}
