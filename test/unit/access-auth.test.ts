/** Enhanced authentication (MQTT 5.0, section 4.12), step by step: a method of two messages, whatever is in them. */
import type { IAuthPacket, IConnectPacket, Packet } from 'mqtt-packet'
import t from 'tap'
import { Refusal } from '../../broker/errors.ts'
import { bench, settled, type Bench, type MemoryClient } from '../support/memory-client.ts'

const authenticationMethod = 'TEST'
const auth = (reasonCode: number, data: string, method = authenticationMethod): Packet =>
  ({ cmd: 'auth', reasonCode, properties: { authenticationMethod: method, authenticationData: Buffer.from(data) } })
const connecting = (user: string): Partial<IConnectPacket> => ({ properties: { authenticationMethod, authenticationData: Buffer.from(user) } })

/** What came, and was not taken. */
const told = (client: MemoryClient): unknown[] => client.packets.waiting.splice(0).map(packet => {
  const { cmd, reasonCode, properties } = packet as IAuthPacket
  return [cmd, reasonCode, properties?.authenticationData?.toString()]
})
/** An MQTT 5 client that is let in as `user`. */
async function proven ({ engine, client }: Bench, user: string): Promise<MemoryClient> {
  const one = client({ version: 5 })
  one.send({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 5, clientId: 'phone', clean: true, keepalive: 0, ...connecting(user) })
  await settled(engine)
  one.send(auth(0x18, 'proof'))
  await settled(engine)
  return one
}
/** The clock of the gateway reads this much later. */
const later = ({ access }: Bench, ms: number): void => { access.sessions.sweep(access.clock.refresh() + ms) }

await t.test('CONNECT, AUTH, AUTH, CONNACK', async t => {
  const one = bench(t)
  const { engine, access, client } = one
  const bob = client({ version: 5 })
  bob.send({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 5, clientId: 'phone', clean: true, keepalive: 0, ...connecting('bob') })
  await settled(engine)
  const [challenge] = bob.packets.waiting.splice(0)
  t.match(challenge, { cmd: 'auth', reasonCode: 0x18, properties: { authenticationMethod, authenticationData: Buffer.from('prove it') } }, '[MQTT-4.12.0-2]')
  t.equal(access.sessions.countOf('bob'), 0)
  bob.send(auth(0x18, 'proof'))
  await settled(engine)
  const [connack] = bob.packets.waiting.splice(0)
  t.match(connack, { cmd: 'connack', reasonCode: 0, properties: { authenticationMethod, authenticationData: Buffer.from('it is proven') } }, '[MQTT-4.12.0-5]')
  t.strictSame([...access.sessions.connected.keys()], ['bob/phone'])
  bob.send({ cmd: 'pingreq' })
  await settled(engine)
  t.strictSame(bob.kinds(), ['pingresp'])
})

await t.test('what comes in one piece with its AUTH is served in its order', async t => {
  const { engine, client } = bench(t)
  const bob = client({ version: 5 })
  bob.send({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 5, clientId: 'phone', clean: true, keepalive: 0, ...connecting('bob') })
  // Before anything was asked: it is read when it is its turn.
  bob.send(auth(0x18, 'proof'))
  bob.send({ cmd: 'pingreq' })
  await settled(engine)
  t.strictSame(bob.kinds(), ['auth', 'connack', 'pingresp'])
})

await t.test('who does not prove it, or breaks the protocol, is not let in', async t => {
  for (const [name, packet, code] of [
    ['a wrong proof', auth(0x18, 'wrong'), 0x87],
    ['another method', auth(0x18, 'proof', 'OTHER'), 0x82],
    ['a re-authentication', auth(0x19, 'proof'), 0x82],
    ['another packet', { cmd: 'pingreq' } as Packet, 0x82],
    ['a publish', { cmd: 'publish', topic: 'im/to/u/eve', payload: 'x', qos: 0, dup: false, retain: false } as Packet, 0x82]
  ] as const) {
    const { engine, access, client } = bench(t)
    const bob = client({ version: 5 })
    bob.hello('bob', connecting('bob'))
    await settled(engine)
    told(bob)
    bob.send(packet)
    await settled(engine)
    t.match(bob.packets.waiting, [{ cmd: 'connack', reasonCode: code }], name)
    t.ok(bob.closed, name)
    t.strictSame([access.sessions.connections.size, access.sessions.connected.size, engine.live.size], [0, 0, 0])
  }
})

