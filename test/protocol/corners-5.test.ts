/** Rare meetings of the rules of MQTT 5: packet ids of retained and of queued messages, filters that overlap with shared ones, wills and DISCONNECT, small packets. */
import { randomUUID } from 'node:crypto'
import { generate } from 'mqtt-packet'
import type { IPubackPacket, IPublishPacket } from 'mqtt-packet'
import t from 'tap'
import type { Test } from 'tap'
import { within } from '../support/mailbox.ts'
import { complete, messagesUntil, publish2 } from '../support/ordinary-flows.ts'
import { RawClient } from '../support/raw-client.ts'
import type { RawConnect } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

const server = await startServer(t, { config: { mqtt: { openTopics: ['#'] } } })
const run = randomUUID().slice(0, 8)
let number = 0
const fresh = (name: string) => `corners-${run}-${name}-${++number}`
const kept = { sessionExpiryInterval: 1000 }
const numbers = (count: number) => Array.from({ length: count }, (_, i) => String(i + 1))

async function connect (t: Test, options: RawConnect = {}): Promise<RawClient> {
  const { client, connack } = await RawClient.connect(t, server.mqttPort, { version: 5, user: 'conf', clientId: fresh('c'), ...options })
  t.equal(connack.reasonCode ?? connack.returnCode, 0, 'connected')
  return client
}

async function publishAll (t: Test, topic: string | ((text: string) => string), texts: string[], more: Partial<IPublishPacket> = {}): Promise<void> {
  const sender = await connect(t)
  for (const text of texts) await sender.publish(typeof topic === 'string' ? topic : topic(text), text, more)
  await sender.disconnect()
}

await t.test('two PUBRELs that come together are both answered, and nothing breaks by it', async t => {
  const topic = fresh('released')
  for (const properties of [{}, kept]) {
    const client = await connect(t, { clean: false, properties })
    client.send({ cmd: 'publish', topic, payload: 'x', qos: 2, dup: false, retain: false, messageId: 9 })
    await client.packets.take(packet => packet.cmd === 'pubrec')
    const pubrel = generate({ cmd: 'pubrel', messageId: 9 }, { protocolVersion: 5 })
    client.write(Buffer.concat([pubrel, pubrel]))
    for (let i = 0; i < 2; i++) t.match(await client.packets.take(packet => packet.cmd === 'pubcomp'), { messageId: 9 })
    await client.disconnect()
  }
  t.notMatch(server.logs(), 'nobody caught it')
})

await t.test('a QoS 2 message that its client had and that has become too large for it goes on with PUBREL; no other has its packet id before that is over', async t => {
  const topic = fresh('smaller')
  const clientId = fresh('c')
  const first = await connect(t, { clientId, clean: false, properties: kept })
  await first.subscribe(topic, 2)
  const sender = await connect(t)
  await publish2(sender, topic, 'x'.repeat(300))
  const large = await first.next()
  // It has the message, and would take another one with this packet id for it [MQTT-4.3.3-10]: its PUBREC is lost.
  first.cut()
  await first.closed
  const back = await connect(t, { clientId, clean: false, properties: { ...kept, maximumPacketSize: 200 } })
  await publish2(sender, topic, 'other')
  const other = await back.next()
  t.match(other, { payload: Buffer.from('other'), dup: false }, '[MQTT-3.1.2-24]')
  t.not(other.messageId, large.messageId, '[MQTT-2.2.1-4]')
  t.match(await back.packets.take(packet => packet.cmd === 'pubrel'), { messageId: large.messageId }, '[MQTT-3.1.2-25]')
  back.send({ cmd: 'pubcomp', messageId: large.messageId })
  await complete(back, other)
  await back.disconnect()
  const last = await connect(t, { clientId, clean: false, properties: kept })
  await publish2(sender, topic, 'end')
  t.strictSame(await messagesUntil(last, 'end'), [], 'nothing is left of it')
})

await t.test('a retained message has no packet id of one that waits to be sent again', async t => {
  const root = fresh('ids')
  const clientId = fresh('c')
  const first = await connect(t, { clientId, clean: false, properties: kept, acknowledge: false })
  await first.subscribe(`${root}/live`, 1)
  await publishAll(t, `${root}/live`, numbers(60))
  for (let i = 0; i < 60; i++) await first.next()
  first.cut()
  await publishAll(t, text => `${root}/kept/${text}`, numbers(4), { retain: true })
  const back = await connect(t, { clientId, clean: false, properties: { ...kept, receiveMaximum: 1 }, acknowledge: false })
  const again = await back.next()
  for (let i = 0; i < 40; i++) await back.subscribe(`${root}/kept/+`, 1)
  back.puback(again.messageId)
  const live = [again.payload.toString()]
  while (live.length < 60) {
    const packet = await back.next(undefined, 3000).catch(() => undefined)
    if (packet === undefined) break
    if (packet.topic.endsWith('live')) live.push(packet.payload.toString())
    back.puback(packet.messageId)
  }
  t.strictSame(live, numbers(60), '[MQTT-2.2.1-4]: the acknowledgement of another one removes none of them')
})

