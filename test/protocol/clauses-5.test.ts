/** Clauses that only MQTT 5 has: what CONNACK and acknowledgements may say, expiry of what was sent, refusals, enhanced authentication. */
import type { IConnackPacket, IPublishPacket, Packet } from 'mqtt-packet'
import t from 'tap'
import { ask, Clients, fresh, payloads } from '../support/clauses.ts'
import { bytes } from '../support/frame-bytes.ts'
import { within } from '../support/mailbox.ts'
import { messagesUntil, publish2, release } from '../support/ordinary-flows.ts'
import { connectPacket, RawClient } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

const server = await startServer(t, { config: { mqtt: { openTopics: ['#'] } } })
const clients = new Clients(server.mqttPort, 5)
const beside = (packet: Packet): unknown => (packet as { properties?: unknown }).properties

await t.test('CONNACK says nothing that was not asked for', async t => {
  const client = await RawClient.open(t, server.mqttPort, { version: 5 })
  const chunks: Buffer[] = []
  client.stream.on('data', (chunk: Buffer) => { chunks.push(chunk) })
  const connack: IConnackPacket = await client.hello({ user: 'clauses', clientId: fresh('c'), properties: { requestResponseInformation: false } })
  t.equal(Buffer.concat(chunks)[2], 0, 'reserved bits [MQTT-3.2.2-1]')
  t.equal(connack.reasonCode, 0, '[MQTT-3.1.4-5], [MQTT-3.2.2-8]')
  const { responseInformation, authenticationMethod, authenticationData, reasonString, userProperties, maximumQoS, retainAvailable, serverKeepAlive } = connack.properties ?? {}
  t.equal(responseInformation, undefined, '[MQTT-3.1.2-28]')
  t.strictSame([authenticationMethod, authenticationData], [undefined, undefined], '[MQTT-4.12.0-6]')
  t.strictSame([reasonString, userProperties], [undefined, undefined], '[MQTT-3.2.2-19], [MQTT-3.2.2-20]')
  t.strictSame([maximumQoS, retainAvailable], [undefined, undefined], 'all of it is available [MQTT-3.2.2-9]')
  t.equal(serverKeepAlive, undefined, 'its own is fine [MQTT-3.2.2-22]')
})

await t.test('who has no room for the CONNACK is not sent it', async t => {
  const root = fresh('room')
  const watcher = await clients.connect(t)
  await watcher.subscribe(`${root}/#`, 1)
  const clientId = fresh('c')
  const will = { topic: `${root}/will`, payload: Buffer.from('will'), qos: 1, retain: false } as const
  for (const maximumPacketSize of [1, 10]) {
    const client = await RawClient.open(t, server.mqttPort, { version: 5 })
    const chunks: Buffer[] = []
    client.stream.on('data', (chunk: Buffer) => { chunks.push(chunk) })
    client.send(connectPacket({ version: 5, user: 'clauses', clientId, will, properties: { maximumPacketSize } }))
    await within(client.closed, 10_000, 'the close')
    t.strictSame(Buffer.concat(chunks).length, 0, '[MQTT-3.1.2-24]')
  }
  await clients.connect(t, { clientId })
  await watcher.publish(`${root}/end`, 'end')
  t.strictSame(payloads(await messagesUntil(watcher, 'end')), [], 'and leaves no will')
})

await t.test('an authentication method is refused, and nothing of AUTH is sent', async t => {
  const { client, connack } = await RawClient.connect(t, server.mqttPort, { version: 5, user: 'clauses', clientId: fresh('c'), properties: { authenticationMethod: 'SCRAM-SHA-999' } })
  t.equal(connack.reasonCode, 0x8c, '[MQTT-4.12.0-1], [MQTT-4.12.0-4]')
  await within(client.closed, 10_000, 'the close')
  t.strictSame(client.packets.waiting, [], '[MQTT-3.2.0-2]')
})

await t.test('a will of every QoS is accepted, and has its properties', async t => {
  const root = fresh('will')
  const watcher = await clients.connect(t)
  await watcher.subscribe(`${root}/#`, 2)
  for (const qos of [0, 1, 2] as const) {
    const userProperties = { a: ['1', '2'], b: '3' }
    const dying = await clients.connect(t, { will: { topic: `${root}/${qos}`, payload: Buffer.from('gone'), qos, retain: true, properties: { userProperties, contentType: 'a/b' } } })
    dying.cut()
    const got = await watcher.next(`${root}/${qos}`)
    t.equal(got.qos, qos, '[MQTT-3.1.2-12], [MQTT-3.2.2-12], [MQTT-3.2.2-13]')
    t.strictSame({ ...got.properties?.userProperties }, userProperties)
    await watcher.publish(`${root}/${qos}`, '', { retain: true })
  }
})

