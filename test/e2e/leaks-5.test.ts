/** No permission is passed by another name for a topic: an alias, a shared filter, a response topic, a will. Proved by a sentinel that comes alone. */
import type { IPublishPacket } from 'mqtt-packet'
import t from 'tap'
import type { Test } from 'tap'
import { within } from '../support/mailbox.ts'
import { device, type Device } from '../support/mqtt.ts'
import { json, RawClient } from '../support/raw-client.ts'
import type { RawConnect } from '../support/raw-client.ts'
import { cli, startServer } from '../support/server.ts'
import type { Server } from '../support/server.ts'

const kept = { sessionExpiryInterval: 3600 }
let number = 0

/** What alice may not publish to: others' trees, groups without her, what is closed, what is the server's. */
const closed = [
  'im/u/bob/inbox', 'im/u/bob/event', 'im/u/bob/notice', 'im/u/bob/rpc/1', 'im/u/alice/inbox', 'im/g/secret', 'im/to/g/secret', 'im/server', 'im', 'im/', 'im/to/u/',
  'home/kitchen', '$SYS/x', '$SYS/broker/new/clients', '$share/g/open/x', '$sabethes/x', 'OPEN/x', '/open/x'
]

interface Scene { server: Server, bob: RawClient, carol: Device }

/** bob, who hears all that he may, and a group of his and carol's. */
async function scene (t: Test, openTopics: string[] = ['open/#']): Promise<Scene> {
  const server = await startServer(t, { config: { mqtt: { openTopics } } })
  const { client: bob } = await RawClient.connect(t, server.mqttPort, { user: 'bob', version: 5 })
  await bob.subscribe(['im/u/bob/#', 'im/g/+', ...openTopics])
  const carol = await device(t, server.url, 'carol')
  await carol.result('groups.create', { gid: 'secret', name: 'Secret', members: ['bob'] })
  await carol.publish('im/to/u/bob', 'begin')
  while (!(await bob.next()).payload.toString().includes('"begin"')) { /* what the group has to say of itself */ }
  return { server, bob, carol }
}

async function connect (t: Test, { server }: Scene, options: RawConnect = {}): Promise<RawClient> {
  const { client, connack } = await RawClient.connect(t, server.mqttPort, { user: 'alice', version: 5, clientId: `ear${++number}`, ...options })
  t.equal(connack.reasonCode, 0)
  return client
}

/** What bob got before what carol tells him now; receipts and refusals of his own are none of it. */
async function heard ({ bob, carol }: Scene): Promise<string[]> {
  const sentinel = `sentinel ${++number}`
  await carol.publish('im/to/u/bob', sentinel)
  const before: string[] = []
  for (;;) {
    const packet = await bob.next()
    const text = packet.payload.toString()
    if (text.includes(sentinel)) return before
    if (packet.topic !== 'im/u/bob/event') before.push(`${packet.topic} ${text}`)
  }
}

const alias = (topicAlias: number) => ({ properties: { topicAlias } })

await t.test('aliases', async t => {
  const here = await scene(t)
  const { carol, bob } = here
  const alice = await connect(t, here)
  for (const topic of closed) {
    await alice.publish('open/fine', 'fine', alias(1))
    for (const [name, qos] of [[topic, 1], ['', 1]] as const) {
      const { reasonCode = 0 } = await alice.publish(name, 'boo', { qos, ...alias(1) })
      t.ok(reasonCode >= 0x80, `${topic} by ${name === '' ? 'its alias' : 'its name'}: ${reasonCode}`)
    }
    alice.send({ cmd: 'publish', topic: '', payload: 'boo', qos: 0, dup: false, retain: true, ...alias(1) })
    await alice.ping()
  }
  t.strictSame(await heard(here), closed.map(() => 'open/fine fine'), 'nothing but what is open')

  await carol.result('groups.add', { gid: 'secret', users: ['alice'] })
  t.equal((await alice.publish('im/to/g/secret', 'a member', alias(1))).reasonCode ?? 0, 0)
  t.equal((await alice.publish('im/to/u/bob', 'a friend', alias(2))).reasonCode ?? 0, 0)
  await carol.result('groups.remove', { gid: 'secret', users: ['alice'] })
  await bob.publish('im/rpc/blocks.add', '{"rid":"7","user":"alice"}')
  t.match(json(await bob.next('im/u/bob/rpc/7')), { ok: true })
  await heard(here)
  t.ok(((await alice.publish('', 'a member', alias(1))).reasonCode ?? 0) >= 0x80, 'an alias of a group that she was removed from')
  t.ok(((await alice.publish('', 'a friend', alias(2))).reasonCode ?? 0) >= 0x80, 'and of somebody who blocks her')
  t.strictSame(await heard(here), [])
})