await t.test('a kept session that subscribes by itself and as a member gets both copies', async t => {
  const root = fresh('both')
  const client = await connect(t, { clean: false, properties: kept })
  await client.subscribe([`${root}/+`, `$share/g/${root}/+`], 1)
  await publishAll(t, `${root}/x`, numbers(3))
  const got = []
  for (let i = 0; i < 6; i++) got.push((await client.next(undefined, 3000).catch(() => undefined))?.payload.toString())
  t.strictSame(got.sort(), ['1', '1', '2', '2', '3', '3'])
})

for (const reasonCode of [0x04, 0x80, 0x97]) {
  await t.test(`a DISCONNECT with the reason code ${reasonCode} sends the will`, async t => {
    const root = fresh('bye')
    const watcher = await connect(t)
    await watcher.subscribe(`${root}/#`, 1)
    const clientId = fresh('c')
    const client = await connect(t, { clientId, will: { topic: `${root}/w`, payload: Buffer.from('will'), qos: 1, retain: false } })
    client.write(generate({ cmd: 'disconnect', reasonCode }, { protocolVersion: 5 }))
    await within(client.closed, 10_000, 'the close')
    await connect(t, { clientId })
    await watcher.publish(`${root}/end`, 'end')
    t.strictSame((await messagesUntil(watcher, 'end')).map(packet => packet.payload.toString()), ['will'], '[MQTT-3.14.4-3] is of 0x00 alone')
  })
}

await t.test('what an acknowledgement could say beside is left out where the client has no room for it', async t => {
  const user = fresh('u').slice(0, 60)
  await connect(t, { user })
  const client = await connect(t, { properties: { maximumPacketSize: 24 } })
  const sizes: number[] = []
  client.stream.on('data', (chunk: Buffer) => { sizes.push(chunk.length) })
  t.equal((await client.publish(`im/to/u/${user}`, 'hi')).reasonCode ?? 0, 0)
  const refused: IPubackPacket = await client.publish('im/to/x/y', 'hi')
  t.ok((refused.reasonCode ?? 0) >= 0x80)
  const messageId = client.nextId()
  client.send({ cmd: 'publish', topic: `im/to/u/${user}`, payload: 'hi', qos: 2, dup: false, retain: false, messageId })
  await client.packets.take(packet => packet.cmd === 'pubrec')
  t.ok(sizes.every(size => size <= 24), `[MQTT-3.4.2-2], [MQTT-3.4.2-3], [MQTT-3.5.2-2], [MQTT-3.5.2-3]: ${sizes}`)
})

await t.test('what a member that unsubscribes has under way goes to nobody else while it is connected', async t => {
  const root = fresh('leave')
  const leaver = await connect(t, { acknowledge: false })
  await leaver.subscribe(`$share/g/${root}/+`, 1)
  await publishAll(t, `${root}/x`, ['1', '2'])
  const [one, two] = [await leaver.next(), await leaver.next()]
  const other = await connect(t)
  await other.subscribe(`$share/g/${root}/+`, 1)
  leaver.send({ cmd: 'unsubscribe', messageId: 77, unsubscriptions: [`$share/g/${root}/+`] })
  await leaver.packets.take(packet => packet.cmd === 'unsuback')
  leaver.puback(one.messageId)
  await leaver.ping()
  await publishAll(t, `${root}/x`, ['end'])
  t.strictSame((await messagesUntil(other, 'end')).map(packet => packet.payload.toString()), [], '[MQTT-3.10.4-3]')
  t.equal(two.payload.toString(), '2')
  leaver.cut()
  t.equal((await other.next()).payload.toString(), '2', 'and then only what it did not acknowledge')
})

await t.test('a message without any time left is not kept', async t => {
  const root = fresh('now')
  const clientId = fresh('c')
  const first = await connect(t, { clientId, clean: false, properties: kept })
  await first.subscribe(`${root}/+`, 1)
  await publishAll(t, `${root}/x`, ['live'], { properties: { messageExpiryInterval: 0 } })
  t.equal((await first.next()).payload.toString(), 'live', 'who is there gets it')
  await first.disconnect()
  await publishAll(t, `${root}/x`, ['queued'], { properties: { messageExpiryInterval: 0 } })
  await publishAll(t, `${root}/x`, ['end'])
  const back = await connect(t, { clientId, clean: false, properties: kept })
  t.strictSame((await messagesUntil(back, 'end')).map(packet => packet.payload.toString()), [], '[MQTT-3.3.2-5]')
})
