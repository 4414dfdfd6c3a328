/** How what follows from messages is written. */
import type { AnyBulkWriteOperation } from 'mongodb'
import type { Member } from '../store.ts'
import type { Connection } from './connection.ts'
import { memberDoc, memberKey, place } from './documents.ts'
import type { HeadDoc, HeadRow, RowDoc } from './documents.ts'
import { duplicates } from './failure.ts'

/** The two members of new direct conversations; those that are there are left as they are. */
export async function openMembers (db: Connection, rows: readonly Member[]): Promise<void> {
  if (rows.length === 0) return
  try {
    await db.rows.insertMany(rows.map(memberDoc), { ordered: false })
  } catch (error) {
    if (duplicates(error) === undefined) throw error
  }
}

/**
 * Senders' marks and heads, forward only, in one command. Ordered: a head tells that the marks before it are written. Where another server has
 * moved the read mark further, the number of hidden messages is of that mark, and stays. `isFirst`: the row may not say yet that the user has sent
 * a message, which it says then wherever its marks are.
 */
export async function writeDerived (db: Connection, members: readonly Member[], heads: ReadonlyMap<string, HeadRow>, isFirst: (row: Member) => boolean): Promise<void> {
  const operations: Array<AnyBulkWriteOperation<RowDoc>> = []
  for (const row of members) {
    const _id = memberKey(row.user, row.conv)
    if (isFirst(row)) operations.push({ updateOne: { filter: { _id }, update: { $set: { w: 1 } } } })
    operations.push({
      updateOne: { filter: { _id, r: { $lt: row.readSeq } }, update: { $max: { r: row.readSeq, rn: row.readN, d: row.deliveredSeq }, $set: { h: row.hiddenUnread } } }
    })
  }
  for (const [conv, head] of heads) {
    operations.push({ updateOne: { filter: { _id: place(conv) }, update: headUpdate(head), upsert: true } })
  }
  if (operations.length > 0) await db.bulk(db.rows, operations, { ordered: true })
}

/** A head forward. */
export function headUpdate (head: HeadRow): { $max: Partial<HeadDoc>, $set: Partial<HeadDoc>, $unset?: { o: '' } } {
  return {
    $max: { s: head.seq, n: head.n, ps: head.purgedSeq, pn: head.purgedN, ...(head.expiring === 0 ? {} : { e: head.expiring }) },
    $set: { ts: head.ts, ...(head.oldest === undefined ? {} : { o: head.oldest }) },
    ...(head.oldest === undefined ? { $unset: { o: '' } } : {})
  }
}
