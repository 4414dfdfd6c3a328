/** Limits of an open connection: what it may subscribe to, send, leave open, and leave unread. */
import t from 'tap'
import { bench, settled } from '../support/memory-client.ts'
import { FakeOrdinary } from '../support/fake-ordinary.ts'

await t.test('subscriptionsPerSession: chat and ordinary filters together', async t => {
  const ordinary = new FakeOrdinary()
  const { client } = bench(t, { subscriptionsPerSession: 4 }, ordinary, ['open/#'])
  const bob = client({ version: 5 })
  await bob.connect('bob')
  t.strictSame(await bob.subscribe(['im/u/bob/inbox', 'open/1']), [1, 1])
  t.strictSame(await bob.subscribe(['open/2', 'open/3', 'open/4', 'im/u/bob/event']), [1, 1, 0x97, 0x97], 'those of one packet count')
  t.strictSame(await bob.subscribe(['open/1', 'im/u/bob/inbox']), [1, 1], 'what it has may be renewed')
  await bob.unsubscribe('open/1')
  t.strictSame(await bob.subscribe(['im/u/bob/event', 'im/u/bob/notice']), [1, 0x97])
  const old = client()
  await old.connect('carol')
  await old.subscribe(['open/1', 'open/2', 'open/3', 'open/4'])
  t.strictSame(await old.subscribe('open/5'), [0x80])
})

await t.test('more filters in one packet than a session may have', async t => {
  const { engine, client } = bench(t, { subscriptionsPerSession: 2 })
  const bob = client({ version: 5 })
  await bob.connect('bob')
  bob.send({ cmd: 'subscribe', messageId: 1, subscriptions: ['inbox', 'event', 'notice'].map(leaf => ({ topic: `im/u/bob/${leaf}`, qos: 1 as const })) })
  await settled(engine)
  t.match(bob.packets.waiting, [{ cmd: 'disconnect', reasonCode: 0x97 }])
})

await t.test('topicBytes and topicLevels', async t => {
  for (const topic of ['im/' + 'x'.repeat(60), 'a/b/c/d/e/f']) {
    const { engine, client } = bench(t, { topicBytes: 50, topicLevels: 5 })
    const bob = client({ version: 5 })
    await bob.connect('bob')
    bob.publish('im/to/u/alice', 'x')
    await settled(engine)
    bob.publish(topic, 'x')
    await settled(engine)
    t.strictSame(bob.kinds(), ['puback', 'disconnect'])
    const carol = client()
    await carol.connect('carol')
    carol.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic, qos: 0 }] })
    await settled(engine)
    t.ok(carol.closed)
  }
})

await t.test('pendingPublishes: the socket is not read until half of them are answered', async t => {
  const { engine, client } = bench(t, { pendingPublishes: 10 })
  const bob = client()
  await bob.connect('bob')
  engine.holdSubmissions = true
  for (let i = 0; i < 100; i++) bob.publish('im/to/u/alice', `${i}`)
  await settled(engine)
  t.equal(engine.submitted.length, 10)
  t.ok(bob.transport.paused)
  engine.answer(4)
  await settled(engine)
  t.equal(engine.submitted.length, 6)
  engine.answer(1)
  await settled(engine)
  t.equal(engine.submitted.length, 10)
  while (engine.submitted.length > 0) {
    engine.answer()
    await settled(engine)
  }
  t.equal(engine.log('d:alice:bob').length, 100)
  t.strictSame(engine.log('d:alice:bob').map(one => (JSON.parse(Buffer.from(one.payload).toString()) as { body: string }).body), Array.from({ length: 100 }, (_, i) => `${i}`))
  t.equal(bob.packets.waiting.length, 100)
  t.notOk(bob.transport.paused)
})

await t.test('pendingPublishes is the Receive Maximum that MQTT 5 clients are told', async t => {
  const { client } = bench(t, { pendingPublishes: 10 })
  t.match(await client({ version: 5 }).connect('bob'), { properties: { receiveMaximum: 10 } })
})

await t.test('the Receive Maximum counts unfinished QoS 2 and unanswered QoS 1 together, and one more ends the connection', async t => {
  for (const limits of [{ pendingQos2: 3 }, { pendingPublishes: 3 }]) {
    for (const last of [1, 2] as const) {
      const { engine, client } = bench(t, limits)
      const bob = client({ version: 5 })
      t.match(await bob.connect('bob'), { properties: { receiveMaximum: 3 } })
      for (let id = 1; id <= 3; id++) bob.publish('im/to/u/alice', 'x', 2, id)
      await settled(engine)
      bob.send({ cmd: 'pubrel', messageId: 1 })
      bob.publish('im/to/u/alice', 'x', last, 4)
      await settled(engine)
      if (last === 1) bob.publish('im/to/u/alice', 'x', 1, 4)
      await settled(engine)
      bob.kinds()
      bob.send({ cmd: 'publish', topic: 'im/to/u/alice', payload: 'x', qos: 2, messageId: 2, dup: true, retain: false })
      await settled(engine)
      t.strictSame(bob.kinds(), ['pubrec'], 'one that comes again does not count again')
      if (last === 1) bob.publish('im/to/u/alice', 'x', 2, 6)
      bob.publish('im/to/u/alice', 'x', last, 5)
      await settled(engine)
      t.match(bob.packets.waiting.at(-1), { cmd: 'disconnect', reasonCode: 0x93 })
      t.ok(bob.closed)
    }
  }
})

