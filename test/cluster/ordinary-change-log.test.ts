/** Ordinary topics of several servers: what a message finds of subscriptions is what they are when it is written, whichever server changed them. */
import { once } from 'node:events'
import { pino } from 'pino'
import t from 'tap'
import type { Test } from 'tap'
import { connectRedis } from '../../broker/cluster/redis.ts'
import type { RedisClient } from '../../broker/cluster/redis.ts'
import { decode } from '../../broker/ordinary/persistence-packets.ts'
import type { PacketLike } from '../../broker/ordinary/persistence-packets.ts'
import type { SubscriptionLike } from '../../broker/ordinary/persistence-subscriptions.ts'
import { library } from '../../broker/ordinary/cluster/library.ts'
import { RedisPersistence } from '../../broker/ordinary/cluster/redis-persistence.ts'
import { RedisCounter } from '../support/redis-commands.ts'
import { startRedis } from '../support/redis.ts'
import type { RedisServer } from '../support/redis.ts'

const keyPrefix = '{changes:ordinary}:'
const log = pino({ enabled: false })

interface World { redis: RedisServer, looking: RedisClient, servers: RedisPersistence[] }

async function connected (t: Test, url: string): Promise<RedisClient> {
  const client = connectRedis({ url, timeoutMs: 1_000, keyPrefix, log }, 'commands')
  t.teardown(() => { client.disconnect() })
  await once(client, 'ready')
  return client
}

/** What each server knows it has read when it began: it looks again by itself after a second. */
async function world (t: Test, count: number): Promise<World | undefined> {
  const redis = await startRedis(t)
  if (redis === undefined) return undefined
  const servers: RedisPersistence[] = []
  for (let i = 0; i < count; i++) servers.push(await join(t, redis))
  return { redis, looking: await connected(t, redis.url), servers }
}

async function join (t: Test, redis: RedisServer): Promise<RedisPersistence> {
  const one = new RedisPersistence({
    redis: await connected(t, redis.url),
    records: { write: async () => {} },
    timeoutMs: 10_000,
    offlineQueue: 1_000,
    retained: 1_000,
    retainedBytes: 1_000_000,
    onError: error => { t.error(error) }
  })
  await one.open()
  t.teardown(async () => { await one.destroy() })
  return one
}

function subscription (topic: string, more: Partial<SubscriptionLike> = {}): SubscriptionLike { return { topic, qos: 1, rh: 0, rap: false, nl: false, ...more } }

async function publish (server: RedisPersistence, topic: string, text: string, more: Partial<PacketLike> = {}, publisher = 'speaker'): Promise<void> {
  await server.prepare({ id: publisher }, { cmd: 'publish', topic, payload: Buffer.from(text), qos: 1, retain: false, dup: false, ...more } as PacketLike)
}

interface Found { text: string, qos: number, identifiers: unknown }

async function queued ({ looking }: World, session: string): Promise<Found[]> {
  const found: Found[] = []
  for await (const { payload } of library(looking, 1_000).outgoingStream({ id: session })) {
    const { body } = decode(payload)
    found.push({ text: String(body.payload), qos: body.qos, identifiers: body.properties?.['subscriptionIdentifier'] })
  }
  return found
}

async function calls (t: Test, { port }: RedisServer, work: () => Promise<void>): Promise<number> {
  const counter = await RedisCounter.open(port)
  t.teardown(() => { counter.close() })
  const before = await counter.read()
  await work()
  return ((await counter.read()).get('eval') ?? 0) - (before.get('eval') ?? 0)
}

const filter = 'some/+'
const changes: Record<string, { change: (server: RedisPersistence) => Promise<void>, found: Found[] }> = {
  'is removed': { change: async server => { await server.removeSubscriptions({ id: 'kept' }, [filter]) }, found: [] },
  'is over with its session': { change: async server => { await server.forget('kept') }, found: [] },
  'is at QoS 0 now': { change: async server => { await server.addSubscriptions({ id: 'kept' }, [subscription(filter, { qos: 0 })]) }, found: [] },
  'has No Local now': { change: async server => { await server.addSubscriptions({ id: 'kept' }, [subscription(filter, { nl: true })]) }, found: [] },
  'has another identifier now': {
    change: async server => { await server.addSubscriptions({ id: 'kept' }, [subscription(filter, { subscriptionIdentifier: 9 })]) },
    found: [{ text: 'one', qos: 1, identifiers: [9] }]
  },
  'has a second one beside it now': {
    change: async server => { await server.addSubscriptions({ id: 'kept' }, [subscription('#', { subscriptionIdentifier: 11 })]) },
    found: [{ text: 'one', qos: 1, identifiers: [7, 11] }]
  }
}

for (const [name, { change, found }] of Object.entries(changes)) {
  await t.test(`a subscription ${name}, at another server: the next publish goes by that`, async t => {
    const here = await world(t, 1)
    if (here === undefined) return
    const [a] = here.servers as [RedisPersistence]
    await a.addSubscriptions({ id: 'kept' }, [subscription(filter, { subscriptionIdentifier: 7 })])
    const b = await join(t, here.redis)
    t.strictSame(b.subscriptionsOf('kept').length, 1, 'as it was')
    await change(a)
    await publish(b, 'some/x', 'one', {}, 'kept')
    const got = await queued(here, 'kept')
    for (const one of got) if (Array.isArray(one.identifiers)) one.identifiers.sort((x: number, y: number) => x - y)
    t.strictSame(got, found)
  })
}

