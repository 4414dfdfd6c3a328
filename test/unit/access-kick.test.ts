/** Whoever is banned, removed or given a new password is out, however far the connecting has come. */
import t from 'tap'
import { bench, settled } from '../support/memory-client.ts'

await t.test('connections that wait for their password are refused when it was right', async t => {
  for (const [code, v5, v4] of [['banned', 0x8a, 5], ['unauthorized', 0x87, 5], ['not_found', 0x87, 5]] as const) {
    const { engine, access, client } = bench(t)
    engine.holding.add('authenticate')
    const waiting = Array.from({ length: 81 }, (_, at) => client({ version: at % 2 === 0 ? 5 : 4 }))
    const other = client({ version: 5 })
    for (const [at, one] of waiting.entries()) one.hello('bob', { clientId: `c${at}` })
    other.hello('carol')
    await settled(engine)
    engine.output([{ kind: 'kick', user: 'bob', code }])
    engine.holding.clear()
    while (engine.held.length > 0) engine.next().now()
    await settled(engine)
    t.equal(access.sessions.countOf('bob'), 0, 'nobody is in')
    t.strictSame([...access.sessions.connected.keys()], ['carol/phone'], 'but the others')
    for (const [at, one] of waiting.entries()) {
      t.match(one.packets.waiting, [at % 2 === 0 ? { cmd: 'connack', reasonCode: v5 } : { cmd: 'connack', returnCode: v4 }])
      t.ok(one.closed)
    }
    t.equal(engine.live.size, 1)
  }
})

await t.test('the kick between the answer and the entry', async t => {
  const { engine, access, client } = bench(t)
  engine.holding.add('authenticate')
  const bob = client({ version: 5 })
  bob.hello('bob')
  await settled(engine)
  engine.next().now()
  // In the same turn: the promise of the answer is resolved, and nobody has looked at it.
  engine.output([{ kind: 'kick', user: 'bob', code: 'banned' }])
  await settled(engine)
  t.match(bob.packets.waiting, [{ cmd: 'connack', reasonCode: 0x8a }])
  t.equal(access.sessions.connected.size, 0)
})

await t.test('a wrong password is told nothing of it', async t => {
  const { Refusal } = await import('../../broker/errors.ts')
  const { engine, client } = bench(t)
  engine.holding.add('authenticate')
  const bob = client({ version: 5 })
  bob.hello('bob')
  await settled(engine)
  engine.output([{ kind: 'kick', user: 'bob', code: 'banned' }])
  engine.next().fail(new Refusal('unauthorized'))
  await settled(engine)
  t.match(bob.packets.waiting, [{ cmd: 'connack', reasonCode: 0x87 }])
})

await t.test('connections that wait for their session, or for their turn', async t => {
  const { engine, access, client } = bench(t)
  engine.holding.add('openSession')
  const same = Array.from({ length: 5 }, () => client())
  const another = client()
  for (const one of same) one.hello('bob', { clean: false })
  another.hello('bob', { clean: false, clientId: 'tablet' })
  await settled(engine)
  engine.output([{ kind: 'kick', user: 'bob', code: 'banned' }])
  engine.holding.clear()
  while (engine.held.length > 0) engine.next().now()
  await settled(engine)
  t.strictSame([...same, another].map(one => one.closed), Array(6).fill(true))
  t.equal(access.sessions.connected.size, 0)
  t.equal(access.sessions.connections.size, 0)
  t.equal(engine.live.size, 0, 'the engine knows')
})

await t.test('a session that goes on at another server: told why it ends, and its will is sent', async t => {
  const { engine, access, client } = bench(t)
  const [five, four, other] = [client({ version: 5 }), client(), client({ version: 5 })]
  await five.connect('bob', { clean: false, will: { topic: 'im/to/u/carol', payload: Buffer.from('gone'), qos: 1, retain: false } })
  await four.connect('bob', { clean: false, clientId: 'tv' })
  await other.connect('bob', { clean: false, clientId: 'pad' })
  engine.output([{ kind: 'kick', user: 'bob', session: 'bob/phone', code: 'taken_over' }, { kind: 'kick', user: 'bob', session: 'bob/tv', code: 'taken_over' }, { kind: 'kick', user: 'bob', code: 'taken_over' }])
  await settled(engine)
  t.match(five.packets.waiting, [{ cmd: 'disconnect', reasonCode: 0x8e }])
  t.match(four.packets.waiting, [], 'before MQTT 5 nothing can be said')
  t.strictSame([five.closed, four.closed, other.closed], [true, true, false])
  t.strictSame([...access.sessions.connected.keys()], ['bob/pad'])
  t.match(engine.ends, [{ session: 'bob/phone', graceful: false }, { session: 'bob/tv', graceful: false }])
  t.match(engine.logs.get('d:bob:carol')?.map(({ payload }) => JSON.parse(Buffer.from(payload).toString())), [{ body: 'gone' }])
})

await t.test('before its CONNACK too', async t => {
  const { engine, access, client } = bench(t)
  engine.holding.add('openSession')
  const bob = client({ version: 5 })
  bob.hello('bob', { clean: false })
  await settled(engine)
  engine.next().now()
  await new Promise(resolve => setImmediate(resolve))
  engine.output([{ kind: 'kick', user: 'bob', session: 'bob/phone', code: 'taken_over' }])
  await settled(engine)
  t.ok(bob.closed)
  t.equal(access.sessions.connected.size, 0)
  t.equal(engine.live.size, 0, 'the engine knows')
})
