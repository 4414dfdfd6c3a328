/** Operations and questions that the tests of stores share. */
import type { Test } from 'tap'
import type { NewMessage, Operation, Outcome, Store } from '../../broker/store/store.ts'

/**
 * Opens the store of one test. `reopen` closes it and opens the same data again, as after a restart;
 * `freshPath` names a folder that is not there.
 */
export interface Opened { store: Store, reopen: () => Promise<Store>, freshPath: (name: string) => string }
export type Open = (t: Test) => Promise<Opened>

let made = 0

/** A message of `from` in `conv` with an id of its own. */
export function message (conv: string, from: string, more: Partial<NewMessage> = {}): NewMessage {
  made++
  return { op: 'message', conv, from, id: `id-${made}`, ts: 1_790_000_000_000 + made, counts: true, marksSender: true, content: `"body":"${made}"`, ...more }
}

/** Unread of a user in a conversation, as the contract derives it. */
export async function unread (store: Store, user: string, conv: string): Promise<number> {
  const [head] = await store.heads([conv])
  const row = await store.member(user, conv)
  return row === undefined || head === undefined ? 0 : head.n - row.readN - row.hiddenUnread
}

export async function append (store: Store, ...operations: Operation[]): Promise<Outcome[]> { return await store.commit(operations) }
export function seqs (rows: Array<{ seq: number }>): number[] { return rows.map(row => row.seq) }
export function group (gid: string): Operation {
  return { op: 'group', group: { gid, name: gid.toUpperCase(), owner: 'alice', createdAt: 5, meta: { color: 'red' } } }
}
export function join (gid: string, user: string): Operation { return { op: 'member', gid, user, role: 'member' } }
export const direct = 'd:alice:bob'

export const conv = 'd:a:b'
/** Messages `m1`, `m2`, ... of the conversation `conv`, each with its number as its time. */
export function numbered (from: number, count: number, content?: string): NewMessage[] {
  return Array.from({ length: count }, (_, i) => {
    const name = `${from + i}`
    return { op: 'message', conv, from: 'a', id: `m${name}`, ts: from + i, counts: true, marksSender: true, content: content ?? `"body":"message ${name}"`, cid: `c${name}` }
  })
}
