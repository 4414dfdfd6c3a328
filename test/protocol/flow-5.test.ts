/** How much may be under way: Receive Maximum both ways, Maximum Packet Size, expiry while a message waits, Server Keep Alive, and what PUBACK says of receivers. */
import { randomUUID } from 'node:crypto'
import type { IPublishPacket } from 'mqtt-packet'
import { generate } from 'mqtt-packet'
import t from 'tap'
import type { Test } from 'tap'
import { complete, messagesUntil, publish2 } from '../support/ordinary-flows.ts'
import { json, RawClient } from '../support/raw-client.ts'
import type { RawConnect } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

const server = await startServer(t, { config: { mqtt: { openTopics: ['#'], limits: { keepAliveMaxSeconds: 60, pendingPublishes: 4, inflight: 8, outputBytes: 65_536 } } } })
const run = randomUUID().slice(0, 8)
let number = 0
const fresh = (name: string) => `flow-${run}-${name}-${++number}`
const kept = { sessionExpiryInterval: 1000 }

async function connect (t: Test, options: RawConnect = {}): Promise<RawClient> {
  const { client, connack } = await RawClient.connect(t, server.mqttPort, { version: 5, user: 'conf', clientId: fresh('c'), ...options })
  t.equal(connack.reasonCode ?? connack.returnCode, 0, 'connected')
  return client
}

const payloads = (packets: IPublishPacket[]) => packets.map(packet => packet.payload.toString())
const numbers = (count: number, from = 1) => Array.from({ length: count }, (_, i) => String(from + i))

async function publishAll (t: Test, topic: string, texts: string[], more: Partial<IPublishPacket> = {}): Promise<void> {
  const sender = await connect(t)
  for (const text of texts) await (more.qos === 2 ? publish2(sender, topic, text, more) : sender.publish(topic, text, more))
  await sender.disconnect()
}

/** Takes `count` messages, and makes sure that there is no other yet. */
async function take (t: Test, client: RawClient, count: number): Promise<Array<IPublishPacket & { messageId: number }>> {
  const before = client.received - client.packets.waiting.filter(packet => packet.cmd === 'publish').length
  const got = []
  for (let i = 0; i < count; i++) got.push(await client.next())
  await client.ping()
  t.equal(client.received - before, count, `${count} and no more`)
  return got
}

await t.test('a client with a Receive Maximum is sent no more on ordinary topics, live and from the queue', async t => {
  const root = fresh('maximum')
  const options: RawConnect = { acknowledge: false, clean: false, clientId: fresh('c'), properties: { ...kept, receiveMaximum: 3 } }
  const live = await connect(t, options)
  await live.subscribe(`${root}/+`, 1)
  await publishAll(t, `${root}/x`, numbers(7))
  for (const expected of [['1', '2', '3'], ['4', '5', '6']]) {
    const got = await take(t, live, 3)
    t.strictSame(payloads(got), expected, '[MQTT-3.3.4-9]')
    for (const { messageId } of got) live.puback(messageId)
  }
  await take(t, live, 1)
  live.cut()
  await live.closed
  await publishAll(t, `${root}/x`, numbers(5, 8))
  const back = await connect(t, options)
  const [first, ...rest] = await take(t, back, 3)
  t.match(first, { dup: true, payload: Buffer.from('7') })
  t.strictSame(payloads(rest), ['8', '9'])
  back.puback(first?.messageId ?? 0)
  t.strictSame(payloads(await take(t, back, 1)), ['10'], 'one for one')
  await publishAll(t, `${root}/x`, ['live'])
  for (const { messageId } of rest) back.puback(messageId)
  t.strictSame(payloads(await take(t, back, 2)), ['11', '12'], 'what is live comes behind what waits')
  back.acknowledge = true
  for (const messageId of [3, 4]) back.puback(messageId)
})