await t.test('the user name of CONNECT is that of the exchange, if there is one', async t => {
  const { engine, client } = bench(t)
  const bob = client({ version: 5 })
  bob.hello('eve', connecting('bob'))
  await settled(engine)
  t.strictSame(told(bob), [['connack', 0x87, undefined]])
  t.ok(bob.closed)
})

await t.test('a method that is not offered, and versions without any', async t => {
  const { engine, client } = bench(t)
  const bob = client({ version: 5 })
  bob.hello('bob', { properties: { authenticationMethod: 'test', authenticationData: Buffer.from('bob') } })
  await settled(engine)
  t.strictSame(told(bob), [['connack', 0x8c, undefined]])
  for (const version of [4, 5] as const) {
    const old = client({ version })
    await old.connect('bob')
    old.write(Buffer.from([0xf0, 0]))
    await settled(engine)
    t.ok(old.closed, `version ${version}`)
    t.strictSame(told(old), version === 5 ? [['disconnect', 0x82, undefined]] : [])
  }
})

await t.test('gone, or goodbye, at each step', async t => {
  for (const how of ['lose', 'leave', 'late'] as const) {
    const one = bench(t)
    const { engine, access, client } = one
    const bob = client({ version: 5 })
    bob.hello('bob', { ...connecting('bob'), will: { topic: 'im/to/u/eve', payload: Buffer.from('w'), qos: 0, retain: false } })
    await settled(engine)
    if (how === 'lose') bob.lose()
    else if (how === 'leave') bob.leave()
    else later(one, 5001)
    await settled(engine)
    t.ok(bob.closed, how)
    t.strictSame([access.sessions.connections.size, access.sessions.connected.size, engine.live.size, engine.submitted.length], [0, 0, 0, 0])
  }
  for (const message of [1, 2]) {
    const { engine, access, client } = bench(t)
    const bob = client({ version: 5 })
    if (message === 1) engine.holding.add('authenticateStep')
    bob.hello('bob', connecting('bob'))
    await settled(engine)
    engine.holding.add('authenticateStep')
    if (message === 2) bob.send(auth(0x18, 'proof'))
    await settled(engine)
    bob.lose()
    await settled(engine)
    engine.next().now()
    await settled(engine)
    t.strictSame([access.sessions.connections.size, access.sessions.connected.size, engine.live.size], [0, 0, 0], `gone while the engine has message ${message}`)
  }
})

await t.test('connectTimeoutMs is for the whole exchange', async t => {
  const one = bench(t)
  const { engine, client } = one
  const bob = client({ version: 5 })
  bob.hello('bob', connecting('bob'))
  await settled(engine)
  later(one, 4900)
  t.notOk(bob.closed)
  later(one, 5100)
  t.ok(bob.closed)
})

await t.test('a ban or a new password between the proof and the entry', async t => {
  for (const [code, reasonCode] of [['banned', 0x8a], ['unauthorized', 0x87]] as const) {
    const { engine, access, client } = bench(t)
    const bob = client({ version: 5 })
    bob.send({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 5, clientId: 'phone', clean: true, keepalive: 0, ...connecting('bob') })
    await settled(engine)
    told(bob)
    engine.holding.add('authenticateStep')
    bob.send(auth(0x18, 'proof'))
    await settled(engine)
    engine.output([{ kind: 'kick', user: 'bob', code }])
    engine.next().now()
    await settled(engine)
    t.strictSame(told(bob), [['connack', reasonCode, undefined]])
    t.equal(access.sessions.connected.size, 0)
  }
})

await t.test('an engine that cannot answer', async t => {
  const { engine, client } = bench(t)
  const bob = client({ version: 5 })
  engine.holding.add('authenticateStep')
  bob.hello('bob', connecting('bob'))
  await settled(engine)
  engine.next().fail(new Error('no disk'))
  await settled(engine)
  t.strictSame(told(bob), [['connack', 0x88, undefined]])
})

await t.test('no AUTH above the Maximum Packet Size', async t => {
  const { engine, client } = bench(t)
  const bob = client({ version: 5 })
  bob.hello('bob', { properties: { ...connecting('bob').properties, maximumPacketSize: 15 } })
  await settled(engine)
  t.strictSame(told(bob), [['connack', 0x87, undefined]])
})

