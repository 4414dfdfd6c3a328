/** What one connection sends in one go does not hold up the others, whatever kind of packet it is. */
import t from 'tap'
import { generate, type Packet } from 'mqtt-packet'
import { bench, settled, type Bench, type MemoryClient } from '../support/memory-client.ts'

const turn = async (): Promise<void> => { await new Promise<void>(resolve => { setImmediate(resolve) }) }

/** Lets the connections that wait for their turn go on to the end. */
async function worked ({ access, engine }: Bench): Promise<void> {
  while (access.turns.size > 0) await turn()
  await settled(engine)
}

const count = 10_000
const answered = (client: MemoryClient): number => client.packets.waiting.length

const floods: Array<{ name: string, packet: Packet }> = [
  { name: 'PINGREQ', packet: { cmd: 'pingreq' } },
  { name: 'PUBLISH to a topic that there is not', packet: { cmd: 'publish', topic: 'im/no/such/topic', payload: 'x', qos: 1, dup: false, retain: false, messageId: 1 } },
  { name: 'SUBSCRIBE', packet: { cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'im/u/bob/notice', qos: 1 }] } },
  { name: 'UNSUBSCRIBE', packet: { cmd: 'unsubscribe', messageId: 1, unsubscriptions: ['im/u/bob/notice'] } },
  { name: 'PUBREL', packet: { cmd: 'pubrel', messageId: 1 } }
]

for (const { name, packet } of floods) {
  await t.test(`${name}: ${count} packets in one chunk are served in pieces, the others between them`, async t => {
    const all = bench(t, { outputBytes: 1_000_000_000 })
    const bob = all.client()
    const alice = all.client()
    await bob.connect('bob')
    await alice.connect('alice')
    bob.write(Buffer.concat(new Array<Buffer>(count).fill(generate(packet))))
    for (let i = 0; i < 8; i++) await turn()
    const before = answered(bob)
    t.ok(before < count, `${before} were answered at once`)
    alice.send({ cmd: 'pingreq' })
    await turn()
    t.equal(answered(alice), 1, 'the other one is answered in the same turn')
    t.ok(answered(bob) < count)
    t.ok(bob.transport.paused, 'and no more is read meanwhile')
    await worked(all)
    t.ok(answered(bob) >= count, 'all are served in the end')
    t.notOk(bob.transport.paused)
  })
}

await t.test('acknowledgements of nothing are served in pieces as well', async t => {
  const all = bench(t)
  const bob = all.client()
  await bob.connect('bob')
  bob.write(Buffer.concat([...new Array<Buffer>(count).fill(generate({ cmd: 'puback', messageId: 7 })), generate({ cmd: 'pingreq' })]))
  for (let i = 0; i < 4; i++) await turn()
  t.equal(answered(bob), 0)
  await worked(all)
  t.equal(answered(bob), 1)
})

await t.test('floods of several users go on in turn: none is served to its end before the others', async t => {
  const all = bench(t)
  const clients = await Promise.all(['bob', 'carol', 'dave'].map(async user => {
    const client = all.client()
    await client.connect(user)
    return client
  }))
  const flood = Buffer.concat(new Array<Buffer>(count).fill(generate({ cmd: 'pingreq' })))
  for (const client of clients) client.write(flood)
  while (all.access.turns.size > 0) {
    const counts = clients.map(answered)
    const least = Math.min(...counts)
    if (least < count) t.ok(Math.max(...counts) - least < count / 2, `they are together: ${counts.join()}`)
    await turn()
  }
  await settled(all.engine)
  t.strictSame(clients.map(answered), [count, count, count])
})

await t.test('what a connection sends at an ordinary pace never waits', async t => {
  const all = bench(t)
  const bob = all.client()
  await bob.connect('bob')
  for (let i = 0; i < 100; i++) bob.publish('im/to/u/alice', `${i}`)
  t.equal(all.access.turns.size, 0)
  await settled(all.engine)
  t.equal(bob.kinds().filter(kind => kind === 'puback').length, 100)
})

await t.test('a connection that closes while it waits for its turn is forgotten', async t => {
  const all = bench(t)
  const bob = all.client()
  await bob.connect('bob')
  bob.write(Buffer.concat(new Array<Buffer>(count).fill(generate({ cmd: 'pingreq' }))))
  await turn()
  bob.lose()
  await worked(all)
  t.ok(answered(bob) < count)
  t.equal(all.access.sessions.connections.size, 0)
})

await t.test('who is nobody takes turns by network: an IPv6 /64 has one turn, however many addresses it uses', async t => {
  const all = bench(t, {}, undefined, ['open/#'], undefined, true)
  const keys = new Set<string>()
  const add = all.access.turns.add.bind(all.access.turns)
  all.access.turns.add = (key, piece) => {
    keys.add(key)
    add(key, piece)
  }
  for (const address of ['2001:db8::1', '2001:db8::2', '192.0.2.7']) {
    const one = all.client({ address })
    one.send({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clientId: address.replaceAll(/[.:]/g, '-'), clean: true, keepalive: 0 })
    t.match(await one.packets.take(packet => packet.cmd === 'connack', 5000, 'connack'), { returnCode: 0 })
    one.write(Buffer.concat(new Array<Buffer>(count).fill(generate({ cmd: 'pingreq' }))))
  }
  await worked(all)
  t.strictSame([...keys], ['2001:db8:0:0::/64', '192.0.2.7'])
})

for (const { name, packet } of floods.filter(one => one.name !== 'UNSUBSCRIBE')) {
  await t.test(`${name}: what it makes the server write is bounded while the client does not read`, async t => {
    const all = bench(t, { outputBytes: 20_000 })
    const bob = all.client()
    const tablet = all.client()
    await bob.connect('bob')
    await tablet.connect('bob', { clientId: 'tablet' })
    await tablet.subscribe('im/u/bob/notice')
    for (const client of [bob, tablet]) client.transport.slow = true
    const flood = Buffer.concat(new Array<Buffer>(count).fill(generate(packet)))
    for (let i = 0; i < 4; i++) bob.write(flood)
    await worked(all)
    t.ok(bob.transport.unsentBytes < 22_000, `${bob.transport.unsentBytes} bytes wait for it`)
    t.ok(tablet.transport.unsentBytes < 70_000, `${tablet.transport.unsentBytes} bytes wait for the user's other session`)
    for (let i = 0; i < 10_000 && answered(bob) < 4 * count; i++) {
      for (const client of [bob, tablet]) client.transport.drain()
      await worked(all)
    }
    t.ok(answered(bob) >= 4 * count, 'all are answered when it reads')
  })
}
