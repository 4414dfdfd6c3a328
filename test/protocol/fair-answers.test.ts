/** What requests and publishes of one client may hold of the server's memory. In the fake engine a payload is its answer's size. */
import t from 'tap'
import { until } from '../support/mailbox.ts'
import { bench, settled, type MemoryClient } from '../support/memory-client.ts'
import { reservedBytes } from '../../broker/gateway/connection/answers.ts'

const answers = (client: MemoryClient): number => client.take().filter(one => one.topic.includes('/rpc/')).length

await t.test('pendingRequests: the engine has so many of a connection, the others wait in the socket', async t => {
  const { engine, client } = bench(t, { pendingRequests: 3 })
  const bob = client()
  await bob.connect('bob')
  engine.holdSubmissions = true
  for (let i = 0; i < 10; i++) bob.publish('im/rpc/unread', '5')
  bob.publish('im/to/u/alice', 'behind them')
  await settled(engine)
  t.equal(engine.submitted.length, 3)
  t.ok(bob.transport.paused)
  engine.answer(1)
  await settled(engine)
  t.equal(engine.submitted.length, 3)
  while (engine.submitted.length > 0) {
    engine.answer()
    await settled(engine)
  }
  t.equal(answers(bob), 10)
  t.equal(engine.log('d:alice:bob').length, 1)
  t.notOk(bob.transport.paused)
})

await t.test('a request is not served while the client does not take the answers to the earlier ones', async t => {
  const { engine, client } = bench(t, { pendingRequests: 1, outputBytes: 100_000 })
  const bob = client()
  await bob.connect('bob')
  bob.transport.slow = true
  for (let i = 0; i < 50; i++) bob.publish('im/rpc/unread', '60000')
  await settled(engine)
  t.equal(engine.submitted.length, 0)
  t.ok(bob.transport.unsentBytes < 200_000, `${bob.transport.unsentBytes} bytes wait`)
  bob.transport.slow = false
  bob.transport.drain()
  while (bob.transport.paused) await settled(engine)
  await settled(engine)
  t.equal(answers(bob), 50, 'all are answered when it reads')
})

await t.test('answerBytesPerUser: all connections of a user together; others are served', async t => {
  const { access, engine, client } = bench(t, { pendingRequests: 2, answerBytesPerUser: 3 * reservedBytes })
  const phones = await Promise.all(Array.from({ length: 5 }, async (_, i) => {
    const phone = client()
    await phone.connect('bob', { clientId: `phone${i}` })
    phone.transport.slow = true
    return phone
  }))
  const alice = client()
  await alice.connect('alice')
  engine.holdSubmissions = true
  for (const phone of phones) for (let i = 0; i < 4; i++) phone.publish('im/rpc/unread', '500000')
  await settled(engine)
  t.equal(engine.submitted.length, 3, 'room for three answers')
  alice.publish('im/rpc/unread', '10')
  await settled(engine)
  t.equal(engine.submitted.length, 4)
  for (let i = 0; i < 20; i++) {
    engine.answer()
    await settled(engine)
  }
  const unread = phones.reduce((sum, phone) => sum + phone.transport.unsentBytes, 0)
  t.ok(unread < 3 * reservedBytes + 10_000, `${unread} bytes of answers wait`)
  t.equal(answers(alice), 1)
  engine.holdSubmissions = false
  for (let i = 0; i < 20; i++) {
    for (const phone of phones) phone.transport.drain()
    await settled(engine)
    engine.answer()
    await settled(engine)
  }
  t.equal(phones.reduce((sum, phone) => sum + answers(phone), 0), 20, 'all are answered when they read')
  t.equal(access.answerRoom.bytes, 0)
})

await t.test('answerBytes: all users together, in turn', async t => {
  const { engine, client } = bench(t, { pendingRequests: 10, answerBytes: 2 * reservedBytes })
  const [bob, carol] = [client(), client()]
  await bob.connect('bob')
  await carol.connect('carol')
  engine.holdSubmissions = true
  for (let i = 0; i < 6; i++) bob.publish('im/rpc/unread', '1')
  await settled(engine)
  for (let i = 0; i < 3; i++) carol.publish('im/rpc/unread', '1')
  await settled(engine)
  const order: string[] = []
  while (engine.submitted.length > 0) {
    t.ok(engine.submitted.length <= 2)
    order.push((engine.submitted[0] as { user: string }).user)
    engine.answer(1)
    await settled(engine)
  }
  t.equal(order.length, 9)
  t.ok(order.indexOf('carol') <= 3, order.join())
})

await t.test('room is given back when a connection ends, with what it asked and did not read', async t => {
  const { access, engine, client } = bench(t, { pendingRequests: 2, answerBytesPerUser: 2 * reservedBytes })
  const [bob, tablet] = [client(), client()]
  await bob.connect('bob')
  await tablet.connect('bob', { clientId: 'tablet' })
  bob.transport.slow = true
  bob.publish('im/rpc/unread', '500000')
  await settled(engine)
  engine.holdSubmissions = true
  bob.publish('im/rpc/unread', '5')
  bob.publish('im/rpc/unread', '5')
  tablet.publish('im/rpc/unread', '5')
  await settled(engine)
  t.equal(engine.submitted.length, 1)
  bob.lose()
  await settled(engine)
  t.equal(engine.submitted.length, 2, 'the other connection of the user is served')
  engine.answer()
  await settled(engine)
  t.equal(answers(tablet), 1)
  t.equal(access.answerRoom.bytes, 0)
})

await t.test('pendingBytes: the socket is not read while so much waits for its commit', async t => {
  const { engine, client } = bench(t, { pendingBytes: 100_000 })
  const bob = client()
  await bob.connect('bob')
  engine.holdSubmissions = true
  for (let i = 0; i < 40; i++) bob.publish('im/to/u/alice', 'x'.repeat(10_000))
  await settled(engine)
  t.equal(engine.submitted.length, 10)
  t.ok(bob.transport.paused)
  await until(async () => {
    if (engine.submitted.length > 0) engine.answer()
    await settled(engine)
    return engine.log('d:alice:bob').length >= 40
  }, 10_000, 'all that was sent')
  t.equal(engine.log('d:alice:bob').length, 40, 'nothing is lost, or comes twice')
})

await t.test('the engine hears that a connection has ended, after what was read of it', async t => {
  const { engine, client } = bench(t)
  const order: string[] = []
  const submit = engine.submit.bind(engine)
  const hangUp = engine.hangUp.bind(engine)
  engine.submit = batch => { order.push(...batch.map(one => `submit ${one.session}`)); submit(batch) }
  engine.hangUp = (session, graceful) => { order.push(`hangUp ${session} ${graceful}`); hangUp(session, graceful) }
  const [bob, carol] = [client(), client()]
  await bob.connect('bob')
  await carol.connect('carol')
  bob.publish('im/rpc/unread', '5')
  bob.send({ cmd: 'disconnect' })
  carol.publish('im/to/u/bob', 'x')
  carol.lose()
  await settled(engine)
  t.strictSame(order.filter(one => one.includes('bob')), ['submit bob/phone', 'hangUp bob/phone true'])
  t.strictSame(order.filter(one => one.includes('carol')), ['submit carol/phone', 'hangUp carol/phone false'])
})
