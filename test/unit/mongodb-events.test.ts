/** Another process takes the number of an event, and the server does not say which document it refused. */
import { MongoServerError } from 'mongodb'
import t from 'tap'
import type { Connection } from '../../broker/store/mongodb/connection.ts'
import { EventLog } from '../../broker/store/mongodb/events.ts'

interface Doc { _id: string, u: string, s: number, ts: number, p: string }

await t.test('what was written stays, what was not is numbered again', async t => {
  const docs = new Map<string, Doc>([['a s-theirs', { _id: 'a s-theirs', u: 'a', s: 2, ts: 1, p: 'theirs' }]])
  const list = (found: Doc[]) => ({ sort: () => list(found.sort((x, y) => x.s - y.s)), toArray: async () => found, project: () => list(found), limit: () => list(found) })
  let refusals = 0
  const events = {
    bulkWrite: async (operations: Array<{ replaceOne: { filter: { _id: string }, replacement: Omit<Doc, '_id'> } }>) => {
      for (const { replaceOne: { filter: { _id }, replacement } } of operations) {
        const { u, s } = replacement
        if ([...docs.values()].some(doc => doc._id !== _id && doc.u === u && doc.s === s)) {
          refusals++
          throw new MongoServerError({ code: 1, message: "constraint failed: UNIQUE constraint failed: index 'events_12d8e384_u_s' (2067)" })
        }
        docs.set(_id, { _id, ...replacement })
      }
    },
    find: (query: { _id?: { $in?: string[] } | string, u?: unknown }) => {
      const ids = query._id === undefined ? undefined : typeof query._id === 'string' ? [query._id] : query._id.$in
      return list([...docs.values()].filter(doc => ids === undefined || ids.includes(doc._id)))
    }
  }
  const db = { events, eventHeads: { bulkWrite: async () => {} }, updatesOfCommand: 100, timeoutMs: 1000, fault: () => {}, bulk: async () => {} } as unknown as Connection
  const log = new EventLog(db, 10)
  // The head in memory is behind: the other process has written number 2.
  log.heads = async () => new Map([['a', { seq: refusals === 0 ? 0 : 2, deliveredSeq: 0 }]])
  const outcomes = await log.append(['one', 'two'].map(content => ({ op: 'event', user: 'a', ts: 5, content })))
  t.strictSame(outcomes.map(({ seq }) => seq), [1, 3])
  t.strictSame([...docs.values()].sort((x, y) => x.s - y.s).map(({ s, p }) => [s, p]), [[1, 'one'], [2, 'theirs'], [3, 'two']])
})