await t.test('pendingQos2: a 3.1.1 client is refused one more unfinished exchange, and goes on', async t => {
  const { engine, client } = bench(t, { pendingQos2: 3 })
  const bob = client()
  await bob.connect('bob')
  for (let id = 1; id <= 4; id++) bob.publish('im/to/u/alice', 'x', 2, id)
  await settled(engine)
  t.strictSame(bob.kinds(), ['pubrec', 'pubrec', 'pubrec', 'publish', 'pubrec'], 'with a notice')
  t.equal(engine.log('d:alice:bob').length, 3)
  for (let id = 1; id <= 4; id++) bob.send({ cmd: 'pubrel', messageId: id })
  bob.publish('im/to/u/alice', 'x', 2, 4)
  await settled(engine)
  t.strictSame(bob.kinds(), ['pubcomp', 'pubcomp', 'pubcomp', 'pubcomp', 'pubrec'])
  t.equal(engine.log('d:alice:bob').length, 4)
})

await t.test('packetsPerSecond and bytesPerSecond', async t => {
  for (const limits of [{ packetsPerSecond: 10 }, { bytesPerSecond: 1000 }]) {
    const { engine, access, client } = bench(t, limits)
    const bob = client({ version: 5 })
    await bob.connect('bob')
    const sweep = (): void => { for (const connection of [...access.sessions.connections]) connection.sweep(access.clock.now) }
    sweep()
    for (let second = 0; second < 3; second++) {
      for (let i = 0; i < 9; i++) bob.publish('im/to/u/alice', 'x'.repeat(80))
      sweep()
    }
    t.notOk(bob.closed, 'within the limit')
    for (let i = 0; i < 11; i++) bob.publish('im/to/u/alice', 'x'.repeat(80))
    sweep()
    await settled(engine)
    t.match(bob.packets.waiting.at(-1), { cmd: 'disconnect', reasonCode: 0x96 })
    t.ok(bob.closed)
  }
})

await t.test('outputBytes: a client that does not read its answers is not read from', async t => {
  const { engine, client } = bench(t, { outputBytes: 10_000 })
  const bob = client()
  await bob.connect('bob')
  bob.transport.slow = true
  bob.publish('im/rpc/sync', '20000')
  await settled(engine)
  bob.publish('im/rpc/sync', '20000')
  await settled(engine)
  t.ok(bob.transport.paused)
  t.ok(bob.transport.unsentBytes < 50_000)
  bob.transport.slow = false
  bob.transport.drain()
  await settled(engine)
  t.notOk(bob.transport.paused)
})

await t.test('stallTimeoutMs: cut off when no byte is taken, and nothing is lost', async t => {
  const { engine, access, client } = bench(t, { stallTimeoutMs: 5000 })
  const bob = client()
  await bob.connect('bob', { clean: false })
  await bob.subscribe('im/u/bob/inbox')
  await settled(engine)
  bob.transport.slow = true
  for (let i = 0; i < 100; i++) engine.commit('d:alice:bob', 'alice', 'x'.repeat(5000))
  await settled(engine)
  t.ok(bob.transport.unsentBytes < 200_000, 'what waits for it is bounded')
  const sweep = (ms: number): void => { for (const connection of [...access.sessions.connections]) connection.sweep(access.clock.now + ms) }
  sweep(0)
  sweep(4900)
  t.notOk(bob.closed)
  bob.transport.unsentBytes -= 10
  sweep(5100)
  sweep(10_000)
  t.notOk(bob.closed, 'a slow reader is none that stalls')
  sweep(10_200)
  t.ok(bob.transport.destroyed)
  await settled(engine)
  const again = client()
  t.equal((await again.connect('bob', { clean: false })).sessionPresent, true)
  const seen: number[] = []
  for (let i = 0; i < 100 && seen.length < 100; i++) {
    await settled(engine)
    for (const one of again.take()) {
      seen.push((JSON.parse(one.payload.toString()) as { seq: number }).seq)
      again.ack(one)
    }
  }
  t.strictSame(seen, Array.from({ length: 100 }, (_, i) => i + 1))
})

await t.test('a client that is idle has nothing to take', async t => {
  const { access, client } = bench(t, { stallTimeoutMs: 5000 })
  const bob = client()
  await bob.connect('bob')
  for (const connection of access.sessions.connections) {
    connection.sweep(access.clock.now + 1e6)
    connection.sweep(access.clock.now + 2e6)
  }
  t.notOk(bob.closed)
})

await t.test('inflight: no more than that are unacknowledged', async t => {
  const { engine, client } = bench(t, { inflight: 7 })
  const [bob, small] = [client(), client({ version: 5 })]
  await bob.connect('bob', { clientId: 'a' })
  await small.connect('bob', { clientId: 'b', properties: { receiveMaximum: 3 } })
  for (const one of [bob, small]) await one.subscribe('im/u/bob/inbox')
  await settled(engine)
  for (let i = 0; i < 30; i++) engine.commit('d:alice:bob', 'alice')
  await settled(engine)
  t.equal(bob.take().length, 7)
  t.equal(small.take().length, 3, 'Receive Maximum')
})

await t.test('sessionExpirySeconds and maxSessionExpirySeconds', async t => {
  const { engine, client } = bench(t, { sessionExpirySeconds: 77, maxSessionExpirySeconds: 88 })
  const [old, clean, long] = [client(), client(), client({ version: 5 })]
  await old.connect('a', { clean: false })
  await clean.connect('b', { clean: true })
  t.match(await long.connect('c', { clean: false, properties: { sessionExpiryInterval: 0xffffffff } }), { properties: { sessionExpiryInterval: 88 } })
  for (const one of [old, clean, long]) one.lose()
  await settled(engine)
  t.strictSame(engine.ends.map(end => end.expirySeconds), [77, 0, 88])
})
