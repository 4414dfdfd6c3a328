/** Every index. Made when a store is opened (making one that is there does nothing) and by `sabethes migrate`. */
import type { Db, IndexDescription } from 'mongodb'

/** Collections with their indexes beside `_id`. No partial, TTL or text index: every MongoDB-speaking server has these. */
export const indexes: Readonly<Record<string, IndexDescription[]>> = {
  messages: [
    // The fence: a number is taken once, whoever believes to own the conversation. Also the order in which logs are read.
    { name: 'c_s', key: { c: 1, s: 1 }, unique: true },
    // A message is stored once.
    { name: 'c_f_k', key: { c: 1, f: 1, k: 1 }, unique: true },
    // The last publish of a packet id; only messages without a client message id have it.
    { name: 'q_ts', key: { q: 1, ts: -1, _id: -1 }, sparse: true }
  ],
  conversations: [
    { name: 'c_u', key: { c: 1, u: 1 }, sparse: true },
    { name: 'o', key: { o: 1 }, sparse: true }
  ],
  hidden: [
    { name: 'u_c_s', key: { u: 1, c: 1, s: 1 } },
    { name: 'c_s', key: { c: 1, s: 1 } }
  ],
  events: [{ name: 'u_s', key: { u: 1, s: 1 }, unique: true }],
  blocks: [{ name: 'u_b', key: { u: 1, b: 1 } }],
  cursors: [{ name: 'p', key: { p: 1 } }],
  resends: [{ name: 'ts', key: { ts: 1 } }]
}

/** Makes what is missing. Throws when an index of the same name is a different one. */
export async function createIndexes (db: Db): Promise<void> {
  for (const [collection, wanted] of Object.entries(indexes)) await db.collection(collection).createIndexes(wanted)
}
