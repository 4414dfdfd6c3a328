/** Every filter that could leak is refused by SUBACK and stays silent: proved by a sentinel that comes alone. */
import t from 'tap'
import type { Test } from 'tap'
import type { Packet } from 'mqtt-packet'
import { device } from '../support/mqtt.ts'
import { RawClient, json } from '../support/raw-client.ts'
import type { RawConnect, Version } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'
import type { Server } from '../support/server.ts'

// Open to others in dev mode; here to the operator alone.
const sys = { readers: ['operator'] }
const filters = [
  '#', '+/#', '+', '/#', '+/+/+/+', 'im', 'im/#', 'im/+', 'im/+/bob/inbox', 'im/u', 'im/u/#', 'im/u/+', 'im/u/+/inbox', 'im/u/+/#',
  'im/u/bob', 'im/u/bob/#', 'im/u/bob/+', 'im/u/bob/inbox', 'im/u/bob/event', 'im/u/bob/notice', 'im/u/bob/rpc/#', 'im/u/alice/inbox/#',
  'im/u/alice', 'im/+/alice/inbox', '+/u/alice/inbox', 'im/g/#', 'im/g/+/#', 'im/g/secret', 'im/g/secret/#', 'im/+/secret', 'im/g',
  'im/to/u/bob', 'im/to/#', 'im/to/u/alice', 'im/to/g/secret', 'im/rpc/#', 'im/rpc/+',
  '$share/x/im/u/bob/inbox', '$share/x/im/u/alice/compact', '$share/x/#', '$share/x/im/g/secret', '$SYS/#', '$SYS/+/new/clients', '$SYS/+/new/subscribes',
  '$share/x/$SYS/#', '$sabethes/#', '$/#', 'IM/u/bob/inbox', 'im//u/bob/inbox', '/im/u/bob/inbox', 'im/u/bob/inbox/', 'home/kitchen'
]

/** bob, carol and a group without alice. */
async function people (t: Test, server: Server, firstRound = 1): Promise<{ gossip: () => Promise<void> }> {
  const bob = await device(t, server.url, 'bob')
  await bob.subscribe(['im/u/bob/#', 'im/g/+'])
  const carol = await device(t, server.url, 'carol')
  const made = await carol.ask('groups.create', { gid: 'secret', name: 'Secret', members: ['bob'] })
  if (made.ok !== true && made.code !== 'conflict') throw new Error(JSON.stringify(made))
  let round = firstRound - 1
  return {
    gossip: async () => {
      round++
      await carol.publish('im/to/u/bob', `about alice ${round}`)
      await carol.publish('im/to/g/secret', `about alice ${round}`)
      while ((await bob.nextJson('im/u/bob/inbox')).body !== `about alice ${round}`) { /* earlier rounds may come again */ }
      while ((await bob.nextJson('im/g/secret')).body !== `about alice ${round}`) { /* events of the group's log come first */ }
      await bob.ask('unread')
      await carol.publish('im/to/u/alice', `sentinel ${round}`)
    }
  }
}

/** Everything but the sentinel that the client got. */
async function overheard (client: RawClient, round: number): Promise<Packet[]> {
  const seen: Packet[] = []
  for (;;) {
    const packet = await client.next()
    if (packet.topic === 'im/u/alice/inbox' && json(packet).body === `sentinel ${round}`) break
    // Her own sentinels of earlier rounds may come again after a reconnect.
    if (packet.topic !== 'im/u/alice/inbox' || !/^sentinel \d+$/.test(json(packet).body as string)) seen.push(packet)
  }
  await client.ping()
  return [...seen, ...client.packets.waiting.filter(p => p.cmd === 'publish')]
}

