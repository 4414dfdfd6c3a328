/** What MQTT 5 asks of any broker, over ordinary topics: the cases of the Eclipse Paho suite that an ordinary topic can show. */
import { randomUUID } from 'node:crypto'
import type { IPublishPacket, ISubackPacket, IUnsubackPacket } from 'mqtt-packet'
import t from 'tap'
import type { Test } from 'tap'
import { RawClient } from '../support/raw-client.ts'
import type { RawConnect } from '../support/raw-client.ts'
import { device } from '../support/mqtt.ts'
import { within } from '../support/mailbox.ts'
import { startOrdinary } from '../support/ordinary-broker.ts'
import { complete, messagesUntil, publish2, release } from '../support/ordinary-flows.ts'

const server = await startOrdinary(t)
const run = randomUUID().slice(0, 8)
let number = 0
const fresh = (name: string) => `conf-${run}-${name}-${++number}`
const forever = { sessionExpiryInterval: 0xffffffff }

async function connect (t: Test, options: RawConnect = {}): Promise<RawClient> {
  const { client, connack } = await RawClient.connect(t, server.port, { version: 5, user: 'conf', clientId: fresh('c'), ...options })
  t.equal(connack.reasonCode, 0, 'connected')
  return client
}

async function resume (t: Test, clientId: string, options: RawConnect = {}): Promise<{ client: RawClient, present: boolean }> {
  const { client, connack } = await RawClient.connect(t, server.port, { version: 5, user: 'conf', clientId, clean: false, properties: forever, ...options })
  t.equal(connack.reasonCode, 0, 'connected')
  return { client, present: connack.sessionPresent }
}

interface Filter { topic: string, qos: 0 | 1 | 2, nl?: boolean, rap?: boolean, rh?: number }

async function subscribe (client: RawClient, filters: Filter[], identifier?: number): Promise<number[]> {
  const messageId = client.nextId()
  client.send({ cmd: 'subscribe', messageId, subscriptions: filters, ...identifier !== undefined && { properties: { subscriptionIdentifier: identifier } } })
  const suback = await client.packets.take(packet => packet.cmd === 'suback' && packet.messageId === messageId, 15_000, 'suback') as ISubackPacket
  return suback.granted as number[]
}

const payloads = (packets: IPublishPacket[]) => packets.map(packet => packet.payload.toString())

await t.test('basic', async t => {
  const root = fresh('basic')
  const client = await connect(t)
  t.strictSame(await client.subscribe(`${root}/+`, 2), [2])
  client.send({ cmd: 'publish', topic: `${root}/0`, payload: 'q0', qos: 0, dup: false, retain: false })
  t.equal((await client.publish(`${root}/1`, 'q1')).reasonCode ?? 0, 0)
  await publish2(client, `${root}/2`, 'q2')
  for (const qos of [0, 1, 2]) {
    const got = await client.next(`${root}/${qos}`)
    t.equal(got.qos, qos)
    if (qos === 2) await complete(client, got)
  }
})

await t.test('an assigned client id', async t => {
  const { connack } = await RawClient.connect(t, server.port, { version: 5, user: 'conf', clientId: '' })
  t.match(connack, { reasonCode: 0, properties: { assignedClientIdentifier: /./ } }, '[MQTT-3.2.2-16]')
})

await t.test('properties reach the subscriber, live, retained and from the queue', async t => {
  const root = fresh('properties')
  const properties = {
    payloadFormatIndicator: true,
    contentType: 'text/plain',
    responseTopic: `${root}/answer`,
    correlationData: Buffer.from([0, 255, 1]),
    userProperties: { a: ['1', '2'], b: '3' }
  }
  const id = fresh('c')
  const away = await resume(t, id)
  await away.client.subscribe(`${root}/+`, 1)
  await away.client.disconnect()
  const live = await connect(t)
  await live.subscribe(`${root}/+`, 1)
  await live.publish(`${root}/x`, 'x', { retain: true, properties })
  const later = await connect(t)
  await later.subscribe(`${root}/+`, 1)
  const back = await resume(t, id)
  for (const client of [live, later, back.client]) {
    const got = await client.next(`${root}/x`)
    t.equal(got.properties?.contentType, 'text/plain')
    t.equal(got.properties?.payloadFormatIndicator, true)
    t.equal(got.properties?.responseTopic, `${root}/answer`)
    t.strictSame(Buffer.from(got.properties?.correlationData ?? []), Buffer.from([0, 255, 1]))
    t.strictSame({ ...got.properties?.userProperties }, { a: ['1', '2'], b: '3' }, '[MQTT-3.3.2-17]')
  }
  await live.publish(`${root}/x`, '', { retain: true })
})

