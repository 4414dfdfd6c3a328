/** The MongoDB-speaking server of the tests: what it must promise so that the tests of the store mean something. */
import { MongoClient } from 'mongodb'
import t from 'tap'
import { mongodbServer } from '../support/mongodb.ts'

await t.test('acknowledged writes outlive kill -9, changes of one document are atomic, unique indexes hold', async t => {
  const server = await mongodbServer(t)
  if (server === undefined) return
  const client = new MongoClient(server.url, { writeConcern: { w: 'majority', journal: true } })
  t.teardown(async () => await client.close())
  const rows = client.db(server.database).collection<{ _id: string, conv?: string, seq?: number, n?: number }>('rows')
  await rows.createIndex({ conv: 1, seq: 1 }, { unique: true })

  await rows.insertOne({ _id: 'count' })
  await Promise.all(Array.from({ length: 50 }, async () => await rows.updateOne({ _id: 'count' }, { $inc: { n: 1 } })))
  t.equal((await rows.findOne({ _id: 'count' }))?.n, 50, 'no increment lost')

  const inserts = await Promise.allSettled(Array.from({ length: 20 }, async (_, i) => await rows.insertOne({ _id: `m${i}`, conv: 'c', seq: 1 })))
  t.equal(inserts.filter(({ status }) => status === 'fulfilled').length, 1, 'one of the inserts with the same key')

  if (server.kind === 'env') return
  await server.kill9()
  await t.rejects(async () => {
    const other = new MongoClient(server.url, { serverSelectionTimeoutMS: 200 })
    try {
      await other.db('x').command({ ping: 1 })
    } finally {
      await other.close()
    }
  }, 'it is gone')
  await server.restart()
  t.equal((await rows.findOne({ _id: 'count' }))?.n, 50, 'still there after kill -9')
  await t.rejects(rows.insertOne({ _id: 'again', conv: 'c', seq: 1 }), { code: 11000 }, 'and so is the index')
})
