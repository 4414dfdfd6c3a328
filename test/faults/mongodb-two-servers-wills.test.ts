/** Wills with two server processes on one database: each is sent once, by the server of its connection, or by another one when that is over. */
import { MongoClient } from 'mongodb'
import t from 'tap'
import type { Test } from 'tap'
import { until } from '../support/mailbox.ts'
import { mongodbServer } from '../support/mongodb.ts'
import { RawClient } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'
import type { Server } from '../support/server.ts'

t.setTimeout(180_000)
const mongodb = await mongodbServer(t)

async function shared (t: Test, database: string): Promise<{ start: (name: string) => Promise<Server>, sent: () => Promise<string[]> }> {
  const { url } = mongodb as { url: string }
  const client = new MongoClient(url)
  t.teardown(() => client.close())
  const folder = t.testdirName
  const start = async (name: string): Promise<Server> => {
    t.testdirName = `${folder}-${name}`
    return await startServer(t, { config: { store: { driver: 'mongodb', url, database, timeoutMs: 20_000 } } })
  }
  /** The texts of all messages. */
  const sent = async (): Promise<string[]> => (await client.db(database).collection('messages').find().toArray()).map(({ p }) => String((JSON.parse(`{${p as string}}`) as { body: unknown }).body)).sort()
  return { start, sent }
}

async function connect (t: Test, server: Server, user: string, { delay, clean = false, text = user }: { delay?: number, clean?: boolean, text?: string } = {}): Promise<RawClient> {
  const will = delay === undefined ? {} : { will: { topic: 'im/to/u/watcher', payload: Buffer.from(text), qos: 1 as const, retain: false, properties: { willDelayInterval: delay } } }
  const { client, connack } = await RawClient.connect(t, server.mqttPort, { version: 5, user, clientId: 'phone', clean, properties: { sessionExpiryInterval: 1000 }, ...will })
  t.equal(connack.reasonCode, 0, `${user} is connected`)
  return client
}

async function lose (client: RawClient): Promise<void> {
  client.cut()
  await client.closed
}

await t.test('a server that starts, and sessions that go on at it', { skip: mongodb === undefined }, async t => {
  const { start, sent } = await shared(t, `${mongodb?.database}_wills`)
  const left = await start('left')
  const stays = await connect(t, left, 'stays', { delay: 0 })
  await lose(await connect(t, left, 'begins', { delay: 600 }))
  const right = await start('right')
  t.same(await sent(), [], 'what is connected at the first one, or waits there, is not sent by the second')
  await lose(await connect(t, left, 'moves', { delay: 8 }))
  await lose(await connect(t, left, 'waits', { delay: 9 }))
  await connect(t, right, 'moves')
  await connect(t, right, 'begins', { clean: true })
  await until(async () => (await sent()).includes('begins'), 10_000, 'the will of a session that was begun anew')
  await until(async () => (await sent()).includes('waits'), 20_000, 'the one that waits')
  t.same(await sent(), ['begins', 'waits'], 'that of the session that went on would have been due before')
  await lose(stays)
  await until(async () => (await sent()).includes('stays'), 10_000, 'the one of the connection')
  t.same(await sent(), ['begins', 'stays', 'waits'], 'each once')
})

await t.test('a server that is killed', { skip: mongodb === undefined }, async t => {
  const { start, sent } = await shared(t, `${mongodb?.database}_killed`)
  const left = await start('left')
  const right = await start('right')
  await connect(t, left, 'lost', { delay: 0 })
  await connect(t, left, 'late', { delay: 2 })
  const back = await connect(t, left, 'back', { delay: 600 })
  await lose(back)
  // Writes of wills are not waited for: a message is behind them.
  const other = await connect(t, left, 'other')
  await other.publish('im/to/u/watcher', 'behind them')
  await left.kill9()
  t.same(await sent(), ['behind them'])
  await until(async () => (await sent()).length > 2, 60_000, 'the wills of those who were connected')
  t.same(await sent(), ['behind them', 'late', 'lost'], 'the delay of the one has passed by then')
  await connect(t, right, 'back')
  await left.restart()
  t.same(await sent(), ['behind them', 'late', 'lost'], 'its next start sends none again')
})
