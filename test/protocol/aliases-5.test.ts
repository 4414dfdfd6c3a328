/** Topic aliases (MQTT 5, section 3.3.2.3.4), both ways and on both kinds of topics; no permission is asked of an alias. */
import { randomUUID } from 'node:crypto'
import type { IPublishPacket } from 'mqtt-packet'
import t from 'tap'
import type { Test } from 'tap'
import { device } from '../support/mqtt.ts'
import { publish2 } from '../support/ordinary-flows.ts'
import { json, RawClient } from '../support/raw-client.ts'
import type { RawConnect } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

const server = await startServer(t, { config: { mqtt: { openTopics: ['open/#'], limits: { topicAliases: 3 } } } })
const run = randomUUID().slice(0, 8)
let number = 0
const fresh = (name: string) => `open/${run}-${name}-${++number}`
const user = (name: string) => `${name}${++number}`

async function connect (t: Test, options: RawConnect = {}): Promise<RawClient> {
  const { client, connack } = await RawClient.connect(t, server.mqttPort, { version: 5, user: 'conf', clientId: `c${++number}`, ...options })
  t.equal(connack.reasonCode ?? connack.returnCode, 0, 'connected')
  t.equal(connack.properties?.topicAliasMaximum, options.version === 4 ? undefined : 3, '[3.2.2.3.8]')
  return client
}

const alias = (topicAlias: number, more: object = {}) => ({ properties: { topicAlias, ...more } })

await t.test('a client that names topics by aliases', async t => {
  const root = fresh('in')
  const [alice, bob] = [user('alice'), user('bob')]
  const sender = await connect(t, { user: alice })
  const reader = await connect(t, { user: bob })
  await reader.subscribe([`${root}/#`, `im/u/${bob}/inbox`], 2)
  await sender.publish(`${root}/a`, '1', alias(1))
  await sender.publish('', '2', alias(1))
  await publish2(sender, '', '3', alias(1))
  sender.send({ cmd: 'publish', topic: '', payload: '4', qos: 0, dup: false, retain: false, ...alias(1) })
  await sender.publish(`im/to/u/${bob}`, '5', alias(2))
  await sender.publish('', '6', alias(2))
  await sender.publish(`${root}/b`, '7', alias(1))
  await sender.publish('', '8', alias(1))
  await sender.publish(`${root}/c`, '9')
  const got: string[] = []
  while (got.length < 9) {
    const packet = await reader.next()
    if (packet.qos === 2) reader.send({ cmd: 'pubrec', messageId: packet.messageId })
    t.equal(packet.properties?.topicAlias, undefined, 'an alias is of one connection [MQTT-3.3.2-7]')
    got.push(packet.topic.startsWith('im/') ? `chat ${String(json(packet)['body'])}` : `${packet.topic.slice(root.length)} ${packet.payload.toString()}`)
  }
  t.strictSame(got.sort(), ['/a 1', '/a 2', '/a 3', '/a 4', '/b 7', '/b 8', '/c 9', 'chat 5', 'chat 6'])
})

await t.test('what is published by an alias has its other properties, in order', async t => {
  const root = fresh('properties')
  const sender = await connect(t)
  const reader = await connect(t)
  await reader.subscribe(`${root}/#`, 1)
  const properties = { payloadFormatIndicator: true, messageExpiryInterval: 100, contentType: 'a/b', responseTopic: `${root}/answer`, correlationData: Buffer.from([0, 255]), userProperties: { a: ['1', '2'], b: '3' } }
  for (const topic of [`${root}/x`, '']) {
    await sender.publish(topic, topic, alias(3, properties))
    const { properties: { userProperties, ...rest } = {}, ...packet } = await reader.next()
    t.match(packet, { topic: `${root}/x`, payload: Buffer.from(topic) })
    t.strictSame({ ...userProperties }, properties.userProperties)
    const { userProperties: _, ...expected } = properties
    t.strictSame(rest, expected)
  }
})

await t.test('aliases that are none', async t => {
  const publish = (client: RawClient, topic: string, topicAlias: number): void => { client.send({ cmd: 'publish', topic, payload: 'x', qos: 0, dup: false, retain: false, ...alias(topicAlias) }) }
  const refused = async (name: string, reasonCode: number, send: (client: RawClient) => void): Promise<void> => {
    const client = await connect(t, { clientId: 'same' })
    send(client)
    t.match(await client.packets.take(packet => packet.cmd === 'disconnect'), { reasonCode }, name)
    await client.closed
  }
  await refused('0 [MQTT-3.3.2-8]', 0x94, client => { client.write(Buffer.from([0x30, 10, 0, 3, 0x61, 0x2f, 0x62, 3, 0x23, 0, 0, 0x78])) })
  await refused('above the maximum [MQTT-3.3.2-9]', 0x94, client => { publish(client, 'open/x', 4) })
  await refused('one that was not given a topic', 0x82, client => { publish(client, '', 1) })
  const client = await connect(t, { clientId: 'same' })
  publish(client, 'open/x', 1)
  publish(client, '', 1)
  await client.ping()
  await client.disconnect()
  await refused('one of an earlier connection', 0x82, client => { publish(client, '', 1) })
  await refused('neither topic nor alias', 0x90, client => { client.write(Buffer.from([0x30, 4, 0, 0, 0, 0x78])) })
})