await t.test('a first subscription at another server, and a publish with a QoS 2 id', async t => {
  const here = await world(t, 2)
  if (here === undefined) return
  const [a, b] = here.servers as [RedisPersistence, RedisPersistence]
  await a.addSubscriptions({ id: 'kept' }, [subscription(filter, { qos: 2 })])
  await b.incomingStorePacket({ id: 'speaker' }, { cmd: 'publish', topic: 'some/x', payload: Buffer.from('one'), qos: 2, retain: false, messageId: 5 })
  t.strictSame((await queued(here, 'kept')).map(({ text, qos }) => [text, qos]), [['one', 2]])
  t.equal((await b.incomingGetPacket({ id: 'speaker' }, { topic: '', payload: '', qos: 2, retain: false, messageId: 5 })).messageId, 5)
  t.ok(a.keeps('kept'))
})

await t.test('what is subscribed and published in one turn: the publish has it', async t => {
  const here = await world(t, 1)
  if (here === undefined) return
  const [a] = here.servers as [RedisPersistence]
  await Promise.all([a.addSubscriptions({ id: 'kept' }, [subscription(filter)]), publish(a, 'some/x', 'one')])
  await Promise.all([a.removeSubscriptions({ id: 'kept' }, [filter]), publish(a, 'some/x', 'two')])
  t.strictSame((await queued(here, 'kept')).map(({ text }) => text), ['one'])
})

await t.test('what is retained or kept at another server costs a publish no second try', async t => {
  const here = await world(t, 2)
  if (here === undefined) return
  const [a, b] = here.servers as [RedisPersistence, RedisPersistence]
  await publish(a, 'kept/x', 'retained', { retain: true })
  await a.incomingStorePacket({ id: 'speaker' }, { cmd: 'publish', topic: 'none', payload: Buffer.from('one'), qos: 2, retain: false, messageId: 5 })
  t.equal(await calls(t, here.redis, async () => { await publish(b, 'some/x', 'one') }), 1)
  t.ok(b.keeps('speaker'), 'it knows what was said')
  t.equal(b.counts().retained, 1)
  await a.addSubscriptions({ id: 'kept' }, [subscription(filter)])
  t.equal(await calls(t, here.redis, async () => { await publish(b, 'some/x', 'two') }), 2, 'a subscription costs one')
})

await t.test('so much is new that the log does not have all of it any more: all is read, and the publish goes by that', async t => {
  const here = await world(t, 2)
  if (here === undefined) return
  const [a, b] = here.servers as [RedisPersistence, RedisPersistence]
  for (const session of ['one', 'two']) await a.addSubscriptions({ id: session }, [subscription(filter)])
  await here.looking.xtrim('log', 'MAXLEN', 1)
  await publish(b, 'some/x', 'here')
  for (const session of ['one', 'two']) t.strictSame((await queued(here, session)).map(({ text }) => text), ['here'])
})

await t.test('more filters in one SUBSCRIBE than Redis takes for one command', async t => {
  const here = await world(t, 2)
  if (here === undefined) return
  const [a, b] = here.servers as [RedisPersistence, RedisPersistence]
  const filters = Array.from({ length: 9_000 }, (_, i) => `many/${i}`)
  await a.addSubscriptions({ id: 'kept' }, filters.map(topic => subscription(topic)))
  await publish(b, 'many/8999', 'one')
  await a.removeSubscriptions({ id: 'kept' }, filters)
  await publish(b, 'many/0', 'two')
  t.strictSame((await queued(here, 'kept')).map(({ text }) => text), ['one'])
  t.equal(await here.looking.exists('client:kept'), 0)
})

await t.test('an answer that does not come in time: written once', async t => {
  const here = await world(t, 1)
  if (here === undefined) return
  const { redis, servers: [a] } = here as World & { servers: [RedisPersistence] }
  await a.addSubscriptions({ id: 'kept' }, [subscription(filter)])
  redis.pause()
  const published = publish(a, 'some/x', 'one')
  // Tried a second time: the first one waits in Redis' socket.
  await new Promise(resolve => { setTimeout(resolve, 1_300) })
  redis.resume()
  await published
  t.strictSame((await queued(here, 'kept')).map(({ text }) => text), ['one'])
})

await t.test('servers that subscribe and publish at once: each message goes by the subscriptions of its moment, and nobody waits for ever', async t => {
  t.setTimeout(120_000)
  const here = await world(t, 6)
  if (here === undefined) return
  const over = new AbortController()
  const noise = here.servers.slice(2).map(async (server, i) => {
    let turns = 0
    for (; !over.signal.aborted; turns++) {
      const session = { id: `noise${i}` }
      await server.addSubscriptions(session, [subscription('noise', { subscriptionIdentifier: 1 + turns % 1000 })])
      await Promise.all([publish(server, 'noise', String(turns)), server.removeSubscriptions(session, ['noise'])])
    }
    return turns
  })
  const [a, b] = here.servers as [RedisPersistence, RedisPersistence]
  const expected: string[] = []
  for (let i = 0; i < 100; i++) {
    await a.addSubscriptions({ id: 'kept' }, [subscription(filter)])
    await publish(b, 'some/x', `in ${i}`)
    expected.push(`in ${i}`)
    await a.removeSubscriptions({ id: 'kept' }, [filter])
    await publish(b, 'some/x', `out ${i}`)
  }
  over.abort()
  const turns = await Promise.all(noise)
  t.strictSame((await queued(here, 'kept')).map(({ text }) => text), expected)
  t.ok(turns.every(count => count > 20), `the others went on: ${turns.join()}`)
})
