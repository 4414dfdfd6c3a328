/** Subscriptions of one client that overlap: one message, with the identifiers of all; and what their options come to. */
import { randomUUID } from 'node:crypto'
import { generate } from 'mqtt-packet'
import type { IPublishPacket, ISubackPacket } from 'mqtt-packet'
import t from 'tap'
import type { Test } from 'tap'
import { startOrdinary } from '../support/ordinary-broker.ts'
import { messagesUntil, publish2 } from '../support/ordinary-flows.ts'
import { RawClient } from '../support/raw-client.ts'
import type { RawConnect } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

const server = await startOrdinary(t)
const run = randomUUID().slice(0, 8)
let number = 0
const fresh = (name: string) => `subs-${run}-${name}-${++number}`
const kept = { sessionExpiryInterval: 1000 }

async function connect (t: Test, options: RawConnect = {}): Promise<RawClient> {
  const { client, connack } = await RawClient.connect(t, server.port, { version: 5, user: 'conf', clientId: fresh('c'), ...options })
  t.equal(connack.reasonCode ?? connack.returnCode, 0, 'connected')
  return client
}

interface Filter { topic: string, qos: 0 | 1 | 2, nl?: boolean, rap?: boolean, rh?: number }

async function subscribe (client: RawClient, filters: Filter[], identifier?: number): Promise<number[]> {
  const messageId = client.nextId()
  client.send({ cmd: 'subscribe', messageId, subscriptions: filters, ...identifier !== undefined && { properties: { subscriptionIdentifier: identifier } } })
  const suback = await client.packets.take(packet => packet.cmd === 'suback' && packet.messageId === messageId, 15_000, 'suback') as ISubackPacket
  return suback.granted as number[]
}

const identifiers = (packet: IPublishPacket) => [packet.properties?.subscriptionIdentifier ?? []].flat().sort((a, b) => a - b)
const what = (packet: IPublishPacket) => [packet.payload.toString(), packet.qos, packet.retain, identifiers(packet)]

for (const keeps of [false, true]) {
  await t.test(`subscriptions that overlap make one message, ${keeps ? 'kept' : 'clean'} session`, async t => {
    const root = fresh('overlap')
    const options: RawConnect = keeps ? { clean: false, clientId: fresh('c'), properties: kept } : {}
    const client = await connect(t, options)
    await subscribe(client, [{ topic: `${root}/a/+`, qos: 0 }], 7)
    await subscribe(client, [{ topic: `${root}/a/#`, qos: 1 }, { topic: `${root}/+/x`, qos: 0 }], 268_435_455)
    await subscribe(client, [{ topic: `${root}/#`, qos: 2 }])
    await subscribe(client, [{ topic: `${root}/b`, qos: 2, rap: true }], 1)
    const other = await connect(t)
    const send = async (): Promise<void> => {
      await other.publish(`${root}/a/x`, 'one')
      await publish2(other, `${root}/a/y`, 'two', { retain: true })
      other.send({ cmd: 'publish', topic: `${root}/a/x`, payload: 'zero', qos: 0, dup: false, retain: false })
      await other.publish(`${root}/b`, 'published as retained', { retain: true })
      await other.publish(`${root}/c`, 'plain')
      await other.publish(`${root}/end`, 'end')
    }
    await send()
    const expected = [
      ['one', 1, false, [7, 268_435_455, 268_435_455]],
      ['two', 2, false, [7, 268_435_455]],
      ['zero', 0, false, [7, 268_435_455, 268_435_455]],
      ['published as retained', 1, true, [1]],
      ['plain', 1, false, []]
    ]
    t.strictSame((await messagesUntil(client, 'end')).map(what), expected, '[MQTT-3.3.4-2] to [MQTT-3.3.4-4]')
    if (!keeps) return
    await client.disconnect()
    await send()
    const back = await connect(t, options)
    t.strictSame((await messagesUntil(back, 'end')).map(what), expected.filter(([text]) => text !== 'zero'), 'from the queue')
    await send()
    t.strictSame((await messagesUntil(back, 'end')).map(what), expected, 'live, of a session that goes on')
    await back.disconnect()
    const again = await connect(t, options)
    await other.publish(`${root}/end`, 'end')
    t.strictSame((await messagesUntil(again, 'end')).map(what), [], 'and all of it was acknowledged')
    for (const name of ['a/y', 'b']) await other.publish(`${root}/${name}`, '', { retain: true })
  })
}

