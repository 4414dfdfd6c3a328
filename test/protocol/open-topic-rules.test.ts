/** Rules of `mqtt.openTopics`: what a connection may read and write on ordinary topics, however it asks, and what it is told. */
import t from 'tap'
import type { Test } from 'tap'
import { ask, fresh, payloads, versions } from '../support/clauses.ts'
import { messagesUntil } from '../support/ordinary-flows.ts'
import { RawClient, type RawConnect, type Version } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

const openTopics = [
  'home/#',
  { filter: 'news/#', write: ['editor'] },
  { filter: 'intake/#', read: ['worker'] },
  { filter: 'devices/{user}/{clientId}/#' }
]
const server = await startServer(t, { config: { mqtt: { openTopics } } })
const refusedFilter = (version: Version) => version === 5 ? 0x87 : 0x80

async function connect (t: Test, version: Version, user: string, { port = server.mqttPort, ...options }: RawConnect & { port?: number } = {}): Promise<RawClient> {
  const { client, connack } = await RawClient.connect(t, port, { version, user, clientId: fresh('c'), ...options })
  t.equal(connack.reasonCode ?? connack.returnCode, 0, 'connected')
  return client
}

for (const version of versions) {
  await t.test(`reading and writing, version ${version}`, async t => {
    const [editor, bob, worker] = [await connect(t, version, 'editor'), await connect(t, version, 'bob'), await connect(t, version, 'worker')]
    t.strictSame(await bob.subscribe(['news/#', 'intake/#', 'home/#', '#', 'devices/#'], 1), [1, refusedFilter(version), 1, refusedFilter(version), refusedFilter(version)])
    t.strictSame(await worker.subscribe('intake/+', 1), [1])
    const refused = await bob.publish('news/x', 'from bob')
    if (version === 5) t.match(refused, { reasonCode: 0x87, properties: { reasonString: /not open/ } })
    else t.equal(bob.packets.waiting.filter(packet => packet.cmd === 'publish' && packet.topic === 'im/u/bob/notice').length, 1, 'acknowledged, and a notice says why')
    await editor.publish('news/x', 'from the editor')
    await bob.publish('intake/x', 'for the worker')
    t.equal((await bob.next('news/x')).payload.toString(), 'from the editor')
    t.equal((await worker.next('intake/x')).payload.toString(), 'for the worker')
  })

  await t.test(`names in patterns, version ${version}`, async t => {
    const own = await connect(t, version, 'bob', { clientId: `d${version}` })
    const root = `devices/bob/d${version}`
    t.strictSame(await own.subscribe([`${root}/#`, `devices/bob/other${version}/#`, `devices/alice/d${version}/#`, 'devices/bob/+/x', 'devices/+/+/x'], 1), [1, ...new Array<number>(4).fill(refusedFilter(version))])
    await own.publish(`${root}/x`, 'mine')
    t.equal((await own.next(`${root}/x`)).payload.toString(), 'mine')
    // Another user may have the same client id, and nothing of it.
    const other = await connect(t, version, 'alice', { clientId: `d${version}` })
    await other.publish(`${root}/x`, 'not mine')
    await own.publish(`${root}/end`, 'end')
    t.strictSame(payloads(await messagesUntil(own, 'end')), [])
    for (const clientId of ['+', '#', `a/d${version}`, '+/+', '#/']) {
      const wide = await connect(t, version, 'bob', { clientId })
      const filters = [`${root}/#`, 'devices/bob/#', `devices/bob/${clientId}/x`, `devices/bob/${clientId}`]
        .filter(filter => filter.split('/').every((level, at, all) => !/[+#]/.test(level) || level === '+' || (level === '#' && at === all.length - 1)))
      t.strictSame(await wide.subscribe(filters, 1), filters.map(() => refusedFilter(version)), JSON.stringify(clientId))
    }
  })

  await t.test(`a will is judged by the same rules, version ${version}`, async t => {
    const will = (topic: string) => ({ topic, payload: Buffer.from('will'), qos: 1 as const, retain: false })
    const refused = version === 5 ? 0x87 : 5
    const { connack } = await RawClient.connect(t, server.mqttPort, { version, user: 'bob', clientId: fresh('c'), will: will('news/will') })
    t.equal(connack.reasonCode ?? connack.returnCode, refused)
    const { connack: elsewhere } = await RawClient.connect(t, server.mqttPort, { version, user: 'bob', clientId: fresh('c'), will: will('devices/bob/another/will') })
    t.equal(elsewhere.reasonCode ?? elsewhere.returnCode, refused)
    const watcher = await connect(t, version, 'bob', { clientId: `w${version}` })
    await watcher.subscribe([`devices/bob/w${version}/will`, 'news/#'], 1)
    const editor = await connect(t, version, 'editor', { will: will('news/will') })
    editor.cut()
    t.equal((await watcher.next('news/will')).payload.toString(), 'will')
  })
}

await t.test('a shared subscription by the filter inside, a topic alias by its topic', async t => {
  const bob = await connect(t, 5, 'bob')
  t.strictSame(await bob.subscribe(['$share/g/intake/#', '$share/g/news/#', '$share/devices/devices/bob/x/#', '$share/intake/home/#'], 1), [0x87, 1, 0x87, 1])
  const aliased = (topic: string, messageId: number) => ask(bob, { cmd: 'publish', topic, payload: 'x', qos: 1, dup: false, retain: false, messageId, properties: { topicAlias: 1 } }, 'puback')
  t.match(await aliased('news/x', 900), { reasonCode: 0x87 })
  t.match(await aliased('', 901), { reasonCode: 0x87 })
  t.match((await aliased('home/x', 902)).reasonCode ?? 0, 0)
})

await t.test('what was stored while more was open is read by nobody who may not now', async t => {
  const kept: RawConnect = { clientId: 'kept', clean: false }
  const bob = await connect(t, 4, 'bob', kept)
  await bob.subscribe(['news/#', 'home/#'], 1)
  await bob.disconnect()
  const editor = await connect(t, 4, 'editor')
  await editor.publish('news/late', 'secret by now', { retain: true })
  await editor.publish('home/late', 'open')
  await server.stop()
  const narrower = await startServer(t, { data: server.data, config: { mqtt: { openTopics: ['home/#', { filter: 'news/#', read: ['editor'] }] } } })
  const back = await connect(t, 4, 'bob', { ...kept, port: narrower.mqttPort })
  await back.publish('home/late', 'end')
  t.strictSame(payloads(await messagesUntil(back, 'end')), ['open'])
  t.strictSame(await back.subscribe('news/#', 1), [0x80])
  const reader = await connect(t, 4, 'editor', { port: narrower.mqttPort })
  await reader.subscribe('news/#', 1)
  t.equal((await reader.next()).payload.toString(), 'secret by now')
})