await t.test('a message expires in the queue, and the rest of its life is told', async t => {
  const root = fresh('expiry')
  const id = fresh('c')
  const { client } = await resume(t, id)
  await client.subscribe(`${root}/+`, 1)
  await client.disconnect()
  const other = await connect(t)
  await other.publish(`${root}/short`, 'short', { retain: true, properties: { messageExpiryInterval: 1 } })
  await other.publish(`${root}/long`, 'long', { properties: { messageExpiryInterval: 100 } })
  await new Promise(resolve => setTimeout(resolve, 1100))
  const back = await resume(t, id)
  const got = await back.client.next()
  t.equal(got.payload.toString(), 'long', '[MQTT-3.3.2-5]')
  const left = got.properties?.messageExpiryInterval ?? 0
  t.ok(left > 0 && left < 100, '[MQTT-3.3.2-6]')
  await subscribe(back.client, [{ topic: `${root}/short`, qos: 1 }])
  await other.publish(`${root}/end`, 'end')
  t.strictSame(payloads(await messagesUntil(back.client, 'end')), [], 'nor is it retained any more')
})

await t.test('a session expires', async t => {
  const id = fresh('c')
  const root = fresh('session')
  const first = await resume(t, id, { properties: { sessionExpiryInterval: 1 } })
  await first.client.subscribe(`${root}/+`, 1)
  await first.client.disconnect()
  await new Promise(resolve => setTimeout(resolve, 1300))
  const second = await resume(t, id)
  t.notOk(second.present, '[MQTT-3.1.2-23]')
  await second.client.subscribe(`${root}/+`, 1)
  second.client.send({ cmd: 'disconnect', reasonCode: 0, properties: { sessionExpiryInterval: 0 } })
  await within(second.client.closed, 10_000, 'the close')
  t.notOk((await resume(t, id)).present, 'DISCONNECT can end it [3.14.2.2.2]')
})

await t.test('a clean start forgets, and the new session is kept', async t => {
  const root = fresh('start')
  const id = fresh('c')
  const first = await resume(t, id)
  await first.client.subscribe(`${root}/+`, 1)
  await first.client.disconnect()
  const other = await connect(t)
  await other.publish(`${root}/old`, 'old')
  const second = await resume(t, id, { clean: true })
  t.notOk(second.present, '[MQTT-3.1.2-4]')
  await second.client.subscribe(`${root}/+`, 1)
  await second.client.disconnect()
  await other.publish(`${root}/new`, 'new')
  const third = await resume(t, id)
  t.ok(third.present, '[MQTT-3.1.2-5]')
  t.equal((await third.client.next()).payload.toString(), 'new')
})

await t.test('subscribe options: no local, retain as published, retain handling', async t => {
  const root = fresh('options')
  const client = await connect(t)
  t.strictSame(await subscribe(client, [{ topic: `${root}/nl`, qos: 1, nl: true }, { topic: `${root}/rap`, qos: 1, rap: true }, { topic: `${root}/end`, qos: 1 }]), [1, 1, 1])
  await client.publish(`${root}/nl`, 'own')
  await client.publish(`${root}/rap`, 'kept', { retain: true })
  await client.publish(`${root}/end`, 'end', { retain: true })
  const got = await messagesUntil(client, 'end')
  t.strictSame(payloads(got), ['kept'], '[MQTT-3.8.3-3]')
  t.ok(got[0]?.retain, '[MQTT-3.3.1-13]')
  const reader = await connect(t)
  await subscribe(reader, [{ topic: `${root}/rap`, qos: 1, rh: 2 }])
  await subscribe(reader, [{ topic: `${root}/end`, qos: 1, rh: 1 }])
  t.strictSame(payloads(await messagesUntil(reader, 'end')), [], '[MQTT-3.3.1-11]')
  await subscribe(reader, [{ topic: `${root}/end`, qos: 1, rh: 1 }])
  await subscribe(reader, [{ topic: `${root}/rap`, qos: 1, rh: 0 }])
  t.equal((await reader.next()).payload.toString(), 'kept', '[MQTT-3.3.1-10]')
  for (const name of ['rap', 'end']) await client.publish(`${root}/${name}`, '', { retain: true })
})

await t.test('no local holds for queued messages too', async t => {
  const root = fresh('local')
  const id = fresh('c')
  const { client } = await resume(t, id)
  await subscribe(client, [{ topic: `${root}/+`, qos: 1, nl: true }])
  await client.publish(`${root}/own`, 'own')
  await client.disconnect()
  const other = await connect(t)
  await other.publish(`${root}/other`, 'other')
  const back = await resume(t, id)
  t.equal((await back.client.next()).payload.toString(), 'other', '[MQTT-3.8.3-3]')
})

await t.test('subscription identifiers', async t => {
  const root = fresh('identifier')
  const id = fresh('c')
  const { client } = await resume(t, id)
  await subscribe(client, [{ topic: `${root}/a/+`, qos: 1 }], 7)
  await subscribe(client, [{ topic: `${root}/a/#`, qos: 1 }], 4000)
  await subscribe(client, [{ topic: `${root}/b`, qos: 1 }])
  const other = await connect(t)
  await other.publish(`${root}/a/x`, 'live')
  const identifiers = (packet: IPublishPacket) => [packet.properties?.subscriptionIdentifier].flat().filter(n => n !== undefined).sort()
  const first = [await client.next()]
  if (identifiers(first[0] as IPublishPacket).length < 2) first.push(await client.next())
  t.strictSame(first.flatMap(identifiers).sort(), [4000, 7], 'all of them in one message, or one in each [MQTT-3.3.4-3]')
  await client.disconnect()
  await other.publish(`${root}/a/y`, 'queued')
  await other.publish(`${root}/b`, 'plain')
  const back = (await resume(t, id)).client
  t.strictSame(identifiers(await back.next(`${root}/a/y`)), [4000, 7], 'also from the queue')
  t.strictSame(identifiers(await back.next(`${root}/b`)), [])
})