await t.test('a topic that may not be published to may not by an alias', async t => {
  const [alice, bob] = [user('alice'), user('bob')]
  const sender = await connect(t, { user: alice })
  const watcher = await connect(t, { user: bob })
  await watcher.subscribe([`im/u/${bob}/inbox`, 'open/#'], 1)
  await sender.publish('open/fine', 'fine', alias(1))
  for (const topic of ['closed/x', '$SYS/x', `im/u/${bob}/inbox`, 'im/g/x', 'im/server', 'im']) {
    for (const name of [topic, '', '']) {
      const { reasonCode = 0 } = await sender.publish(name, 'x', alias(1))
      t.ok(reasonCode >= 0x80, `${topic} by ${name === '' ? 'its alias' : 'name and alias'}: ${reasonCode}`)
    }
  }
  await sender.publish('open/end', 'end', alias(1))
  t.equal((await watcher.next()).payload.toString(), 'fine')
  t.equal((await watcher.next()).payload.toString(), 'end')
})

/** What a client that was told aliases makes of them; fails for one that it was not told. */
function reader (t: Test, maximum: number): (packet: IPublishPacket) => string {
  const topics = new Map<number, string>()
  return ({ topic, properties }) => {
    const given = properties?.topicAlias
    if (given === undefined) {
      t.not(topic, '')
      return topic
    }
    t.ok(given >= 1 && given <= maximum, `${given} of ${maximum} [MQTT-3.1.2-26]`)
    if (topic !== '') topics.set(given, topic)
    else t.ok(topics.has(given), 'it was told before')
    return topics.get(given) ?? ''
  }
}

await t.test('a client that takes aliases is told a topic once, on both kinds of topics', async t => {
  const root = fresh('out')
  const [alice, bob] = [user('alice'), user('bob')]
  const client = await connect(t, { user: bob, acknowledge: false, properties: { topicAliasMaximum: 2, receiveMaximum: 2 } })
  await client.subscribe([`im/u/${bob}/inbox`, `${root}/#`], 1)
  const sender = await connect(t, { user: alice })
  const topics = [`im/to/u/${bob}`, `${root}/a`, `${root}/b`]
  const topicOf = reader(t, 2)
  const seen: Array<[string, string]> = []
  let short = 0
  const take = async (): Promise<void> => {
    const packet = await client.next()
    if (packet.topic === '') short++
    const topic = topicOf(packet)
    seen.push([topic, topic.startsWith('im/') ? String(json(packet)['body']) : packet.payload.toString()])
    if (packet.qos > 0) client.puback(packet.messageId)
  }
  for (let i = 0; i < 12; i++) {
    await sender.publish(topics[i % 3] as string, String(i), i % 2 === 0 ? {} : { properties: { messageExpiryInterval: 100, contentType: i % 3 === 0 ? 'text/plain' : 'a/b' } })
    if (i > 5) await take()
  }
  while (seen.length < 12) await take()
  const expected = Array.from({ length: 12 }, (_, i) => [i % 3 === 0 ? `im/u/${bob}/inbox` : topics[i % 3], String(i)])
  t.strictSame([...seen].sort((a, b) => Number(a[1]) - Number(b[1])), expected)
  t.equal(short, 6, 'two of the three topics have an alias')
})

await t.test('who does not ask for aliases gets none; nor does one whose packets they would make too large', async t => {
  const root = fresh('none')
  const bare = await connect(t)
  const old = await connect(t, { version: 4 })
  const topic = `${root}/x`
  // Fixed header, topic, packet id, no properties, payload: three bytes more are too many.
  const small = await connect(t, { properties: { topicAliasMaximum: 2, maximumPacketSize: 2 + 2 + topic.length + 2 + 1 + 10 } })
  for (const client of [bare, old, small]) await client.subscribe(`${root}/#`, 1)
  const sender = await connect(t)
  for (let i = 0; i < 2; i++) {
    await sender.publish(topic, '0123456789')
    for (const client of [bare, old, small]) {
      const packet = await client.next()
      t.equal(packet.topic, topic)
      t.equal(packet.properties?.topicAlias, undefined)
    }
  }
})

await t.test('the mqtt package with aliases both ways', async t => {
  const root = fresh('package')
  const [alice, bob] = [user('alice'), user('bob')]
  const one = await device(t, server.url, alice, { version: 5, options: { properties: { topicAliasMaximum: 5 }, autoAssignTopicAlias: true } })
  const two = await device(t, server.url, bob, { version: 5, options: { properties: { topicAliasMaximum: 5 } } })
  await two.subscribe([`im/u/${bob}/inbox`, `${root}/+`])
  for (let i = 0; i < 3; i++) {
    t.notOk((await one.publish(`im/to/u/${bob}`, `c${i}`)).error)
    t.notOk((await one.publish(`${root}/x`, `o${i}`)).error)
  }
  for (let i = 0; i < 3; i++) {
    t.match(await two.nextJson(`im/u/${bob}/inbox`), { body: `c${i}` })
    t.match(await two.next(`${root}/x`), { text: `o${i}` })
  }
})
