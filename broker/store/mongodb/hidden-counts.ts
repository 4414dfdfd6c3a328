/**
 * The number of hidden messages in a member's row: of those that count, behind the read mark. Where two servers write one database, the other
 * one may have hidden more, or read on, since this one has seen the row. So the number is written only where the mark and the number are still
 * those that it was derived from, and counted anew where they are not.
 */
import type { Filter } from 'mongodb'
import type { Member } from '../store.ts'
import type { Connection } from './connection.ts'
import { memberKey, memberRow } from './documents.ts'
import type { MemberDoc, RowDoc } from './documents.ts'

/** Messages after `after` that count and that the user hid. */
export async function countHidden (db: Connection, user: string, conv: string, after: number): Promise<number> {
  return await db.hidden.countDocuments({ u: user, c: conv, s: { $gt: after }, n: 1 })
}

/** The row, as long as its read mark and its number are these. */
export function unmoved ({ user, conv }: Pick<Member, 'user' | 'conv'>, r: number, h: number): Filter<RowDoc> { return { _id: memberKey(user, conv), r, h } }

/** A member's document as it is in the database. */
async function stored (db: Connection, { user, conv }: Pick<Member, 'user' | 'conv'>): Promise<MemberDoc | null> {
  return (await db.rows.findOne({ _id: memberKey(user, conv) })) as MemberDoc | null
}

/** Counts what lies behind the stored mark, and behind `floor`. `settles`: the row does not have to say any more that its number may be behind. */
export async function recount (db: Connection, at: Pick<Member, 'user' | 'conv'>, { floor = 0, settles = false } = {}): Promise<void> {
  for (;;) {
    const doc = await stored(db, at)
    if (doc === null) return
    const h = await countHidden(db, at.user, at.conv, Math.max(doc.r, floor))
    const asked = settles && doc.x !== undefined
    if (h === doc.h && !asked) return
    const { matchedCount } = await db.rows.updateOne(unmoved(at, doc.r, doc.h), { $set: { h }, ...(asked ? { $unset: { x: '' } } : {}) })
    if (matchedCount > 0) return
  }
}

/**
 * Moves the marks of a row that may not be as it was remembered. Resolves to the row as it is stored then, and whether its read mark is the one
 * asked for and not one further on; to `undefined` where the user is no member any more.
 */
export async function moveMarks (db: Connection, row: Member): Promise<{ row: Member, read: boolean } | undefined> {
  for (;;) {
    const doc = await stored(db, row)
    if (doc === null) return undefined
    const [r, rn, d] = [Math.max(doc.r, row.readSeq), Math.max(doc.rn, row.readN), Math.max(doc.d, row.deliveredSeq)]
    const h = r > doc.r || doc.x !== undefined ? await countHidden(db, row.user, row.conv, r) : doc.h
    const moved = { row: memberRow({ ...doc, r, rn, d, h }), read: r === row.readSeq }
    if (r === doc.r && d === doc.d) return moved
    const { matchedCount } = await db.rows.updateOne(unmoved(row, doc.r, doc.h), { $max: { r, rn, d }, $set: { h } })
    if (matchedCount > 0) return moved
  }
}
