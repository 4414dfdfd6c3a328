/** Publishes, the order of their acknowledgements, and what stops the reading of a connection. */
import { setImmediate, setTimeout } from 'node:timers/promises'
import t from 'tap'
import { generate, type IPubackPacket, type Packet } from 'mqtt-packet'
import type { Connection } from '../../broker/gateway/connection/connection.ts'
import { bench, settled, type MemoryClient } from '../support/memory-client.ts'
import { FakeOrdinary } from '../support/fake-ordinary.ts'

const acks = (client: MemoryClient): number[] => client.packets.waiting.splice(0)
  .filter((one: Packet): one is IPubackPacket => one.cmd === 'puback').map(one => one.messageId as number)

await t.test('verdicts, refusals and answers come in the order of the publishes', async t => {
  const { engine, client } = bench(t)
  const bob = client({ version: 5 })
  await bob.connect('bob')
  engine.holdSubmissions = true
  bob.publish('im/to/u/alice', 'one', 1, 1)
  bob.publish('im/to/u/alice/no/such', 'two', 1, 2)
  bob.publish('im/to/u/alice', 'refuse', 1, 3)
  bob.publish('im/rpc/unread', '5', 1, 4)
  await settled(engine)
  t.strictSame(bob.packets.waiting, [])
  for (let i = 0; i < 4; i++) {
    engine.answer()
    await settled(engine)
  }
  t.match(bob.packets.waiting, [
    { cmd: 'puback', messageId: 1, properties: { userProperties: { id: 'm1', seq: '1' } } },
    { cmd: 'publish', topic: 'im/u/bob/notice' },
    { cmd: 'puback', messageId: 2, reasonCode: 0x87 },
    { cmd: 'publish', topic: 'im/u/bob/notice' },
    { cmd: 'puback', messageId: 3, reasonCode: 0x87 },
    { cmd: 'publish', topic: 'im/u/bob/rpc/1' },
    { cmd: 'puback', messageId: 4 }
  ])
})

await t.test('ordinary and chat publishes in turn', async t => {
  const ordinary = new FakeOrdinary()
  const { engine, client } = bench(t, {}, ordinary, ['open/#'])
  const bob = client()
  await bob.connect('bob')
  bob.publish('open/a', 'x', 1, 1)
  bob.publish('closed/a', 'x', 1, 2)
  bob.publish('im/to/u/alice', 'x', 1, 3)
  bob.publish('open/b', 'x', 1, 4)
  await settled(engine)
  t.strictSame(acks(bob), [], 'the refusal of the second waits for the first')
  const acknowledge = (messageId: number): void => {
    ordinary.peers[0]?.write(Buffer.from([0x40, 2, 0, messageId]))
    ordinary.peers[0]?.acknowledged(1)
  }
  acknowledge(1)
  await settled(engine)
  t.equal(ordinary.frames.length, 2)
  acknowledge(4)
  await settled(engine)
  t.strictSame(acks(bob), [1, 2, 3, 4])
  t.notOk(bob.transport.paused)
})

await t.test('ordinary publishes that Aedes has not acknowledged pause the reading too', async t => {
  const ordinary = new FakeOrdinary()
  const { engine, client } = bench(t, { pendingPublishes: 4 }, ordinary, ['open/#'])
  const bob = client()
  await bob.connect('bob')
  for (let i = 1; i <= 20; i++) bob.publish('open/a', 'x', 1, i)
  await settled(engine)
  t.equal(ordinary.frames.length, 4)
  t.ok(bob.transport.paused)
  for (let i = 0; i < 20; i++) {
    ordinary.peers[0]?.acknowledged(1)
    await settled(engine)
  }
  t.equal(ordinary.frames.length, 20)
  t.notOk(bob.transport.paused)
})

await t.test('QoS 2: submitted once, however often it is sent before its PUBREL', async t => {
  const { engine, client } = bench(t)
  const bob = client()
  await bob.connect('bob')
  engine.holdSubmissions = true
  const publish = (dup: boolean): void => { bob.send({ cmd: 'publish', topic: 'im/to/u/alice', payload: 'x', qos: 2, messageId: 5, dup, retain: false }) }
  publish(false)
  publish(true)
  await settled(engine)
  t.equal(engine.submitted.length, 1)
  engine.holdSubmissions = false
  engine.answer()
  publish(true)
  await settled(engine)
  bob.send({ cmd: 'pubrel', messageId: 5 })
  await settled(engine)
  t.strictSame(bob.kinds(), ['pubrec', 'pubrec', 'pubcomp'])
  t.equal(engine.log('d:alice:bob').length, 1)
  publish(false)
  await settled(engine)
  t.equal(engine.log('d:alice:bob').length, 2, 'the id is free after PUBREL')
})

await t.test('a failed commit closes the connection, acknowledges nothing and leaves nothing behind', async t => {
  const { engine, access, client } = bench(t)
  const bob = client({ version: 5 })
  await bob.connect('bob', { clean: false, properties: { sessionExpiryInterval: 10 } })
  engine.holdSubmissions = true
  bob.publish('im/to/u/alice', 'fail', 1, 1)
  await settled(engine)
  bob.publish('im/to/u/alice', 'later', 1, 2)
  engine.answer()
  await settled(engine)
  engine.answer()
  await settled(engine)
  t.strictSame(bob.kinds(), ['disconnect'])
  t.equal(access.pending.size, 0)
  t.match(engine.ends, [{ graceful: false }])
})