await t.test('no local among others: the one that is left says how it comes', async t => {
  const root = fresh('local')
  for (const options of [{}, { clean: false, properties: kept }]) {
    const client = await connect(t, options)
    await subscribe(client, [{ topic: `${root}/a/#`, qos: 2, nl: true, rap: true }], 1)
    await subscribe(client, [{ topic: `${root}/a/+`, qos: 1 }], 2)
    await client.publish(`${root}/a/x`, 'own', { retain: true })
    t.strictSame(what(await client.next(`${root}/a/x`)), ['own', 1, false, [2]], '[MQTT-3.8.3-3]')
    const other = await connect(t)
    await other.publish(`${root}/a/x`, 'other', { retain: true })
    t.strictSame(what(await client.next(`${root}/a/x`)), ['other', 1, true, [1, 2]])
    await other.publish(`${root}/a/x`, '', { retain: true })
  }
})

/** A publish of the client and a SUBSCRIBE right behind it: the message is on its way to the disk when the subscription is there. */
async function publishAndSubscribe (client: RawClient, topic: string, text: string, filter: Filter, identifier: number): Promise<void> {
  const [publish, subscribing] = [client.nextId(), client.nextId()]
  const version = { protocolVersion: 5 }
  client.write(Buffer.concat([
    generate({ cmd: 'publish', topic, payload: text, qos: 1, messageId: publish, dup: false, retain: false }, version),
    generate({ cmd: 'subscribe', messageId: subscribing, subscriptions: [filter], properties: { subscriptionIdentifier: identifier } }, version)
  ]))
  await client.packets.take(packet => packet.cmd === 'puback' && packet.messageId === publish)
  await client.packets.take(packet => packet.cmd === 'suback' && packet.messageId === subscribing)
}

await t.test('what a client publishes right before it asks for No Local does not come a connection later', async t => {
  const root = fresh('before')
  const options: RawConnect = { clean: false, clientId: fresh('c'), properties: kept }
  const client = await connect(t, options)
  await subscribe(client, [{ topic: `${root}/#`, qos: 1 }], 1)
  await publishAndSubscribe(client, `${root}/x`, 'own', { topic: `${root}/#`, qos: 1, nl: true }, 2)
  const other = await connect(t)
  await other.publish(`${root}/x`, 'other')
  const first = (await messagesUntil(client, 'other')).map(packet => packet.payload.toString())
  await client.disconnect()
  const back = await connect(t, options)
  await other.publish(`${root}/x`, 'end')
  const second = (await messagesUntil(back, 'end')).map(packet => packet.payload.toString())
  t.strictSame(second, [], `before: ${first.join()}`)
})

await t.test('what a new subscription brings while it is written has the identifiers of those at QoS 0, too', async t => {
  const root = fresh('zero')
  const client = await connect(t, { clean: false, properties: kept })
  await subscribe(client, [{ topic: `${root}/x`, qos: 0, rap: true }], 18)
  await publishAndSubscribe(client, `${root}/x`, 'own', { topic: `${root}/+`, qos: 1 }, 3)
  const [, qos, , all] = what(await client.next(`${root}/x`))
  t.strictSame(all, qos === 0 ? [18] : [3, 18], '[MQTT-3.3.4-4]')
})

await t.test('subscribing again replaces, unsubscribing ends', async t => {
  const root = fresh('again')
  const client = await connect(t)
  const other = await connect(t)
  await other.publish(`${root}/x`, 'retained', { retain: true })
  await subscribe(client, [{ topic: `${root}/+`, qos: 0 }], 5)
  t.strictSame(what(await client.next()), ['retained', 0, true, [5]], '[MQTT-3.3.4-3], retained messages too')
  await subscribe(client, [{ topic: `${root}/+`, qos: 1, rh: 1 }])
  await other.publish(`${root}/x`, 'one')
  t.strictSame(what(await client.next()), ['one', 1, false, []], '[MQTT-3.8.4-3]')
  await subscribe(client, [{ topic: `${root}/x`, qos: 1, rh: 2 }], 6)
  client.send({ cmd: 'unsubscribe', messageId: 99, unsubscriptions: [`${root}/+`] })
  await client.packets.take(packet => packet.cmd === 'unsuback')
  await other.publish(`${root}/x`, 'two')
  t.strictSame(what(await client.next()), ['two', 1, false, [6]])
  await other.publish(`${root}/x`, '', { retain: true })
})