await t.test('what a client is told by an alias is what it may read', async t => {
  const here = await scene(t)
  const { carol } = here
  await carol.result('groups.add', { gid: 'secret', users: ['alice'] })
  const alice = await connect(t, here, { properties: { ...kept, topicAliasMaximum: 1 } })
  await alice.subscribe(['im/g/secret', 'im/u/alice/inbox', 'open/#'])
  await carol.publish('im/to/g/secret', 'with alice')
  while (!(await alice.next()).payload.toString().includes('with alice')) { /* what the group has to say of itself */ }
  await carol.result('groups.remove', { gid: 'secret', users: ['alice'] })
  await carol.publish('im/to/g/secret', 'without alice')
  await carol.publish('im/to/u/alice', 'end')
  for (let text = ''; !text.includes('"end"');) {
    text = (await alice.next()).payload.toString()
    t.notMatch(text, 'without alice')
  }
})

for (const [name, openTopics] of [['some topics are open', ['open/#']], ['all topics are', ['#', '$test/#']]] as const) {
  await t.test(`shared filters where ${name}`, async t => {
    const here = await scene(t, [...openTopics])
    const { carol, server } = here
    const everything = openTopics.length > 1
    const chat = ['im/u/bob/inbox', 'im/u/bob/#', 'im/u/+/inbox', 'im/u/alice/compact', 'im/#', 'im', 'im/+/+/inbox', 'im/g/secret', 'im/g/#', 'im/to/u/bob', 'im/rpc/#', 'im/server']
    const others = ['$SYS/#', '$SYS/+/new/clients', '$sabethes/#', '$share/h/open/x', '$share/h/im/u/bob/inbox']
    const wide = ['#', '+/#', '+', '+/+/+/inbox', '/#', 'home/kitchen', '+/u/bob/inbox']
    const options: RawConnect = { clean: false, clientId: `shared${openTopics.length}`, properties: kept }
    let alice = await connect(t, here, options)
    const words = (filter: string): string[] => [`$share/x/${filter}`, `$share/bob/${filter}`]
    for (const filter of [...chat, ...others]) {
      for (const one of words(filter)) t.ok(((await alice.subscribe(one, 2))[0] ?? 0) >= 0x80, one)
    }
    for (const filter of ['im/u/alice/inbox', 'im/g/+']) for (const one of words(filter)) t.strictSame(await alice.subscribe(one, 2), [1], `her own: ${one}`)
    for (const filter of wide) for (const one of words(filter)) t.equal(((await alice.subscribe(one, 2))[0] ?? 0) >= 0x80, !everything, one)
    await alice.subscribe('im/u/alice/inbox')
    let sentinel = ''
    const gossip = async (): Promise<void> => {
      sentinel = `sentinel ${++number}`
      await carol.publish('im/to/u/bob', 'about alice')
      await carol.publish('im/to/g/secret', 'about alice')
      await carol.publish('open/x', 'open')
      await carol.publish('im/to/u/alice', sentinel)
    }
    const quiet = async (): Promise<void> => {
      for (let text = ''; !text.includes(sentinel);) {
        const packet = await alice.next()
        text = packet.payload.toString()
        if (packet.qos === 2) alice.send({ cmd: 'pubrec', messageId: packet.messageId })
        t.notMatch(text, 'about alice', packet.topic)
        t.ok(packet.topic === 'im/u/alice/inbox' || (everything && packet.topic === 'open/x'), packet.topic)
      }
    }
    await gossip()
    await quiet()
    alice.cut()
    await alice.closed
    await gossip()
    alice = await connect(t, here, options)
    await quiet()
    await server.kill9()
    await server.restart()
    const again = await device(t, server.url, 'carol')
    alice = (await RawClient.connect(t, server.mqttPort, { ...options, user: 'alice', version: 5 })).client
    await again.publish('im/to/u/bob', 'about alice')
    sentinel = 'the end'
    await again.publish('im/to/u/alice', sentinel)
    await quiet()
  })
}