await t.test('a disconnect with unanswered publishes is not graceful for the engine', async t => {
  const { engine, access, client } = bench(t)
  const bob = client()
  await bob.connect('bob', { clean: false })
  engine.holdSubmissions = true
  bob.publish('im/to/u/alice', 'x')
  bob.send({ cmd: 'disconnect' })
  await settled(engine)
  engine.answer()
  await settled(engine)
  t.match(engine.ends, [{ graceful: false }])
  t.equal(access.pending.size, 0)
})

await t.test('a client that does not read is not read from, whatever it sends', async t => {
  for (const kind of ['pingreq', 'subscribe', 'refused'] as const) {
    const { engine, client } = bench(t, { outputBytes: 5000 })
    const bob = client()
    await bob.connect('bob')
    bob.transport.slow = true
    for (let i = 1; i <= 5000; i++) {
      if (kind === 'pingreq') bob.send({ cmd: 'pingreq' })
      else if (kind === 'subscribe') bob.send({ cmd: 'subscribe', messageId: i, subscriptions: [{ topic: 'im/server', qos: 0 }] })
      else bob.publish('im/to/nowhere', 'x', 1, i)
      if (i % 50 === 0) await settled(engine)
    }
    t.ok(bob.transport.unsentBytes < 20_000, `${kind}: ${bob.transport.unsentBytes} bytes wait`)
    t.ok(bob.transport.paused, kind)
    bob.transport.slow = false
    bob.transport.drain()
    bob.send({ cmd: 'unsubscribe', messageId: 1, unsubscriptions: ['last'] })
    t.ok(await bob.packets.take(one => one.cmd === 'unsuback', 5000, 'the end'), `${kind}: it goes on when the client reads`)
    await settled(engine)
    t.notOk(bob.transport.paused)
  }
})

await t.test('the description of the server: retain handling [MQTT-3.3.1-9] to [MQTT-3.3.1-11] of MQTT 5', async t => {
  const { engine, client } = bench(t)
  const bob = client({ version: 5 })
  await bob.connect('bob')
  let messageId = 0
  const subscribe = async (rh: number): Promise<number> => {
    bob.send({ cmd: 'subscribe', messageId: ++messageId, subscriptions: [{ topic: 'im/server', qos: 0, rh }] })
    await settled(engine)
    return bob.take().length
  }
  t.equal(await subscribe(1), 1, '1: when the subscription is new')
  t.equal(await subscribe(1), 0)
  t.equal(await subscribe(0), 1, '0: always')
  t.equal(await subscribe(2), 0, '2: never')
})

await t.test('what a client sent at QoS 0 before it left is taken in, its DISCONNECT too', async t => {
  const { engine, access, client } = bench(t)
  const bob = client()
  await bob.connect('bob', { will: { topic: 'im/to/u/alice', payload: Buffer.from('gone'), qos: 0, retain: false } })
  const packets = Array.from({ length: 1000 }, (_, i) => generate({ cmd: 'publish', topic: 'im/to/u/alice', payload: String(i), qos: 0, dup: false, retain: false }))
  bob.write(Buffer.concat([...packets, generate({ cmd: 'disconnect' })]))
  bob.lose()
  while (access.sessions.connections.size > 0) await settled(engine)
  await settled(engine)
  t.same(engine.log('d:alice:bob').length, 1000, 'all of it, and no will')
})

await t.test('a session that waits for its rate is not read by its next connection either', async t => {
  const { engine, client } = bench(t)
  const bob = client()
  await bob.connect('bob', { clientId: 'phone' })
  engine.holdSubmissions = true
  bob.publish('im/to/u/alice', 'one', 1, 1)
  await settled(engine)
  engine.hold('bob/phone', true)
  t.ok(bob.transport.paused)
  bob.lose()
  await settled(engine)
  const again = client()
  await again.connect('bob', { clientId: 'phone' })
  again.publish('im/to/u/alice', 'two', 1, 1)
  await settled(engine)
  t.equal(engine.submitted.length, 1, 'or each reconnect would bring as much as a connection may have waiting')
  engine.hold('bob/phone', false)
  await settled(engine)
  t.equal(engine.submitted.length, 2)
})

await t.test('keep alive counts from the end of a hold: what the client said meanwhile is not read yet', async t => {
  const { access, engine, client } = bench(t)
  const bob = client()
  await bob.connect('bob', { clientId: 'phone' })
  const connection = [...access.sessions.connections][0] as Connection
  connection.keepAliveMs = 200
  engine.hold('bob/phone', true)
  await setTimeout(400)
  engine.hold('bob/phone', false)
  connection.sweep(access.clock.refresh())
  t.notOk(connection.isClosed)
})

await t.test('beyond its allowance a connection does small slices, and larger ones while nobody else waits for a turn', async t => {
  const { access, engine, client } = bench(t, { pendingPublishes: 10_000 })
  const burst = Buffer.concat(Array.from({ length: 1000 }, () => generate({ cmd: 'publish', topic: 'im/to/u/alice', payload: 'x', qos: 0, dup: false, retain: false })))
  engine.holdSubmissions = true
  const turn = async (): Promise<number> => {
    const before = access.pending.size
    await setImmediate()
    return access.pending.size - before
  }
  const bob = client()
  await bob.connect('bob')
  bob.write(burst)
  const alone = await turn()
  const carol = client()
  carol.hello('carol')
  await settled(engine)
  while (access.turns.size > 0) await turn()
  await turn()
  for (const one of [bob, carol]) one.write(burst)
  t.equal(access.turns.size, 2)
  const both = await turn()
  t.ok(both > 0 && both <= alone / 2, `${alone} alone, ${both} of two together`)
})