await t.test('the same filter twice in one SUBSCRIBE counts once, the last one', async t => {
  const root = fresh('twice')
  const client = await connect(t)
  t.strictSame(await subscribe(client, [{ topic: `${root}/+`, qos: 0 }, { topic: `${root}/+`, qos: 2 }], 3), [0, 2])
  const other = await connect(t)
  await other.publish(`${root}/x`, 'x')
  await other.publish(`${root}/x`, 'end')
  t.strictSame((await messagesUntil(client, 'end')).map(what), [['x', 1, false, [3]]])
})

await t.test('a client of 3.1.1 gets one message at the highest of its subscriptions', async t => {
  const root = fresh('old')
  const client = await connect(t, { version: 4 })
  await client.subscribe(`${root}/+`, 0)
  await client.subscribe(`${root}/#`, 1)
  const other = await connect(t)
  await publish2(other, `${root}/x`, 'x')
  await other.publish(`${root}/x`, 'end')
  t.strictSame((await messagesUntil(client, 'end')).map(what), [['x', 1, false, []]], '[MQTT-3.3.5-1]')
})

await t.test('identifiers of chat subscriptions: of all that bring a message, kept with the session, also over the end of the server', async t => {
  const chat = await startServer(t)
  const open = async (user: string, options: RawConnect = {}): Promise<RawClient> => (await RawClient.connect(t, chat.mqttPort, { version: 5, user, clientId: user, ...options })).client
  const alice = await open('alice')
  const stay: RawConnect = { clean: false, properties: kept }
  let bob = await open('bob', stay)
  await subscribe(bob, [{ topic: 'im/server', qos: 0 }], 9)
  t.strictSame(identifiers(await bob.next('im/server')), [9])
  await alice.publish('im/rpc/groups.create', '{"rid":"1","gid":"dev","name":"Dev","members":["bob"]}')
  await alice.next('im/u/alice/rpc/1')
  await subscribe(bob, [{ topic: 'im/u/bob/inbox', qos: 1 }], 1)
  await subscribe(bob, [{ topic: 'im/u/bob/#', qos: 0 }, { topic: 'im/g/+', qos: 1 }], 300)
  await subscribe(bob, [{ topic: 'im/g/dev', qos: 1 }])
  const texts = async (texts: string[]): Promise<void> => {
    for (const text of texts) await alice.publish(text.startsWith('g') ? 'im/to/g/dev' : 'im/to/u/bob', text)
    for (const text of texts) {
      const packet = await bob.packets.take(one => one.cmd === 'publish' && one.payload.toString().includes(`"${text}"`)) as IPublishPacket
      t.strictSame(identifiers(packet), text.startsWith('g') ? [300] : [1, 300], text)
    }
  }
  await texts(['d1', 'g1'])
  bob.cut()
  await bob.closed
  await chat.kill9()
  await chat.restart()
  bob = await open('bob', { ...stay, properties: { ...kept, topicAliasMaximum: 4 } })
  alice.cut()
  const again = await open('alice', { clientId: 'again' })
  await again.publish('im/to/u/bob', 'd2', { properties: { messageExpiryInterval: 100 } })
  const packet = await bob.packets.take(one => one.cmd === 'publish' && one.payload.toString().includes('"d2"')) as IPublishPacket
  t.strictSame(identifiers(packet), [1, 300])
  t.match(packet.properties, { messageExpiryInterval: 100, topicAlias: 1 })
  await subscribe(bob, [{ topic: 'im/u/bob/inbox', qos: 1 }])
  await again.publish('im/to/u/bob', 'd3')
  t.strictSame(identifiers(await bob.packets.take(one => one.cmd === 'publish' && one.payload.toString().includes('"d3"')) as IPublishPacket), [300], 'subscribing again without one takes it away')
})