await t.test('response topics', async t => {
  const here = await scene(t)
  const alice = await connect(t, here)
  await alice.subscribe('im/u/alice/#')
  for (const [at, responseTopic] of [...closed, 'open/answer'].entries()) {
    const rid = `r${at}`
    await alice.publish('im/rpc/unread', JSON.stringify({ rid }), { properties: { responseTopic, correlationData: Buffer.from('c') } })
    t.match(json(await alice.next('im/u/alice/notice')), { kind: 'reject', code: 'forbidden' }, `not answered on ${responseTopic}`)
    // What she says herself carries it to nobody either: chat has no such thing, and who answers to it is asked like everybody.
    await alice.publish('im/to/u/alice', 'note', { properties: { responseTopic } })
    t.equal((await alice.next('im/u/alice/inbox') as IPublishPacket).properties?.responseTopic, undefined)
  }
  for (const rid of ['../../bob/inbox', '1/../../bob/rpc/1', '+', '#', '']) {
    await alice.publish('im/rpc/unread', JSON.stringify({ rid }))
    t.match(json(await alice.next('im/u/alice/notice')), { kind: 'reject' }, `as rid '${rid}'`)
  }
  t.strictSame(await heard(here), [], 'answers go to who asks')
  await alice.publish('open/question', '?', { properties: { responseTopic: 'im/u/bob/inbox' } })
  t.strictSame(await heard(here), ['open/question ?'], 'it is a word like others')
})

await t.test('wills', async t => {
  const here = await scene(t)
  const { bob, carol, server } = here
  const will = (topic: string, delay = 0) => ({ topic, payload: Buffer.from('boo'), qos: 1 as const, retain: true, properties: { willDelayInterval: delay, responseTopic: 'im/u/bob/inbox' } })
  for (const topic of [...closed, 'im/rpc/groups.leave', 'im/to/u/bob/read', '$share/x/open/y', 'open/+', 'open/#']) {
    const { client, connack } = await RawClient.connect(t, server.mqttPort, { user: 'alice', version: 5, will: will(topic) }).catch(() => ({ client: undefined, connack: undefined }))
    if (connack !== undefined) t.ok((connack.reasonCode ?? 0) >= 0x80, `${topic}: ${connack.reasonCode}`)
    client?.cut()
    await client?.closed
  }
  t.strictSame(await heard(here), [])

  await carol.result('groups.add', { gid: 'secret', users: ['alice'] })
  const member = await connect(t, here, { will: will('im/to/g/secret') })
  const later = await connect(t, here, { clientId: 'later', will: will('im/to/g/secret', 1000), properties: kept })
  const friend = await connect(t, here, { will: will('im/to/u/bob') })
  await carol.result('groups.remove', { gid: 'secret', users: ['alice'] })
  await bob.publish('im/rpc/blocks.add', '{"rid":"8","user":"alice"}')
  t.match(json(await bob.next('im/u/bob/rpc/8')), { ok: true })
  await heard(here)
  for (const one of [member, later, friend]) {
    one.cut()
    await one.closed
  }
  // A session that ends sends a will that waits.
  await connect(t, here, { clientId: 'later' })
  t.strictSame(await heard(here), [], 'of who was removed or blocked since')

  const open = await connect(t, here, { will: will('open/now') })
  const waits = await connect(t, here, { clientId: 'waits', will: will('open/later', 1000), properties: kept })
  waits.cut()
  await waits.closed
  const user = async (verb: string): Promise<void> => { t.equal((await cli(['user', verb, 'alice', '--data', server.data, '--config', server.configPath])).code, 0, verb) }
  await user('ban')
  await within(open.closed, 10_000, 'the close at the ban')
  await user('unban')
  await connect(t, here, { clientId: 'waits' })
  t.strictSame(await heard(here), [], 'nor of who is banned')
})
