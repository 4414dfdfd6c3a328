/** Limits of connecting: how many, how large, how slow; and of keeping a connection. */
import { once } from 'node:events'
import { connect } from 'node:net'
import { pino } from 'pino'
import t from 'tap'
import { listenTcp } from '../../broker/gateway/listener/listeners.ts'
import { Sockets } from '../../broker/gateway/listener/sockets.ts'
import type { Acceptor, Transport } from '../../broker/gateway/listener/transport.ts'
import { FakeOrdinary } from '../support/fake-ordinary.ts'
import { within } from '../support/mailbox.ts'
import { bench, settled, wideLimits, type Bench } from '../support/memory-client.ts'

/** What the sweep does when `ms` have gone by since the last packet. */
function later ({ access }: Bench, ms: number): void {
  const now = access.clock.now + ms
  for (const connection of [...access.sessions.connections]) connection.sweep(now)
}

await t.test('connectionsPerUser, also when they all connect at once', async t => {
  const { engine, access, client } = bench(t, { connectionsPerUser: 3 })
  const clients = Array.from({ length: 8 }, () => client({ version: 5 }))
  for (const [i, one] of clients.entries()) one.hello('bob', { clientId: `c${i}` })
  await client().connect('carol')
  await settled(engine)
  const open = clients.filter(one => !one.closed)
  t.ok(open.length <= 3 && open.length > 0, `${open.length} are open`)
  t.match(clients.find(one => one.closed)?.packets.waiting, [{ cmd: 'connack', reasonCode: 0x97 }])
  t.equal(access.sessions.countOf('bob'), open.length)
  for (const one of open) one.lose()
  await settled(engine)
  t.equal(access.sessions.countOf('bob'), 0)
  for (let i = 0; i < 3; i++) t.equal((await client().connect('bob', { clientId: `d${i}` })).returnCode, 0)
  t.equal((await client().connect('bob', { clientId: 'd4' })).returnCode, 3)
  t.equal((await client().connect('bob', { clientId: 'd1' })).returnCode, 0, 'a takeover is no further connection')
})

await t.test('connectBytes, and packetBytes from then on', async t => {
  const { engine, client } = bench(t, { connectBytes: 200, packetBytes: 1000 })
  const large = client({ version: 5 })
  large.hello('bob', { properties: { userProperties: { a: 'x'.repeat(200) } } })
  await settled(engine)
  t.ok(large.closed)
  t.equal(engine.live.size, 0)
  const bob = client({ version: 5 })
  t.match(await bob.connect('bob'), { properties: { maximumPacketSize: 1000 } })
  bob.publish('im/to/u/alice', 'x'.repeat(900))
  await settled(engine)
  t.strictSame(bob.kinds(), ['puback'])
  bob.publish('im/to/u/alice', 'x'.repeat(1000))
  await settled(engine)
  t.match(bob.packets.waiting, [{ cmd: 'disconnect', reasonCode: 0x95 }])
  t.ok(bob.closed)
})

await t.test('clientIdBytes', async t => {
  const { engine, client } = bench(t, { clientIdBytes: 10 })
  t.equal((await client().connect('bob', { clientId: 'x'.repeat(10) })).returnCode, 0)
  const long = client()
  t.equal((await long.connect('bob', { clientId: 'x'.repeat(11) })).returnCode, 2)
  await settled(engine)
  t.ok(long.closed)
})

await t.test('connectTimeoutMs: from the accepted socket to the CONNACK', async t => {
  const one = bench(t, { connectTimeoutMs: 1000 })
  const [silent, slow, done] = [one.client(), one.client(), one.client()]
  await done.connect('carol')
  one.engine.holding.add('authenticate')
  slow.hello('bob')
  later(one, 900)
  t.strictSame([silent.closed, slow.closed], [false, false])
  later(one, 1100)
  t.strictSame([silent.closed, slow.closed, done.closed], [true, true, false])
})

await t.test('keep alive: one and a half times, counted from the last packet', async t => {
  const one = bench(t)
  const [bob, carol, eve] = [one.client({ version: 5 }), one.client(), one.client()]
  await bob.connect('bob', { keepalive: 10 })
  await carol.connect('carol', { keepalive: 20 })
  await eve.connect('eve', { keepalive: 0 })
  later(one, 14_900)
  t.notOk(bob.closed)
  later(one, 15_100)
  await settled(one.engine)
  t.match(bob.packets.waiting, [{ cmd: 'disconnect', reasonCode: 0x8d }])
  t.ok(bob.closed)
  t.notOk(carol.closed)
  later(one, 1e9)
  t.ok(carol.closed)
  t.notOk(eve.closed, '0 is off')
})

