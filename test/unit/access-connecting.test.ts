/** Connecting, takeover and the end of connections while something is under way. */
import t from 'tap'
import type { Connection } from '../../broker/gateway/connection/connection.ts'
import { bench, settled } from '../support/memory-client.ts'
import { FakeOrdinary } from '../support/fake-ordinary.ts'

await t.test('takeover: the old connection is put away before the session is opened again', async t => {
  const { engine, client } = bench(t)
  const [first, second] = [client({ version: 5 }), client({ version: 5 })]
  await first.connect('bob', { clean: false, properties: { sessionExpiryInterval: 100 } })
  engine.holding.add('closeSession')
  second.hello('bob', { clean: false, properties: { sessionExpiryInterval: 100 } })
  await settled(engine)
  t.match(first.packets.waiting, [{ cmd: 'disconnect', reasonCode: 0x8e }])
  t.ok(first.closed)
  t.strictSame(second.packets.waiting, [], 'it waits')
  engine.holding.clear()
  engine.next().now()
  await settled(engine)
  t.match(second.packets.waiting, [{ cmd: 'connack', sessionPresent: true, reasonCode: 0 }])
  t.equal(second.closed, false)
})

await t.test('many connections for one session at once: the last one has it, no engine call overlaps', async t => {
  const { engine, access, client } = bench(t)
  const clients = Array.from({ length: 6 }, () => client())
  for (const one of clients) one.hello('bob', { clean: false })
  await settled(engine)
  t.strictSame(clients.map(one => one.closed), [true, true, true, true, true, false])
  t.equal(access.sessions.connected.size, 1)
  t.equal(access.pump.countOf('bob'), 1)
  t.equal(access.sessions.connections.size, 1)
  Object.assign(access.locks, { pause: async () => {} }) // a refusal waits for a second otherwise
  const flood = Array.from({ length: 20 }, () => client())
  for (const one of flood) one.hello('bob', { clean: false })
  await settled(engine)
  t.ok(flood.filter(one => one.closed).length >= 12, 'those that would queue without end are closed')
  t.equal(access.sessions.connected.size, 1)
})

await t.test('a client that goes away at each step of its connecting leaves nothing', async t => {
  for (const step of ['authenticate', 'openSession', 'read', 'streams'] as const) {
    const { engine, access, client } = bench(t)
    engine.append('d:alice:bob', 'alice')
    engine.store('bob/phone', { subscriptions: [{ filter: 'im/u/bob/inbox', qos: 1 }], inflight: [{ packetId: 1, stream: 'd:alice:bob', seq: 1 }] })
    engine.holding.add(step)
    const bob = client()
    bob.hello('bob', { clean: false })
    await settled(engine)
    bob.lose()
    await settled(engine)
    engine.holding.clear()
    engine.next().asked()
    await settled(engine)
    t.equal(access.sessions.connections.size, 0, `${step}: no connection`)
    t.equal(access.sessions.connected.size, 0, `${step}: no session`)
    t.equal(access.pump.countOf('bob'), 0)
    t.equal(engine.live.size, 0, `${step}: the engine knows`)
  }
})

await t.test('gone while what is stored for ordinary topics is dropped', async t => {
  const ordinary = new FakeOrdinary()
  let go = (): void => {}
  ordinary.forgetting = new Promise(resolve => { go = resolve })
  const { engine, access, client } = bench(t, {}, ordinary, ['open/#'])
  const bob = client()
  bob.hello('bob', { will: { topic: 'open/will', payload: Buffer.from('w'), qos: 0, retain: false } })
  await settled(engine)
  const connection = [...access.sessions.connections][0] as Connection
  bob.lose()
  await settled(engine)
  go()
  await settled(engine)
  t.equal(connection.phase, 'closed', 'a closed connection stays closed')
  t.equal(ordinary.attached, ordinary.ended.length, 'no client is left in Aedes')
})