// Of names that take turns the order is lost: see docs/conformance.md.
await t.test('user properties come in their order, name by name', async t => {
  const root = fresh('order')
  const client = await clients.connect(t)
  await client.subscribe(`${root}/x`, 0)
  const chunks: Buffer[] = []
  client.stream.on('data', (chunk: Buffer) => { chunks.push(chunk) })
  const properties = bytes(...[['b', '1'], ['a', '2'], ['c', '3'], ['c', '4']].flatMap(([name = '', value = '']) => [0x26, name, value]))
  const body = bytes(`${root}/x`, properties.length, properties)
  client.write(bytes(0x30, body.length, body))
  await client.next()
  t.ok(Buffer.concat(chunks).includes(properties), '[MQTT-3.3.2-17]')
})

await t.test('without problem information nothing is said beside the code', async t => {
  const client = await clients.connect(t, { properties: { requestProblemInformation: false } })
  const puback = await client.publish('im/server', 'x')
  t.ok((puback.reasonCode ?? 0) >= 0x80, '[MQTT-3.4.2-1]')
  const pubrec = await ask(client, { cmd: 'publish', topic: 'im/server', payload: 'x', qos: 2, dup: false, retain: false, messageId: 5 }, 'pubrec')
  t.ok((pubrec.reasonCode ?? 0) >= 0x80, '[MQTT-3.5.2-1]')
  const suback = await ask(client, { cmd: 'subscribe', messageId: 6, subscriptions: [{ topic: 'im/#', qos: 1 }] }, 'suback')
  const unsuback = await ask(client, { cmd: 'unsubscribe', messageId: 7, unsubscriptions: ['im/#'] }, 'unsuback')
  for (const packet of [puback, pubrec, suback, unsuback]) t.notOk(beside(packet), `${packet.cmd} [MQTT-3.1.2-29]`)
})

await t.test('SUBACK, UNSUBACK, PUBREL and PUBCOMP have only their codes', async t => {
  const root = fresh('bare')
  const client = await clients.connect(t, { properties: { maximumPacketSize: 200 } })
  const suback = await ask(client, { cmd: 'subscribe', messageId: 6, subscriptions: [{ topic: `${root}/x`, qos: 2 }, { topic: 'im/#', qos: 1 }] }, 'suback')
  t.notOk(beside(suback), '[MQTT-3.9.2-1], [MQTT-3.9.2-2]')
  await ask(client, { cmd: 'publish', topic: `${root}/x`, payload: 'x', qos: 2, dup: false, retain: false, messageId: 5 }, 'pubrec')
  const pubcomp = await ask(client, { cmd: 'pubrel', messageId: 5 }, 'pubcomp')
  t.equal(pubcomp.messageId, 5, '[MQTT-2.2.1-5]')
  const message = await client.next()
  const pubrel = await ask(client, { cmd: 'pubrec', messageId: message.messageId }, 'pubrel')
  t.equal(pubrel.messageId, message.messageId, '[MQTT-2.2.1-5]')
  client.send({ cmd: 'pubcomp', messageId: message.messageId })
  const unknown = await ask(client, { cmd: 'pubrel', messageId: 77 }, 'pubcomp')
  t.ok([0, 0x92].includes(unknown.reasonCode ?? 0), '[MQTT-3.7.2-1]')
  t.equal(pubrel.reasonCode ?? 0, 0, '[MQTT-3.6.2-1]')
  for (const packet of [pubcomp, pubrel, unknown]) t.notOk(beside(packet), `${packet.cmd} [MQTT-3.6.2-2], [MQTT-3.6.2-3], [MQTT-3.7.2-2], [MQTT-3.7.2-3]`)
  const unsuback = await ask(client, { cmd: 'unsubscribe', messageId: 7, unsubscriptions: [`${root}/x`, 'none'] }, 'unsuback')
  t.notOk(beside(unsuback), '[MQTT-3.11.2-1], [MQTT-3.11.2-2]')
})

await t.test('what was sent does not expire any more', async t => {
  const root = fresh('sent')
  const clientId = fresh('c')
  const first = (await clients.keep(t, clientId, { acknowledge: false })).client
  await first.subscribe(`${root}/#`, 2)
  const sender = await clients.connect(t)
  const short = { properties: { messageExpiryInterval: 1 } }
  await sender.publish(`${root}/1`, 'one', short)
  await publish2(sender, `${root}/2`, 'two', short)
  await publish2(sender, `${root}/3`, 'three', short)
  const before = [await first.next(), await first.next(), await first.next()] as const
  await new Promise(resolve => setTimeout(resolve, 1200))
  await release(first, before[1])
  first.cut()
  await first.closed
  // One at a time: what waits for its turn does not expire either.
  const back = (await clients.keep(t, clientId, { properties: { receiveMaximum: 1 } })).client
  const again: IPublishPacket[] = [await back.next(), await back.next()]
  t.strictSame(payloads(again), ['one', 'three'], '[MQTT-4.3.3-7]')
  t.match(await back.packets.take(packet => packet.cmd === 'pubrel'), { messageId: before[1].messageId }, '[MQTT-4.3.3-13]')
})