for (const version of [4, 5] as const) {
  await t.test(`each alone, MQTT ${version}`, async t => {
    const server = await startServer(t, { config: { mqtt: { sys } } })
    const { gossip } = await people(t, server)
    const { client } = await RawClient.connect(t, server.mqttPort, { user: 'alice', clientId: 'ear', clean: false, version, properties: persistent(version) })
    t.same(await client.subscribe('im/u/alice/inbox'), [1])
    for (const filter of filters) {
      const codes = await client.subscribe(filter)
      t.ok(codes.length === 1 && refusedBy(codes[0], version), `${filter}: ${codes.join()}`)
      t.ok(refusedBy((await client.subscribe(filter, 0))[0], version), `${filter} at QoS 0`)
    }
    await gossip()
    t.same(await overheard(client, 1), [])
    await client.disconnect()
    const { client: again, connack } = await RawClient.connect(t, server.mqttPort, { user: 'alice', clientId: 'ear', clean: false, version, properties: persistent(version) })
    t.equal(connack.sessionPresent, true)
    await gossip()
    t.same(await overheard(again, 2), [], 'nor after a reconnect of the persistent session')
    await again.disconnect()
    await server.kill9()
    await server.restart()
    const { gossip: later } = await people(t, server, 3)
    const { client: last } = await RawClient.connect(t, server.mqttPort, { user: 'alice', clientId: 'ear', clean: false, version, properties: persistent(version) })
    await later()
    t.same(await overheard(last, 3), [], 'nor after a restart of the server')
  })

  await t.test(`mixed with good ones, clean=false and a reconnect, MQTT ${version}`, async t => {
    const server = await startServer(t, { config: { mqtt: { sys } } })
    const { gossip } = await people(t, server)
    const ear: RawConnect = { user: 'alice', clientId: 'ear', clean: false, version, properties: persistent(version) }
    const { client } = await RawClient.connect(t, server.mqttPort, ear)
    const mixed = ['im/u/alice/inbox', ...filters.slice(0, 40), 'im/u/alice/event']
    const codes = await client.subscribe(mixed)
    t.equal(codes.length, mixed.length)
    for (const [at, filter] of mixed.entries()) {
      const good = filter.startsWith('im/u/alice/inbox') && !filter.endsWith('#')
      if (!good && filter !== 'im/u/alice/event') t.ok(refusedBy(codes[at], version), `${filter}: ${codes[at]}`)
    }
    // The good ones may be refused with the rest; asked for alone they are granted.
    t.same(await client.subscribe(['im/u/alice/inbox', 'im/u/alice/event']), [1, 1])
    await gossip()
    t.same(await overheard(client, 1), [])
    client.cut()
    await client.closed
    const { client: again, connack } = await RawClient.connect(t, server.mqttPort, ear)
    t.equal(connack.sessionPresent, true)
    await gossip()
    t.same(await overheard(again, 2), [])
  })
}

await t.test('a member that was removed hears nothing more, also through im/g/+ and its own filter', async t => {
  const server = await startServer(t, { config: { mqtt: { sys } } })
  const { client: alice } = await RawClient.connect(t, server.mqttPort, { user: 'alice', clientId: 'ear', clean: false })
  await alice.subscribe(['im/u/alice/inbox', 'im/g/+'])
  const carol = await device(t, server.url, 'carol')
  await carol.result('groups.create', { gid: 'secret', name: 'Secret', members: ['alice'] })
  t.same(await alice.subscribe('im/g/secret'), [1], 'a member may')
  await carol.publish('im/to/g/secret', 'with alice')
  while (json(await alice.next('im/g/secret')).body !== 'with alice') { /* the group's system messages */ }
  await carol.result('groups.remove', { gid: 'secret', members: ['alice'] })
  await carol.publish('im/to/g/secret', 'without alice')
  await carol.publish('im/to/u/alice', 'sentinel 1')
  const seen = await overheard(alice, 1)
  t.notMatch(JSON.stringify(seen.map(p => 'payload' in p ? p.payload?.toString() : '')), 'without alice')
  t.same(await alice.subscribe('im/g/secret'), [0x80], 'and cannot subscribe again')
  alice.cut()
  await carol.publish('im/to/g/secret', 'still without alice')
  const { client: again } = await RawClient.connect(t, server.mqttPort, { user: 'alice', clientId: 'ear', clean: false })
  await carol.publish('im/to/u/alice', 'sentinel 2')
  t.notMatch(JSON.stringify((await overheard(again, 2)).map(p => 'payload' in p ? p.payload?.toString() : '')), 'without alice')
})

await t.test('ordinary topics never carry chat traffic', async t => {
  const server = await startServer(t, { config: { mqtt: { openTopics: ['#'], sys } } })
  const { gossip } = await people(t, server)
  const { client } = await RawClient.connect(t, server.mqttPort, { user: 'alice' })
  t.same(await client.subscribe(['im/u/alice/inbox', '#', '+/#', '+/+/+/+', '+/u/+/inbox']), [1, 1, 1, 1, 1])
  t.same(await client.subscribe(['im/#']), [0x80], 'the chat tree stays closed')
  await gossip()
  t.same(await overheard(client, 1), [])
  await client.publish('home/kitchen', '21')
  t.equal((await client.next('home/kitchen')).payload.toString(), '21', 'but ordinary ones are carried')
})

await t.test('a will to a chat topic, or to a closed one, goes nowhere', async t => {
  const server = await startServer(t, { config: { mqtt: { sys } } })
  const bob = await device(t, server.url, 'bob')
  await bob.subscribe('im/u/bob/#')
  for (const topic of ['im/u/bob/inbox', 'im/u/bob/notice', 'home/kitchen', '$SYS/x/new/clients']) {
    const { client } = await RawClient.connect(t, server.mqttPort, { user: 'alice', will: { topic, payload: Buffer.from('boo'), qos: 1, retain: true } })
      .catch((cause: Error) => ({ client: undefined, cause }))
    client?.cut()
    await client?.closed
  }
  const carol = await device(t, server.url, 'carol')
  await carol.publish('im/to/u/bob', 'sentinel')
  t.match(await bob.nextJson(), { body: 'sentinel', seq: 1 }, 'nothing came before')
})

function persistent (version: Version): NonNullable<RawConnect['properties']> { return version === 5 ? { sessionExpiryInterval: 3600 } : {} }
function refusedBy (code: number | undefined, version: Version): boolean {
  return code !== undefined && (version === 4 ? code === 0x80 : code >= 0x80)
}
