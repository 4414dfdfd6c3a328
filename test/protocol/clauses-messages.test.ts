/** Clauses on PUBLISH, its acknowledgements, retained messages and order, in both versions. */
import type { IPublishPacket } from 'mqtt-packet'
import t from 'tap'
import { ask, Clients, fresh, payloads, versions } from '../support/clauses.ts'
import { within } from '../support/mailbox.ts'
import { complete, messagesUntil, publish2, release } from '../support/ordinary-flows.ts'
import type { RawClient } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

const server = await startServer(t, { config: { mqtt: { openTopics: ['#'] } } })
const numbers = (count: number) => Array.from({ length: count }, (_, i) => String(i + 1))

/** Sends a PUBLISH without waiting for anything. */
function send (client: RawClient, topic: string, payload: string, more: Partial<IPublishPacket> = {}): void {
  client.send({ cmd: 'publish', topic, payload, qos: 1, dup: false, retain: false, ...more })
}

for (const version of versions) {
  const clients = new Clients(server.mqttPort, version)
  const title = (name: string): string => `version ${version}: ${name}`

  await t.test(title('retained messages: the last one, also of QoS 0; none without RETAIN, none that is empty'), async t => {
    const root = fresh('retained')
    const client = await clients.connect(t)
    const live = await clients.connect(t)
    await live.subscribe(`${root}/x`, 1)
    const kept = async (): Promise<string[]> => {
      const reader = await clients.connect(t)
      await reader.subscribe([`${root}/x`, `${root}/end`], 1)
      await reader.publish(`${root}/end`, 'end')
      const got = await messagesUntil(reader, 'end')
      t.ok(got.every(packet => packet.retain), '[MQTT-3.3.1-8] of 3.1.1')
      return payloads(got)
    }
    await client.publish(`${root}/x`, 'one', { retain: true })
    t.strictSame(await kept(), ['one'], '[MQTT-3.3.1-5], [MQTT-3.3.1-6] of 3.1.1')
    send(client, `${root}/x`, 'zero', { qos: 0, retain: true })
    await client.ping()
    t.strictSame(await kept(), ['zero'], '[MQTT-3.3.1-7] of 3.1.1, [MQTT-3.3.1-5] of 5')
    await client.publish(`${root}/x`, 'passing')
    t.strictSame(await kept(), ['zero'], '[MQTT-3.3.1-12] of 3.1.1, [MQTT-3.3.1-8] of 5')
    await client.publish(`${root}/x`, '', { retain: true })
    t.strictSame(await kept(), [], '[MQTT-3.3.1-10], [MQTT-3.3.1-11] of 3.1.1, [MQTT-3.3.1-6], [MQTT-3.3.1-7] of 5')
    for (const expected of ['one', 'zero', 'passing', '']) {
      const got = await live.next()
      t.match({ text: got.payload.toString(), retain: got.retain }, { text: expected, retain: false }, '[MQTT-3.3.1-9] of 3.1.1, [MQTT-3.3.1-12] of 5')
    }
  })

  await t.test(title('DUP of a PUBLISH is not passed on'), async t => {
    const root = fresh('dup')
    const reader = await clients.connect(t)
    await reader.subscribe(`${root}/x`, 2)
    const sender = await clients.connect(t)
    await sender.publish(`${root}/x`, 'one', { dup: true })
    await publish2(sender, `${root}/x`, 'two', { dup: true })
    for (const qos of [1, 2]) {
      const got = await reader.next()
      t.match(got, { qos, dup: false }, '[MQTT-3.3.1-3], [MQTT-4.3.2-1], [MQTT-4.3.3-1] of 3.1.1, [MQTT-4.3.2-2], [MQTT-4.3.3-2] of 5')
      if (qos === 2) await complete(reader, got)
    }
  })

  await t.test(title('a packet id is free again when it is acknowledged'), async t => {
    const root = fresh('again')
    const reader = await clients.connect(t)
    await reader.subscribe(`${root}/#`, 1)
    const sender = await clients.connect(t)
    for (const text of ['one', 'two']) await sender.publish(`${root}/x`, text, { messageId: 7, dup: true })
    for (const payload of ['three', 'four']) {
      await ask(sender, { cmd: 'publish', topic: `${root}/x`, payload, qos: 2, dup: false, retain: false, messageId: 7 }, 'pubrec')
      await ask(sender, { cmd: 'pubrel', messageId: 7 }, 'pubcomp')
    }
    await sender.publish(`${root}/end`, 'end')
    t.strictSame(payloads(await messagesUntil(reader, 'end')), ['one', 'two', 'three', 'four'], '[MQTT-4.3.2-2], [MQTT-4.3.3-2] of 3.1.1, [MQTT-4.3.2-5], [MQTT-4.3.3-12] of 5')
  })

  await t.test(title('a PUBLISH of QoS 2 that comes again is answered and delivered once'), async t => {
    const root = fresh('once')
    const reader = await clients.connect(t)
    await reader.subscribe(`${root}/#`, 1)
    const sender = await clients.connect(t)
    const packet = { cmd: 'publish', topic: `${root}/x`, payload: 'x', qos: 2, dup: false, retain: false, messageId: 9 } as const
    for (const dup of [false, true, true]) t.equal((await ask(sender, { ...packet, dup }, 'pubrec')).messageId, 9, '[MQTT-4.3.3-2] of 3.1.1, [MQTT-4.3.3-8], [MQTT-4.3.3-10] of 5')
    t.equal((await ask(sender, { cmd: 'pubrel', messageId: 9 }, 'pubcomp')).messageId, 9, '[MQTT-2.3.1-6] of 3.1.1, [MQTT-4.3.3-11] of 5')
    await sender.publish(`${root}/end`, 'end')
    t.strictSame(payloads(await messagesUntil(reader, 'end')), ['x'])
  })

  await t.test(title('what is not acknowledged comes again in its order, and at no other time'), async t => {
    const root = fresh('resend')
    const clientId = fresh('c')
    const first = (await clients.keep(t, clientId, { acknowledge: false })).client
    await first.subscribe(`${root}/#`, 2)
    const sender = await clients.connect(t)
    for (const [i, text] of numbers(8).entries()) await (i % 2 === 0 ? sender.publish(`${root}/x`, text) : publish2(sender, `${root}/x`, text))
    const before = []
    for (let i = 0; i < 8; i++) before.push(await first.next())
    await first.ping()
    t.equal(first.received, 8, 'nothing twice in one connection [MQTT-4.4.0-1] of 5')
    t.equal(new Set(before.map(packet => packet.messageId)).size, 8, '[MQTT-2.3.1-4] of 3.1.1, [MQTT-2.2.1-4], [MQTT-4.3.2-1], [MQTT-4.3.3-1] of 5')
    first.cut()
    await first.closed
    const back = (await clients.keep(t, clientId, { acknowledge: false })).client
    const after = []
    for (let i = 0; i < 8; i++) after.push(await back.next())
    const what = ({ messageId, qos, payload }: IPublishPacket) => ({ messageId, qos, text: payload.toString() })
    t.strictSame(after.map(what), before.map(what), '[MQTT-4.4.0-1], [MQTT-4.6.0-1], [MQTT-4.3.2-3], [MQTT-4.3.3-3] of 5')
    t.ok(after.every(packet => packet.dup), '[MQTT-3.3.1-1]')
  })

  await t.test(title('PUBREC come in the order of the PUBLISH, PUBREL in that of the PUBREC'), async t => {
    const root = fresh('order')
    const reader = await clients.connect(t)
    await reader.subscribe(`${root}/#`, 2)
    const sender = await clients.connect(t)
    for (let i = 1; i <= 10; i++) send(sender, `${root}/x`, String(i), { qos: 2, messageId: 20 - i })
    for (let i = 1; i <= 10; i++) {
      t.match(await sender.packets.take(packet => packet.cmd === 'pubrec'), { messageId: 20 - i }, '[MQTT-4.6.0-3]')
      sender.send({ cmd: 'pubrel', messageId: 20 - i })
    }
    const got = []
    for (let i = 1; i <= 10; i++) got.push(await reader.next())
    t.strictSame(payloads(got), numbers(10), '[MQTT-4.6.0-5], [MQTT-4.6.0-6]')
    const shuffled = [...got.slice(5), ...got.slice(0, 5)]
    for (const { messageId } of shuffled) reader.send({ cmd: 'pubrec', messageId })
    for (const { messageId } of shuffled) {
      t.match(await reader.packets.take(packet => packet.cmd === 'pubrel'), { messageId }, '[MQTT-4.6.0-4]; [MQTT-4.3.3-4] of 5')
      reader.send({ cmd: 'pubcomp', messageId })
    }
  })

  await t.test(title('PUBREL comes again until PUBCOMP, and its PUBLISH does not'), async t => {
    const root = fresh('pubrel')
    const clientId = fresh('c')
    const first = (await clients.keep(t, clientId)).client
    await first.subscribe(`${root}/#`, 2)
    const sender = await clients.connect(t)
    await publish2(sender, `${root}/x`, 'x')
    const message = await first.next()
    await release(first, message)
    first.cut()
    await first.closed
    const back = (await clients.keep(t, clientId)).client
    t.match(await back.packets.take(packet => packet.cmd === 'pubrel'), { messageId: message.messageId }, '[MQTT-4.4.0-1], [MQTT-4.3.3-5] of 5')
    back.send({ cmd: 'pubcomp', messageId: message.messageId })
    await sender.publish(`${root}/end`, 'end')
    t.strictSame(payloads(await messagesUntil(back, 'end')), [], '[MQTT-4.3.3-1] of 3.1.1, [MQTT-4.3.3-6] of 5')
  })

  await t.test(title('a PUBLISH that is not allowed is answered as its QoS says'), async t => {
    const client = await clients.connect(t)
    send(client, 'im/server', 'x', { qos: 0 })
    const puback = await client.publish('im/server', 'x')
    const pubrec = await ask(client, { cmd: 'publish', topic: 'im/server', payload: 'x', qos: 2, dup: false, retain: false, messageId: 30 }, 'pubrec')
    t.equal(pubrec.messageId, 30, '[MQTT-3.3.5-2] of 3.1.1, [MQTT-3.3.4-1] of 5')
    if (version === 5) {
      t.ok((puback.reasonCode ?? 0) >= 0x80 && (pubrec.reasonCode ?? 0) >= 0x80)
      // The exchange is over: the packet id belongs to a new message.
      const again = await ask(client, { cmd: 'publish', topic: fresh('free'), payload: 'x', qos: 2, dup: false, retain: false, messageId: 30 }, 'pubrec')
      t.ok((again.reasonCode ?? 0) < 0x80, '[MQTT-4.3.3-9]')
    }
    await client.ping()
  })

  await t.test(title('names are compared as they are'), async t => {
    const root = fresh('name')
    // Composed and decomposed, upper and lower case, a byte order mark, an empty level, a space.
    const names = ['\u00e9', 'e\u0301', 'A', 'a', '\ufeffa', 'a/', '/a', ' a', 'a ', 'a\uffff', '\u{1f600}']
    const client = await clients.connect(t)
    const sender = await clients.connect(t)
    for (const name of names) t.strictSame(await client.subscribe(`${root}/${name}`, 1), [1])
    for (const name of names) {
      await sender.publish(`${root}/${name}`, name)
      const got = await client.next()
      t.equal(got.topic, `${root}/${name}`, '[MQTT-4.7.3-4]; [MQTT-1.5.3-3] of 3.1.1, [MQTT-1.5.4-3] of 5; [MQTT-3.3.2-3]')
    }
    await client.ping()
    t.equal(client.received, names.length, 'each one by its own filter only')
  })

  await t.test(title('a message of QoS 0 is delivered without packet id and DUP'), async t => {
    const root = fresh('zero')
    const client = await clients.connect(t)
    await client.subscribe(`${root}/x`, 2)
    send(client, `${root}/x`, 'zero', { qos: 0 })
    const got = await client.next()
    t.match(got, { qos: 0, dup: false, payload: Buffer.from('zero') }, '[MQTT-2.3.1-5], [MQTT-4.3.1-1], [MQTT-3.3.1-2] of 3.1.1, [MQTT-2.2.1-2], [MQTT-4.3.1-1] of 5')
    t.equal((got as IPublishPacket).messageId, undefined)
  })

  await t.test(title('what was kept for who is away is in its session'), async t => {
    const root = fresh('away')
    const clientId = fresh('c')
    const { client } = await clients.keep(t, clientId)
    await client.subscribe(`${root}/#`, 2)
    await client.disconnect()
    const sender = await clients.connect(t)
    await sender.publish(`${root}/x`, '1')
    await publish2(sender, `${root}/x`, '2')
    await sender.publish(`${root}/end`, 'end')
    const back = (await clients.keep(t, clientId)).client
    t.strictSame(payloads(await within(messagesUntil(back, 'end'), 10_000, 'what waited')), ['1', '2'], '[MQTT-3.1.2-5], [MQTT-4.5.0-1]')
  })
}