await t.test('unsubscribe and subscribe answer with reason codes', async t => {
  const root = fresh('codes')
  const client = await connect(t)
  t.strictSame(await subscribe(client, [{ topic: `${root}/a`, qos: 1 }]), [1])
  t.ok((await subscribe(client, [{ topic: 'im/#', qos: 1 }])).every(code => code >= 0x80), 'refused')
  client.send({ cmd: 'unsubscribe', messageId: 77, unsubscriptions: [`${root}/a`, `${root}/b`] })
  const unsuback = await client.packets.take(packet => packet.cmd === 'unsuback', 15_000, 'unsuback') as IUnsubackPacket
  t.strictSame(unsuback.granted, [0, 0x11], '[3.11.3]')
})

await t.test('redelivery on reconnect', async t => {
  const root = fresh('redelivery')
  const id = fresh('c')
  const { client } = await resume(t, id, { acknowledge: false })
  await client.subscribe(`${root}/+`, 2)
  const other = await connect(t)
  await other.publish(`${root}/1`, 'q1')
  await publish2(other, `${root}/2`, 'q2')
  const first = await client.next(`${root}/1`)
  const second = await client.next(`${root}/2`)
  await release(client, second)
  client.cut()
  await client.closed
  const back = (await resume(t, id)).client
  t.match(await back.next(), { dup: true, messageId: first.messageId }, '[MQTT-3.3.1-1]')
  t.match(await back.packets.take(packet => packet.cmd === 'pubrel', 15_000, 'pubrel'), { messageId: second.messageId }, '[MQTT-4.4.0-1]')
})

await t.test('a delayed will, and one that DISCONNECT asks for', async t => {
  const root = fresh('will')
  const watcher = await connect(t)
  await watcher.subscribe(`${root}/+`, 1)
  const id = fresh('c')
  const will = (name: string, willDelayInterval: number): RawConnect => ({ will: { topic: `${root}/${name}`, payload: Buffer.from(name), qos: 1, retain: false, properties: { willDelayInterval } } })
  const { client } = await resume(t, id, will('early', 1))
  client.cut()
  await client.closed
  const again = (await resume(t, id, will('asked', 0))).client
  again.send({ cmd: 'disconnect', reasonCode: 4 })
  const first = await watcher.next()
  t.equal(first.payload.toString(), 'asked', 'a reconnect cancels the first [MQTT-3.1.3-9]; [3.14.2.1]')
  const { client: late } = await resume(t, id, will('late', 1))
  late.cut()
  t.equal((await watcher.next()).payload.toString(), 'late')
})

await t.test('a delayed will is sent when its session ends, and not when the session goes on without Aedes', async t => {
  const root = fresh('will')
  const watcher = await connect(t)
  await watcher.subscribe(`${root}/+`, 1)
  const will = (name: string, willDelayInterval: number): RawConnect => ({ will: { topic: `${root}/${name}`, payload: Buffer.from(name), qos: 1, retain: false, properties: { willDelayInterval } } })
  const id = fresh('c')
  const { client } = await resume(t, id, will('kept', 2))
  client.cut()
  await client.closed
  // No will and no subscription: nothing of this connection comes to Aedes.
  await resume(t, id)
  const other = fresh('c')
  const { client: left } = await resume(t, other, will('ended', 3_000))
  left.cut()
  await left.closed
  await RawClient.connect(t, server.port, { version: 5, user: 'conf', clientId: other, clean: true })
  t.equal((await watcher.next()).payload.toString(), 'ended', '[MQTT-3.1.2-10]')
  const { client: last } = await resume(t, fresh('c'), will('last', 3))
  last.cut()
  t.equal((await watcher.next()).payload.toString(), 'last', 'the first one was cancelled [MQTT-3.1.3-9]')
})

await t.test('the mqtt package at version 5', async t => {
  const root = fresh('package')
  const one = await device(t, `mqtt://127.0.0.1:${server.port}`, 'conf', { clientId: fresh('c'), version: 5 })
  t.strictSame(await one.subscribe(`${root}/+`, 2), [2])
  for (const qos of [0, 1, 2] as const) {
    t.notOk((await one.publish(`${root}/${qos}`, `q${qos}`, { qos, properties: { userProperties: { k: 'v' } } })).error)
    t.match(await one.next(`${root}/${qos}`), { text: `q${qos}`, packet: { qos, properties: { userProperties: { k: 'v' } } } })
  }
})