await t.test('a chat session that comes back with a smaller Receive Maximum has the rest again in its pace, with DUP and its packet ids', async t => {
  const user = fresh('u')
  const options = (receiveMaximum: number): RawConnect => ({ user, acknowledge: false, clean: false, clientId: 'phone', properties: { ...kept, receiveMaximum } })
  const inbox = `im/u/${user}/inbox`
  const first = await connect(t, options(6))
  await first.subscribe(inbox, 1)
  const [one, other] = [await connect(t, { user: fresh('s') }), await connect(t, { user: fresh('s') })]
  for (const text of numbers(3)) {
    await one.publish(`im/to/u/${user}`, `a${text}`)
    await other.publish(`im/to/u/${user}`, `b${text}`)
  }
  const known = new Map((await take(t, first, 6)).map(packet => [String(json(packet)['body']), packet.messageId]))
  const begun = [...known.keys()]
  first.cut()
  await first.closed
  await one.publish(`im/to/u/${user}`, 'new')
  const again = async (client: RawClient, texts: string[]): Promise<void> => {
    const got = await take(t, client, texts.length)
    t.strictSame(got.map(packet => String(json(packet)['body'])).sort(), [...texts].sort())
    for (const packet of got) t.match(packet, { dup: true, messageId: known.get(String(json(packet)['body'])) }, '[MQTT-4.4.0-1]')
  }
  const second = await connect(t, options(2))
  await again(second, begun.slice(0, 2))
  second.puback(known.get(begun[0] as string) as number)
  const [third] = await take(t, second, 1)
  const next = String(json(third as IPublishPacket)['body'])
  t.match(third, { dup: true, messageId: known.get(next) })
  second.cut()
  await second.closed
  const last = await connect(t, options(1))
  for (const left = new Set(begun.slice(1)); left.size > 0;) {
    const [packet] = await take(t, last, 1) as [IPublishPacket & { messageId: number }]
    const text = String(json(packet)['body'])
    t.ok(left.delete(text), text)
    t.match(packet, { dup: true, messageId: known.get(text) }, 'over a second cut, too')
    last.puback(packet.messageId)
  }
  const [latest] = await take(t, last, 1)
  t.match(json(latest as IPublishPacket), { body: 'new' })
  t.equal(latest?.dup, false)
  t.notOk([...known.values()].includes(latest?.messageId ?? 0), 'by a packet id of its own')
})

await t.test('a QoS 2 message counts until it is finished, or refused', async t => {
  const root = fresh('two')
  const client = await connect(t, { acknowledge: false, properties: { receiveMaximum: 1 } })
  await client.subscribe(`${root}/+`, 2)
  await publishAll(t, `${root}/x`, ['1', '2', '3'], { qos: 2 })
  const [first] = await take(t, client, 1)
  const messageId = first?.messageId ?? 0
  client.send({ cmd: 'pubrec', messageId })
  await client.packets.take(packet => packet.cmd === 'pubrel')
  await take(t, client, 0)
  client.send({ cmd: 'pubcomp', messageId })
  const [second] = await take(t, client, 1)
  t.equal(second?.payload.toString(), '2')
  client.send({ cmd: 'pubrec', messageId: second?.messageId ?? 0, reasonCode: 0x80 })
  t.strictSame(payloads(await take(t, client, 1)), ['3'], '[4.9]')
})

await t.test('chat and ordinary topics share one Receive Maximum', async t => {
  const root = fresh('both')
  const user = fresh('u')
  const client = await connect(t, { user, acknowledge: false, properties: { receiveMaximum: 3 } })
  await client.subscribe([`im/u/${user}/inbox`, `${root}/+`], 1)
  const sender = await connect(t)
  for (const text of numbers(3)) {
    await sender.publish(`${root}/x`, `o${text}`)
    await sender.publish(`im/to/u/${user}`, `c${text}`)
  }
  const seen: string[] = []
  for (let open: number[] = [], left = 6; left > 0;) {
    const got = await take(t, client, Math.min(3 - open.length, left))
    left -= got.length
    for (const packet of got) seen.push(packet.topic.startsWith('im/') ? String(json(packet)['body']) : packet.payload.toString())
    open.push(...got.map(packet => packet.messageId))
    client.puback(open.shift() as number)
    if (left === 0) for (const messageId of open.splice(0)) client.puback(messageId)
  }
  t.strictSame(seen.filter(text => text.startsWith('c')), ['c1', 'c2', 'c3'])
  t.strictSame(seen.filter(text => text.startsWith('o')), ['o1', 'o2', 'o3'])
})