await t.test('a kick reaches a connection that is not done with connecting', async t => {
  for (const step of ['openSession', 'read'] as const) {
    const { engine, access, client } = bench(t)
    engine.append('d:alice:bob', 'alice')
    engine.store('bob/phone', { subscriptions: [{ filter: 'im/u/bob/inbox', qos: 1 }], inflight: [{ packetId: 1, stream: 'd:alice:bob', seq: 1 }] })
    const eve = client()
    await eve.connect('eve')
    engine.holding.add(step)
    const bob = client()
    bob.hello('bob', { clean: false })
    await settled(engine)
    access.sessions.kick({ kind: 'kick', user: 'bob', code: 'banned' })
    engine.holding.clear()
    for (const held of [...engine.held]) held.now()
    await settled(engine)
    t.ok(bob.closed, step)
    t.notOk(eve.closed)
    t.equal(access.pump.countOf('bob'), 0)
  }
})

await t.test('a kick of one session leaves the others', async t => {
  const { engine, access, client } = bench(t)
  const [a, b] = [client({ version: 5 }), client()]
  await a.connect('bob', { clientId: 'a' })
  await b.connect('bob', { clientId: 'b' })
  access.output([{ kind: 'kick', user: 'bob', session: 'bob/a', code: 'banned' }])
  await settled(engine)
  t.match(a.packets.waiting, [{ cmd: 'disconnect', reasonCode: 0x98 }])
  t.strictSame([a.closed, b.closed], [true, false])
})

await t.test('packets behind the CONNECT wait for it', async t => {
  const { engine, client } = bench(t)
  engine.holding.add('authenticate')
  const bob = client()
  bob.hello('bob')
  bob.publish('im/to/u/alice', 'hi')
  await settled(engine)
  t.equal(engine.submitted.length, 0)
  t.ok(bob.transport.paused)
  engine.holding.clear()
  engine.next().now()
  await settled(engine)
  t.strictSame(bob.kinds(), ['connack', 'puback'])
  t.notOk(bob.transport.paused)
})

await t.test('a refused or failed authentication', async t => {
  const { engine, access, client } = bench(t)
  const bob = client()
  t.equal((await bob.connect('nobody')).returnCode, 5)
  engine.holding.add('authenticate')
  const other = client()
  other.hello('bob')
  engine.next().fail(new Error('disk'))
  await settled(engine)
  t.ok(other.closed)
  t.equal(access.sessions.connections.size, 0)
})

await t.test('session present, and what is kept for how long', async t => {
  const { engine, client } = bench(t, { maxSessionExpirySeconds: 50 })
  const bob = client({ version: 5 })
  const connack = await bob.connect('bob', { clean: false, properties: { sessionExpiryInterval: 1000 } })
  t.match(connack, { sessionPresent: false, properties: { sessionExpiryInterval: 50 } })
  bob.send({ cmd: 'disconnect', reasonCode: 0, properties: { sessionExpiryInterval: 20 } })
  await settled(engine)
  t.match(engine.ends, [{ session: 'bob/phone', expirySeconds: 20, graceful: true }])
  const again = client({ version: 5 })
  t.equal((await again.connect('bob', { clean: false })).sessionPresent, true)
  again.send({ cmd: 'disconnect', reasonCode: 0, properties: { sessionExpiryInterval: 20 } })
  await settled(engine)
  t.match(again.packets.waiting, [{ cmd: 'disconnect', reasonCode: 0x82 }], '[MQTT-3.14.2-2]')
  const third = client()
  t.equal((await third.connect('bob', { clean: true })).sessionPresent, false)
})

await t.test('a chat will is published when the connection is lost, not after DISCONNECT', async t => {
  const will = { topic: 'im/to/u/alice', payload: Buffer.from('gone'), qos: 0 as const, retain: false }
  const { engine, client } = bench(t)
  const one = client()
  await one.connect('bob', { will })
  one.send({ cmd: 'disconnect' })
  await settled(engine)
  t.equal(engine.log('d:alice:bob').length, 0)
  const two = client()
  await two.connect('bob', { will })
  two.lose()
  await settled(engine)
  t.equal(engine.log('d:alice:bob').length, 1)
  const three = client({ version: 5 })
  const delayed = { ...will, properties: { willDelayInterval: 100 } }
  await three.connect('bob', { clean: false, will: delayed, properties: { sessionExpiryInterval: 100 } })
  three.lose()
  await settled(engine)
  const four = client()
  await four.connect('bob', { clean: false })
  t.equal(engine.log('d:alice:bob').length, 1, 'a delayed will is cancelled by the next connection')
})
