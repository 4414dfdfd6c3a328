/** The database's own count of commands, and what the scenario `mongodb` makes of it. */
import { MongoClient } from 'mongodb'
import t from 'tap'
import { sabethes } from '../../bench/peers/sabethes.ts'
import { sabethesMongodb } from '../../bench/peers/sabethes-mongodb.ts'
import { roundTrips } from '../../bench/scenarios/round-trips.ts'
import { mongodbServer } from '../support/mongodb.ts'
import { CommandCounter } from '../support/mongodb-commands.ts'

t.setTimeout(120_000)
const server = await mongodbServer(t)

if (server !== undefined) {
  await t.test('commands are counted, not documents, and not the driver\'s own', async t => {
    const client = new MongoClient(server.url)
    t.teardown(async () => { await client.close() })
    const counter = await CommandCounter.open(server.url, server.database)
    t.teardown(async () => { await counter.close() })
    const rows = client.db(server.database).collection<{ _id: string, n?: number }>('messages')
    await rows.insertMany(Array.from({ length: 7 }, (_, i) => ({ _id: String(i) })))
    const before = await counter.read()
    await rows.insertMany([{ _id: 'x' }, { _id: 'y' }])
    await rows.bulkWrite([0, 1, 2].map(i => ({ updateOne: { filter: { _id: String(i) }, update: { $set: { n: i } } } })))
    t.equal((await rows.find({}, { batchSize: 5 }).toArray()).length, 9)
    await client.db('admin').command({ ping: 1 })
    t.equal(await counter.documents('messages'), 9)
    const after = await counter.read()
    t.same([after.inserts - before.inserts, after.writes - before.writes, after.reads - before.reads], [1, 2, 2], 'find and getMore; insert and update')
  })

  await t.test('a batch of a running server is two round trips', async t => {
    const running = await sabethesMongodb.start({ cpu: undefined, databaseCpus: undefined, stored: 0 })
    t.teardown(() => running.stop())
    const metrics = await roundTrips(sabethesMongodb, running)
    // The server's word that it is there may come in between.
    for (const name of ['message_alone_round_trips', 'batch_round_trips']) t.equal(Math.floor(metrics[name] as number), 2, `${name}: ${metrics[name]}`)
    for (const name of ['backlog_20_conversations_reads', 'list_50_round_trips', 'history_50_round_trips']) t.ok(metrics[name] as number > 0, name)
  })
}

await t.test('a server on the embedded store gets the same traffic, and nothing is counted', async t => {
  const running = await sabethes.start({ cpu: undefined, databaseCpus: undefined, stored: 0 })
  t.teardown(() => running.stop())
  t.same(await roundTrips(sabethes, running), {})
})