for (const version of [4, 5] as const) {
  await t.test(`a backlog that is larger than what a connection may be sent at once comes in its pace, version ${version}`, async t => {
    const root = fresh('backlog')
    const options: RawConnect = { version, clean: false, clientId: fresh('c'), properties: kept }
    const client = await connect(t, options)
    await client.subscribe(`${root}/+`, 1)
    await client.disconnect()
    await publishAll(t, `${root}/x`, numbers(100).map(text => text.padEnd(10_000)))
    const back = await connect(t, { ...options, acknowledge: false })
    const got: string[] = []
    // The live ones come behind the others, whoever is faster.
    await publishAll(t, `${root}/x`, numbers(100, 101).map(text => text.padEnd(10_000)))
    await take(t, back, 8).then(first => { for (const packet of first) { got.push(packet.payload.toString().trim()); back.puback(packet.messageId) } })
    while (got.length < 200) {
      const packet = await back.next()
      got.push(packet.payload.toString().trim())
      back.puback(packet.messageId)
    }
    t.strictSame(got, numbers(200))
  })
}

for (const version of [4, 5] as const) {
  await t.test(`a kept session that falls behind what is sent live keeps its connection, and gets all of it in order, version ${version}`, async t => {
    const root = fresh('behind')
    const clientId = fresh('c')
    const client = await connect(t, { version, clean: false, clientId, properties: kept, acknowledge: false })
    await client.subscribe(`${root}/+`, 2)
    const first = await connect(t)
    for (const text of numbers(100)) await first.publish(`${root}/x`, text.padEnd(10_000))
    const got = await take(t, client, 8)
    for (const text of numbers(100, 101)) await publish2(first, `${root}/x`, text.padEnd(10_000))
    for (const { messageId } of got) client.puback(messageId)
    while (got.length < 150) {
      const packet = await client.next()
      got.push(packet)
      if (packet.qos === 2) await complete(client, packet)
      else client.puback(packet.messageId)
    }
    // Some of it comes while the rest is taken from the queue.
    for (const text of numbers(50, 201)) await first.publish(`${root}/x`, text.padEnd(10_000))
    while (got.length < 250) {
      const packet = await client.next()
      got.push(packet)
      if (packet.qos === 2) await complete(client, packet)
      else client.puback(packet.messageId)
    }
    await client.ping()
    t.equal(client.received, 250, 'and each once')
    t.strictSame(payloads(got.filter(packet => packet.qos === 1)).map(text => text.trim()), [...numbers(100), ...numbers(50, 201)])
    t.strictSame(payloads(got.filter(packet => packet.qos === 2)).map(text => text.trim()), numbers(100, 101))
    await client.disconnect()
    const back = await connect(t, { version, clean: false, clientId, properties: kept })
    await first.publish(`${root}/x`, 'end')
    t.strictSame(payloads(await messagesUntil(back, 'end')), [], 'nothing is left of it')
  })
}

await t.test('who sends more than the Receive Maximum of the server is told so', async t => {
  for (const [topic, qos] of [['a/b', 1], ['a/b', 2], ['im/to/u/bob', 1], ['im/to/u/bob', 2]] as const) {
    const { client, connack } = await RawClient.connect(t, server.mqttPort, { version: 5, user: 'conf', clientId: fresh('c') })
    t.equal(connack.properties?.receiveMaximum, 4)
    const publish = (messageId: number) => generate({ cmd: 'publish', topic, payload: 'x', qos, messageId, dup: false, retain: false }, { protocolVersion: 5 })
    client.write(Buffer.concat([1, 2, 3, 4, 5].map(publish)))
    t.match(await client.packets.take(packet => packet.cmd === 'disconnect'), { reasonCode: 0x93 }, `${topic} at QoS ${qos} [MQTT-3.3.4-7]`)
    await client.closed
    const other = await connect(t)
    other.write(Buffer.concat([1, 2, 3, 4].map(publish)))
    for (let i = 0; i < 4; i++) await other.packets.take(packet => packet.cmd === (qos === 1 ? 'puback' : 'pubrec'))
    await other.disconnect()
  }
})

