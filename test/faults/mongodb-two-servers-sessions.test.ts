/**
 * Two server processes on one database: a session that is connected at one of them is left alone by the other, which sweeps what a crash left,
 * makes room for new sessions and takes sessions up.
 */
import { MongoClient } from 'mongodb'
import t from 'tap'
import type { Test } from 'tap'
import { until } from '../support/mailbox.ts'
import { mongodbServer } from '../support/mongodb.ts'
import { RawClient } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'
import type { Server } from '../support/server.ts'

interface Row { _id: string, expiresAt?: number, connection?: { epoch: string } }

t.setTimeout(180_000)
const mongodb = await mongodbServer(t)

/** Starts servers with folders of their own on the database, and shows its sessions. */
async function shared (t: Test, database: string, sessions: object = {}): Promise<{ start: (name: string) => Promise<Server>, row: (session: string) => Promise<Row | null> }> {
  const { url } = mongodb as { url: string }
  const client = new MongoClient(url)
  t.teardown(() => client.close())
  const folder = t.testdirName
  const config = { store: { driver: 'mongodb', url, database, timeoutMs: 20_000 }, sessions }
  const start = async (name: string): Promise<Server> => {
    t.testdirName = `${folder}-${name}`
    return await startServer(t, { config })
  }
  return { start, row: session => client.db(database).collection<Row>('sessions').findOne({ _id: session }) }
}

async function connect (t: Test, server: Server, user: string, clientId: string, seconds: number): Promise<{ client: RawClient, present: boolean, code: number }> {
  const { client, connack } = await RawClient.connect(t, server.mqttPort, { version: 5, user, clientId, clean: false, properties: { sessionExpiryInterval: seconds } })
  return { client, present: connack.sessionPresent, code: connack.reasonCode ?? 0 }
}

await t.test('a server that starts', { skip: mongodb === undefined }, async t => {
  const { start, row } = await shared(t, `${mongodb?.database}_sweep`)
  const left = await start('left')
  const { client: phone } = await connect(t, left, 'alice', 'phone', 1)
  const { client: gone } = await connect(t, left, 'bob', 'phone', 1)
  gone.cut()
  await until(async () => (await row('bob/phone'))?.expiresAt !== undefined, 10_000, 'the end of a session')
  const over = (await row('bob/phone'))?.expiresAt ?? 0
  await until(() => Date.now() > over, 10_000, 'its time to pass')
  const right = await start('right')
  await until(async () => await row('bob/phone') === null, 20_000, 'the first sweep of the other server')
  t.match(await row('alice/phone'), { expiresAt: undefined, connection: { epoch: String } }, 'what is connected at the first one has no end')
  t.same(await phone.subscribe('im/u/alice/inbox'), [1], 'and is served')

  const { client: moved, present } = await connect(t, right, 'alice', 'phone', 1)
  t.equal(present, true, 'it is not over for the other one either, although its second has passed')
  const epoch = (await row('alice/phone'))?.connection?.epoch
  phone.cut()
  await left.stop()
  t.match(await row('alice/phone'), { expiresAt: undefined, connection: { epoch } }, 'the end of the earlier connection is none of the present one')
  t.same(await moved.subscribe('im/u/alice/inbox'), [1])
})

await t.test('no room is made by what is connected elsewhere', { skip: mongodb === undefined }, async t => {
  const { start, row } = await shared(t, `${mongodb?.database}_room`, { maxPerUser: 1 })
  const left = await start('left')
  const right = await start('right')
  const { client: phone } = await connect(t, left, 'alice', 'phone', 1000)
  t.equal((await connect(t, right, 'alice', 'tablet', 1000)).code, 0x97)
  t.ok(await row('alice/phone'))
  t.same(await phone.subscribe('im/u/alice/inbox'), [1])
  await phone.disconnect()
  await until(async () => (await row('alice/phone'))?.expiresAt !== undefined, 10_000, 'the end of the session')
  t.equal((await connect(t, right, 'alice', 'tablet', 1000)).code, 0, 'but by what has ended there')
  t.equal(await row('alice/phone'), null)
})

await t.test('what a server left when it was killed is its own at its next start', { skip: mongodb === undefined }, async t => {
  const { start, row } = await shared(t, `${mongodb?.database}_kill`)
  const left = await start('left')
  await start('right')
  await connect(t, left, 'alice', 'phone', 1000)
  await left.kill9()
  const restartedAt = Date.now()
  await left.restart()
  await until(async () => (await row('alice/phone'))?.expiresAt !== undefined, 12_000, 'an end for what had none: nobody has given the earlier start up by then')
  const { expiresAt = 0 } = await row('alice/phone') ?? {}
  t.ok(expiresAt >= restartedAt + 1_000_000, 'its time counts from then')
})