await t.test('what the client refuses is over', async t => {
  const root = fresh('refused')
  const clientId = fresh('c')
  const first = (await clients.keep(t, clientId, { acknowledge: false })).client
  await first.subscribe(`${root}/#`, 2)
  const sender = await clients.connect(t)
  await sender.publish(`${root}/1`, 'one')
  await publish2(sender, `${root}/2`, 'two')
  const [one, two] = [await first.next(), await first.next()]
  first.send({ cmd: 'puback', messageId: one.messageId, reasonCode: 0x80 })
  first.send({ cmd: 'pubrec', messageId: two.messageId, reasonCode: 0x83 })
  await first.ping()
  first.cut()
  await first.closed
  const back = (await clients.keep(t, clientId)).client
  await sender.publish(`${root}/end`, 'end')
  t.strictSame(payloads(await messagesUntil(back, 'end')), [], '[MQTT-4.4.0-2]')
  t.notOk(back.packets.waiting.some(packet => packet.cmd === 'pubrel'), 'nor is there a PUBREL [MQTT-4.3.3-4]')
})

await t.test('a copy as a member and one of its own: each has the identifier of its subscription', async t => {
  const root = fresh('both')
  const client = await clients.connect(t)
  await ask(client, { cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: `${root}/x`, qos: 1 }], properties: { subscriptionIdentifier: 11 } }, 'suback')
  await ask(client, { cmd: 'subscribe', messageId: 2, subscriptions: [{ topic: `$share/g/${root}/x`, qos: 0 }], properties: { subscriptionIdentifier: 22 } }, 'suback')
  await client.publish(`${root}/x`, 'x')
  const got = [await client.next(), await client.next()].map(({ qos, properties }) => [[properties?.subscriptionIdentifier].flat()[0], qos])
  t.strictSame(got.sort((a, b) => (a[0] ?? 0) - (b[0] ?? 0)), [[11, 1], [22, 0]], '[MQTT-3.3.4-5], [MQTT-4.8.2-3]')
})

await t.test('Clean Start, then the same session again', async t => {
  const clientId = fresh('c')
  t.notOk((await clients.keep(t, clientId)).present, '[MQTT-3.1.2-6], [MQTT-3.2.2-3]')
  t.ok((await clients.keep(t, clientId)).present, '[MQTT-3.1.2-5], [MQTT-3.1.3-2]')
  t.notOk((await clients.keep(t, clientId, { clean: true })).present, '[MQTT-3.1.2-4], [MQTT-3.1.4-4]')
})

await t.test('a PUBREC of what is not under way', async t => {
  const client = await clients.connect(t)
  await client.subscribe(fresh('topic'), 2)
  for (const messageId of [1, 40_000]) t.match(await ask(client, { cmd: 'pubrec', messageId }, 'pubrel'), { messageId, reasonCode: 0x92 }, 'section 3.6.2.1')
  client.send({ cmd: 'pubrec', messageId: 41_000, reasonCode: 0x80 })
  await client.ping()
  t.strictSame(client.packets.waiting, [], 'one of failure has no answer')
  const without = await clients.connect(t)
  t.match(await ask(without, { cmd: 'pubrec', messageId: 50_000 }, 'pubrel'), { messageId: 50_000, reasonCode: 0x92 }, 'of a client that has no ordinary topics')
})

await t.test('who has no room for the SUBACK or UNSUBACK has its connection ended, and nothing is changed', async t => {
  const root = fresh('room')
  const filters = Array.from({ length: 40 }, (_, i) => `${root}/${i}`)
  const { client } = await clients.keep(t, fresh('c'), { properties: { maximumPacketSize: 40 } })
  const chunks: Buffer[] = []
  client.stream.on('data', (chunk: Buffer) => { chunks.push(chunk) })
  t.strictSame(await client.subscribe(filters.slice(0, 34), 1), new Array(34).fill(1), '40 bytes')
  const sender = await clients.connect(t)
  const end = async (packet: Packet): Promise<void> => {
    const clientId = fresh('c')
    const { client: small } = await clients.keep(t, clientId, { properties: { maximumPacketSize: 40 } })
    await small.subscribe(`${root}/0`, 1)
    small.send(packet)
    t.match(await small.packets.take(packet => packet.cmd === 'disconnect'), { reasonCode: 0x95 }, '[MQTT-3.1.2-24]')
    await within(small.closed, 10_000, 'the close')
    await sender.publish(`${root}/39`, 'not subscribed')
    await sender.publish(`${root}/0`, 'end')
    const { client: back } = await clients.keep(t, clientId)
    t.strictSame(payloads(await messagesUntil(back, 'end')), [])
  }
  await end({ cmd: 'subscribe', messageId: 9, subscriptions: filters.map(topic => ({ topic, qos: 1 })) })
  await end({ cmd: 'unsubscribe', messageId: 9, unsubscriptions: filters })
})