await t.test('keep alive: the time of a packet is its own, not that of the last sweep', async t => {
  const { access, client } = bench(t)
  const bob = client()
  await bob.connect('bob', { keepalive: 1 })
  // Time goes by, and nothing but the packet itself reads the clock.
  const clockBefore = access.clock.now
  const until = performance.now() + 20
  while (performance.now() < until);
  bob.send({ cmd: 'pingreq' })
  t.ok(access.clock.now >= clockBefore + 20)
})

await t.test('keepAliveMaxSeconds: told to MQTT 5 clients and held to', async t => {
  const one = bench(t, { keepAliveMaxSeconds: 20 })
  const [off, long, short, old] = [one.client({ version: 5 }), one.client({ version: 5 }), one.client({ version: 5 }), one.client()]
  t.match(await off.connect('a', { keepalive: 0 }), { properties: { serverKeepAlive: 20 } })
  t.match(await long.connect('b', { keepalive: 100 }), { properties: { serverKeepAlive: 20 } })
  t.equal((await short.connect('c', { keepalive: 19 })).properties?.serverKeepAlive, undefined)
  await old.connect('d', { keepalive: 100 })
  later(one, 30_100)
  t.strictSame([off.closed, long.closed, short.closed, old.closed], [true, true, true, false])
})

await t.test('a connection that the server holds is not blamed for its silence', async t => {
  const one = bench(t)
  const bob = one.client()
  await bob.connect('bob', { keepalive: 1 })
  one.engine.holding.add('isMember')
  bob.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'im/g/dev', qos: 1 }] })
  later(one, 60_000)
  t.notOk(bob.closed)
})

await t.test('a closed connection whose peer reads nothing does not keep its socket', async t => {
  let accepted = (_transport: Transport): void => {}
  const coming = new Promise<Transport>(resolve => { accepted = resolve })
  const sockets = new Sockets({ connections: 10, connectionsPerAddress: 10 }, () => {})
  const acceptor: Acceptor = { accept: accepted, sockets, limits: { ...wideLimits, stallTimeoutMs: 100 }, log: pino({ level: 'silent' }) }
  const listening = await listenTcp(acceptor, { host: '127.0.0.1', port: 0 })
  const socket = connect({ host: '127.0.0.1', port: listening.port })
  socket.on('error', () => { /* the server resets it */ })
  t.teardown(async () => {
    socket.destroy()
    await listening.close()
  })
  await once(socket, 'connect')
  socket.pause()
  const transport = await coming
  const closed = new Promise<void>(resolve => { transport.attach({ onData: () => {}, onDrain: () => {}, onClose: resolve }) })
  for (let i = 0; i < 64; i++) transport.write(Buffer.alloc(1_000_000))
  t.ok(transport.unsentBytes > 1_000_000, 'the kernel does not take it all')
  transport.end()
  await within(closed, 5000, 'the end of the socket')
  t.pass('its socket is gone')
})

await t.test('opening: so many sessions are opened at a time, the others in the order of their coming', async t => {
  const { engine, client } = bench(t, { opening: 2 })
  engine.holding.add('openSession')
  const clients = ['alice', 'bob', 'carol', 'dave', 'erin'].map(user => {
    const one = client()
    one.hello(user)
    return one
  })
  await settled(engine)
  const waiting = (): string[] => engine.held.map(({ query }) => (query as { user: string }).user)
  t.strictSame(waiting(), ['alice', 'bob'])
  // Who has gone meanwhile takes no place.
  clients[2]?.transport.lost()
  await settled(engine)
  engine.next().now()
  await settled(engine)
  t.strictSame(waiting(), ['bob', 'dave'])
  engine.next().fail(new Error('the store is away'))
  await settled(engine)
  t.strictSame(waiting(), ['dave', 'erin'], 'a place is free after a failure, too')
  while (engine.held.length > 0) {
    engine.next().now()
    await settled(engine)
  }
  t.strictSame(clients.map(one => one.packets.waiting.flatMap(packet => packet.cmd === 'connack' ? [packet.returnCode] : [])), [[0], [3], [], [0], [0]])
})

await t.test('opening: a session that is open waits for what else it needs in nobody\'s place', async t => {
  const ordinary = new FakeOrdinary()
  const { engine, client } = bench(t, { opening: 1 }, ordinary, ['open/#'])
  let forgotten = (): void => {}
  ordinary.forgetting = new Promise(resolve => { forgotten = resolve })
  const [alice, bob] = [client(), client()]
  alice.hello('alice')
  await settled(engine)
  t.strictSame(ordinary.forgotten, ['alice/phone'], 'ordinary topics take their time')
  ordinary.forgetting = Promise.resolve()
  bob.hello('bob')
  await settled(engine)
  t.strictSame([alice, bob].map(one => one.kinds().includes('connack')), [false, true])
  forgotten()
  await settled(engine)
  t.ok(alice.kinds().includes('connack'))
})