await t.test('re-authentication: traffic goes on meanwhile', async t => {
  const one = bench(t)
  const { engine } = one
  const bob = await proven(one, 'bob')
  told(bob)
  await bob.subscribe('im/u/bob/inbox')
  for (const round of [1, 2]) {
    bob.send(auth(0x19, 'bob'))
    bob.publish('im/to/u/eve', `a${round}`, 0)
    await settled(engine)
    t.strictSame(bob.kinds().sort(), ['auth', 'publish'], 'asked, and served')
    engine.holding.add('authenticateStep')
    bob.send(auth(0x18, 'proof'))
    bob.publish('im/to/u/eve', `b${round}`, 0)
    await settled(engine)
    t.strictSame(bob.kinds(), ['publish'])
    engine.holding.clear()
    engine.next().now()
    await settled(engine)
    t.strictSame(told(bob), [['auth', 0x00, 'it is proven']])
    later(one, 6000)
    t.notOk(bob.closed, 'what is over has no time limit')
  }
})

await t.test('re-authentication that fails ends the connection', async t => {
  for (const [name, packets, reasonCode] of [
    ['a wrong proof', [auth(0x19, 'bob'), auth(0x18, 'wrong')], 0x87],
    ['another user', [auth(0x19, 'eve')], 0x87],
    ['another method', [auth(0x19, 'bob', 'OTHER')], 0x82],
    ['another method, later', [auth(0x19, 'bob'), auth(0x18, 'proof', 'OTHER')], 0x82],
    ['out of turn', [auth(0x18, 'proof')], 0x82],
    ['twice at a time', [auth(0x19, 'bob'), auth(0x19, 'bob')], 0x82]
  ] as const) {
    const one = bench(t)
    const bob = await proven(one, 'bob')
    told(bob)
    for (const packet of packets) {
      bob.send(packet)
      await settled(one.engine)
    }
    t.strictSame(told(bob).at(-1), ['disconnect', reasonCode, undefined], `${name} [MQTT-4.12.1-2]`)
    t.ok(bob.closed)
    t.equal(one.access.sessions.connections.size, 0)
  }
})

await t.test('re-authentication that cannot be answered, takes too long, or is left alone', async t => {
  for (const [error, reasonCode] of [[new Refusal('rate_limited'), 0x97], [new Refusal('unavailable'), 0x89], [new Error('no disk'), 0x80]] as const) {
    const one = bench(t)
    const bob = await proven(one, 'bob')
    told(bob)
    one.engine.holding.add('authenticateStep')
    bob.send(auth(0x19, 'bob'))
    await settled(one.engine)
    one.engine.next().fail(error)
    await settled(one.engine)
    t.strictSame(told(bob), [['disconnect', reasonCode, undefined]])
  }
  const slow = bench(t)
  const bob = await proven(slow, 'bob')
  bob.send(auth(0x19, 'bob'))
  await settled(slow.engine)
  told(bob)
  later(slow, 4900)
  t.notOk(bob.closed)
  later(slow, 5100)
  await settled(slow.engine)
  t.strictSame(told(bob), [['disconnect', 0x87, undefined]])

  const left = bench(t)
  const eve = await proven(left, 'eve')
  eve.send(auth(0x19, 'eve'))
  await settled(left.engine)
  left.engine.holding.add('authenticateStep')
  eve.send(auth(0x18, 'proof'))
  await settled(left.engine)
  eve.lose()
  await settled(left.engine)
  left.engine.next().now()
  await settled(left.engine)
  t.equal(left.access.sessions.connections.size, 0)
})

await t.test('re-authentication: what the server does not read has no time limit', async t => {
  const one = bench(t)
  const { engine } = one
  const bob = await proven(one, 'bob')
  bob.send(auth(0x19, 'bob'))
  await settled(engine)
  told(bob)
  // Its proof is behind messages that wait for their sender's rate.
  engine.hold('bob/phone', true)
  bob.send(auth(0x18, 'proof'))
  for (const ms of [4000, 8000, 12_000]) later(one, ms)
  t.notOk(bob.closed, 'held')
  engine.hold('bob/phone', false)
  await settled(engine)
  t.strictSame(told(bob), [['auth', 0x00, 'it is proven']])
  bob.send(auth(0x19, 'bob'))
  await settled(engine)
  engine.hold('bob/phone', true)
  later(one, 6000)
  engine.hold('bob/phone', false)
  later(one, 10_900)
  t.notOk(bob.closed, 'it counts from then on')
  later(one, 11_100)
  t.ok(bob.closed)
})
