/** Every index. Made when a store is opened (making one that is there does nothing) and by `sabethes migrate`. */
import { MongoServerError } from 'mongodb'
import type { Db, Document, IndexDescription } from 'mongodb'

const namespaceNotFound = 26

/** Collections with their indexes beside `_id`. No partial, TTL or text index: every MongoDB-speaking server has these. */
export const indexes: Readonly<Record<string, IndexDescription[]>> = {
  messages: [
    // The fence: a number is taken once, whoever believes to own the conversation. Also the order in which logs are read.
    { name: 'c_s', key: { c: 1, s: 1 }, unique: true },
    // A message is stored once.
    { name: 'c_f_k', key: { c: 1, f: 1, k: 1 }, unique: true },
    // Messages that count and expire.
    { name: 'ec', key: { ec: 1 }, sparse: true },
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

/** What `createIndexes` would make: for `sabethes doctor` and `migrate`. Throws when an index of the same name is another one. */
export async function missingIndexes (db: Db): Promise<Array<{ collection: string, index: IndexDescription }>> {
  const missing: Array<{ collection: string, index: IndexDescription }> = []
  for (const [collection, wanted] of Object.entries(indexes)) {
    const present = new Map((await listed(db, collection)).map(index => [index['name'] as string, index]))
    for (const index of wanted) {
      const there = present.get(index.name as string)
      if (there === undefined) missing.push({ collection, index })
      else if (JSON.stringify(there['key']) !== JSON.stringify(index.key) || (there['unique'] === true) !== (index.unique === true)) {
        throw new Error(`the index ${index.name} of the collection ${collection} is not the one that this program needs`)
      }
    }
  }
  return missing
}

/** Makes what is missing. */
export async function createIndexes (db: Db): Promise<void> {
  const missing = await missingIndexes(db)
  for (const collection of new Set(missing.map(each => each.collection))) {
    await db.collection(collection).createIndexes(missing.filter(each => each.collection === collection).map(each => each.index))
  }
}

async function listed (db: Db, collection: string): Promise<Document[]> {
  try {
    return await db.collection(collection).listIndexes().toArray()
  } catch (error) {
    if (error instanceof MongoServerError && error.code === namespaceNotFound) return []
    throw error
  }
}