await t.test('a packet that is too large for the client is not sent, and counts as delivered', async t => {
  for (const qos of [1, 2] as const) {
    const root = fresh('size')
    const clientId = fresh('c')
    const small: RawConnect = { clean: false, clientId, properties: { ...kept, maximumPacketSize: 200 } }
    const client = await connect(t, small)
    await client.subscribe(`${root}/+`, 2)
    await publishAll(t, `${root}/x`, ['x'.repeat(300), 'small'], { qos })
    t.strictSame(payloads(await messagesUntil(client, 'small')), [], '[MQTT-3.1.2-24]')
    await client.disconnect()
    await publishAll(t, `${root}/x`, ['y'.repeat(300), 'from the queue'], { qos })
    const back = await connect(t, { ...small, properties: { ...small.properties, receiveMaximum: 1 } })
    t.strictSame(payloads(await messagesUntil(back, 'from the queue')), [])
    await back.disconnect()
    const large = await connect(t, { ...small, properties: kept })
    await publishAll(t, `${root}/x`, ['end'])
    t.strictSame(payloads(await messagesUntil(large, 'end')), [], '[MQTT-3.1.2-25]')
  }
})

await t.test('the time of a message goes on while it waits for room', async t => {
  const root = fresh('expiry')
  const client = await connect(t, { acknowledge: false, properties: { receiveMaximum: 1 } })
  await client.subscribe(`${root}/+`, 1)
  await publishAll(t, `${root}/x`, ['first'])
  await publishAll(t, `${root}/x`, ['short'], { properties: { messageExpiryInterval: 1, contentType: 'a/b' } })
  await publishAll(t, `${root}/x`, ['long'], { properties: { contentType: 'a/b', messageExpiryInterval: 100, userProperties: { a: 'b' } } })
  const [first] = await take(t, client, 1)
  // The passing of the time is what is tested; nothing announces it.
  await new Promise(resolve => setTimeout(resolve, 1100))
  client.puback(first?.messageId ?? 0)
  const got = await client.next()
  t.equal(got.payload.toString(), 'long', '[MQTT-3.3.2-5]')
  const { messageExpiryInterval: left = 0, contentType } = got.properties ?? {}
  t.ok(left >= 97 && left <= 99, `${left} s are left [MQTT-3.3.2-6]`)
  t.equal(contentType, 'a/b')
  t.strictSame({ ...got.properties?.userProperties }, { a: 'b' })
})

await t.test('PUBACK and PUBREC say that nobody listens', async t => {
  const root = fresh('nobody')
  const sender = await connect(t, { clean: false, properties: kept })
  const answer = async (topic: string): Promise<number[]> => {
    const one = (await sender.publish(topic, 'x')).reasonCode ?? 0
    const messageId = sender.nextId()
    sender.send({ cmd: 'publish', topic, payload: 'x', qos: 2, messageId, dup: false, retain: false })
    const two = await sender.packets.take(packet => packet.cmd === 'pubrec' && packet.messageId === messageId)
    sender.send({ cmd: 'pubrel', messageId })
    t.match(await sender.packets.take(packet => packet.cmd === 'pubcomp'), { messageId })
    return [one, 'reasonCode' in two ? two.reasonCode ?? 0 : 0]
  }
  t.strictSame(await answer(`${root}/x`), [0x10, 0x10], '[3.4.2.1], [3.5.2.1]')
  sender.send({ cmd: 'subscribe', messageId: 9, subscriptions: [{ topic: `${root}/+`, qos: 1, nl: true }] })
  await sender.packets.take(packet => packet.cmd === 'suback')
  t.strictSame(await answer(`${root}/x`), [0x10, 0x10], 'who does not want its own is not one')
  const other = await connect(t, { version: 4 })
  await other.subscribe(`${root}/+`, 0)
  t.strictSame(await answer(`${root}/x`), [0, 0])
  await other.disconnect()
  t.strictSame(await answer(`${root}/x`), [0x10, 0x10])
  const away = await connect(t, { clean: false, properties: kept })
  await away.subscribe(`${root}/#`, 1)
  await away.disconnect()
  t.strictSame(await answer(`${root}/x`), [0, 0], 'one who is away will get it')
  t.equal((await sender.publish('im/to/u/bob', 'x')).reasonCode ?? 0, 0, 'chat: it is stored')
  const old = await connect(t, { version: 4 })
  await old.publish(`${root}-nobody`, 'x')
})

await t.test('Server Keep Alive', async t => {
  for (const [asked, told] of [[0, 60], [3000, 60], [61, 60], [60, undefined], [30, undefined]] as const) {
    const { connack } = await RawClient.connect(t, server.mqttPort, { version: 5, user: 'conf', keepaliveSeconds: asked })
    t.equal(connack.properties?.serverKeepAlive, told, `${asked} [MQTT-3.2.2-21]`)
  }
})
