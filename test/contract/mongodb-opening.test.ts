/** What a database may hold when it is opened: half a migration, and logs whose heads are behind. */
import { MongoClient } from 'mongodb'
import t from 'tap'
import type { Test } from 'tap'
import { openMongoStore } from '../../broker/store/mongodb/store.ts'
import { openMongoSource, openMongoTarget } from '../../broker/store/mongodb/transfer.ts'
import { mongodbServer } from '../support/mongodb.ts'
import type { MongodbServer } from '../support/mongodb.ts'
import { direct, message } from './operations.ts'

t.setTimeout(120_000)
const server = await mongodbServer(t)
if (server !== undefined) await tests(server)

async function tests (server: MongodbServer): Promise<void> {
  let made = 0
  const fresh = async (t: Test): Promise<{ at: { url: string, database: string }, client: MongoClient }> => {
    const at = { url: server.url, database: `${server.database}_${++made}` }
    const client = new MongoClient(server.url)
    t.teardown(async () => {
      await client.db(at.database).dropDatabase()
      await client.close()
    })
    return { at, client }
  }
  const opens = async (at: { url: string, database: string }): Promise<void> => { await (await openMongoStore(at)).close() }

  await t.test('an unfinished migration is named, with the command that finishes it', async t => {
    const { at, client } = await fresh(t)
    const meta = client.db(at.database).collection<{ _id: string, version?: number }>('meta')
    for (const [source, from] of [['level:/var/lib/interrupted', 'level:/var/lib/interrupted'], ['mongodb:db1:27017/chat', 'mongodb://db1:27017/chat']] as const) {
      const target = await openMongoTarget(at)
      await target.begin({ source, kind: 'user', rows: 0 })
      await target.close()
      const refusal = { name: 'StoreFormatError', message: `the database holds an unfinished migration from ${source}: finish it with sabethes migrate --from '${from}' --to config` }
      await t.rejects(openMongoStore(at), refusal)
      await meta.deleteOne({ _id: 'format' })
      await t.rejects(openMongoStore(at), refusal, 'ended before the version was written')
      t.equal(await meta.findOne({ _id: 'format' }), null, 'and a refused database stays as it was')
    }
    await meta.deleteMany({})
    await meta.insertOne({ _id: 'format', version: 0 })
    await t.rejects(openMongoStore(at), { name: 'StoreFormatError', message: /unfinished migration: run the same sabethes migrate again/ }, 'what it came from is not known')
    await meta.updateOne({ _id: 'format' }, { $set: { version: 99 } })
    await t.rejects(openMongoStore(at), { name: 'StoreFormatError', message: /format version 99/ })
  })

  await t.test('a migration that ended behind its last step is finished: it is not gone on with later', async t => {
    const { at, client } = await fresh(t)
    await opens(at)
    const meta = client.db(at.database).collection<{ _id: string, checkpoint?: string }>('meta')
    await meta.insertOne({ _id: 'migration', checkpoint: JSON.stringify({ source: 'level:/old', kind: 'record', rows: 5 }) })
    const store = await openMongoStore(at)
    await store.commit([message(direct, 'alice')])
    await store.close()
    const target = await openMongoTarget(at)
    t.teardown(() => target.close())
    await t.rejects(target.checkpoint(), /is not empty/)
  })

  await t.test('heads of many event logs that are behind are made right before a migration', async t => {
    const { at, client } = await fresh(t)
    await opens(at)
    const users = Array.from({ length: 1200 }, (_, i) => `user${i}`)
    const db = client.db(at.database)
    await db.collection<{ _id: string }>('events').insertMany(users.flatMap(u => [1, 2].map(s => ({ _id: `${u} ${s}`, u, s, ts: 5, p: '{}' }))))
    // Heads that are there: FerretDB holds on to a connection for each of these.
    await db.collection<{ _id: string }>('eventHeads').insertMany(users.slice(0, 1000).map(_id => ({ _id, s: 1, d: 0 })))
    const source = await openMongoSource(at)
    t.teardown(() => source.close())
    await source.prepare()
    const heads: Array<[string, number]> = []
    for await (const page of source.read('eventHead')) for (const { user, seq } of page.rows) heads.push([user, seq])
    t.same(new Map(heads), new Map(users.map(user => [user, 2])))
  })
}
