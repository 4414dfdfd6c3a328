/** What MQTT 3.1.1 asks of any broker, over ordinary topics; the first eleven cover what the Eclipse Paho suite covers. */
import { randomUUID } from 'node:crypto'
import type { IPublishPacket } from 'mqtt-packet'
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

async function connect (t: Test, options: RawConnect = {}): Promise<RawClient> {
  const { client, connack } = await RawClient.connect(t, server.port, { user: 'conf', clientId: fresh('c'), ...options })
  t.equal(connack.returnCode, 0, 'connected')
  return client
}

/** A session that is kept; resolves with whether it was there. */
async function resume (t: Test, clientId: string, options: RawConnect = {}): Promise<{ client: RawClient, present: boolean }> {
  const { client, connack } = await RawClient.connect(t, server.port, { user: 'conf', clientId, clean: false, ...options })
  t.equal(connack.returnCode, 0, 'connected')
  return { client, present: connack.sessionPresent }
}

const payloads = (packets: IPublishPacket[]) => packets.map(packet => packet.payload.toString())

await t.test('basic: every quality of service, both ways', async t => {
  const root = fresh('basic')
  const client = await connect(t)
  t.strictSame(await client.subscribe(`${root}/+`, 2), [2])
  client.send({ cmd: 'publish', topic: `${root}/0`, payload: 'q0', qos: 0, dup: false, retain: false })
  await client.publish(`${root}/1`, 'q1')
  await publish2(client, `${root}/2`, 'q2')
  for (const qos of [0, 1, 2]) {
    const got = await client.next(`${root}/${qos}`)
    t.match(got, { qos, retain: false, dup: false })
    t.equal(got.payload.toString(), `q${qos}`)
    if (qos === 2) await complete(client, got)
  }
  client.send({ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clientId: 'x', clean: true, keepalive: 0 })
  await within(client.closed, 10_000, 'the close after a second CONNECT [MQTT-3.1.0-2]')
})

await t.test('retained messages', async t => {
  const root = fresh('retained')
  const client = await connect(t)
  client.send({ cmd: 'publish', topic: `${root}/a/0`, payload: 'q0', qos: 0, dup: false, retain: true })
  await client.publish(`${root}//1`, 'q1', { retain: true })
  await publish2(client, `${root}/a/2`, 'q2', { retain: true })
  const reader = await connect(t)
  await reader.subscribe(`${root}/+/+`, 2)
  const got = [await reader.next(), await reader.next(), await reader.next()]
  t.strictSame(payloads(got).sort(), ['q0', 'q1', 'q2'], 'an empty level is matched by + [MQTT-4.7.1-3]')
  for (const packet of got) {
    t.ok(packet.retain, 'RETAIN is set [MQTT-3.3.1-8]')
    if (packet.qos === 2) await complete(reader, packet)
  }
  await publish2(client, `${root}/a/0`, 'new', { retain: true })
  const live = await reader.next(`${root}/a/0`)
  t.notOk(live.retain, 'and not for an established subscription [MQTT-3.3.1-9]')
  await complete(reader, live)
  for (const topic of [`${root}/a/0`, `${root}//1`, `${root}/a/2`]) await client.publish(topic, '', { retain: true })
  const late = await connect(t)
  await late.subscribe(`${root}/#`, 1)
  await client.publish(`${root}/end`, 'end')
  t.strictSame(payloads(await messagesUntil(late, 'end')), [], 'an empty payload removes it [MQTT-3.3.1-10]')
})

await t.test('a retained message at the lower quality of service', async t => {
  const root = fresh('retained')
  const client = await connect(t)
  await client.publish(`${root}/x`, 'r', { retain: true })
  await client.subscribe(`${root}/+`, 0)
  t.equal((await client.next(`${root}/x`)).qos, 0, '[MQTT-3.8.4-6]')
})

await t.test('offline message queueing', async t => {
  const root = fresh('offline')
  const id = fresh('c')
  const first = await resume(t, id)
  t.notOk(first.present, 'a new session [MQTT-3.2.2-3]')
  await first.client.subscribe([`${root}/+/+`, `${root}/+`], 2)
  await first.client.disconnect()
  const other = await connect(t)
  for (let i = 0; i < 20; i++) await other.publish(`${root}/q1`, String(i))
  await publish2(other, `${root}//q2`, 'q2')
  const second = await resume(t, id)
  t.ok(second.present, '[MQTT-3.2.2-2]')
  const got: Array<IPublishPacket & { messageId: number }> = []
  while (got.length < 21) got.push(await second.client.next())
  t.strictSame(payloads(got).slice(0, 20), Array.from({ length: 20 }, (_, i) => String(i)), 'in order [MQTT-4.6.0-6]')
  t.equal(got[20]?.payload.toString(), 'q2')
  t.strictSame([...new Set(got.map(packet => packet.dup))], [false], 'sent for the first time [MQTT-3.3.1-1]')
  t.equal(new Set(got.map(packet => packet.messageId)).size, 21, 'ids of their own [MQTT-2.3.1-4]')
  await complete(second.client, got[20] as IPublishPacket & { messageId: number })
  await second.client.disconnect()
  const third = await resume(t, id)
  await other.publish(`${root}/end`, 'end')
  t.strictSame(payloads(await messagesUntil(third.client, 'end')), [], 'acknowledged messages do not come again')
})

await t.test('will message', async t => {
  const root = fresh('will')
  const watcher = await connect(t)
  await watcher.subscribe(`${root}/#`, 2)
  const will = (name: string): RawConnect => ({ will: { topic: `${root}/${name}`, payload: Buffer.from(name), qos: 1, retain: true } })
  const polite = await connect(t, will('polite'))
  await polite.disconnect()
  const dying = await connect(t, will('cut'))
  dying.cut()
  const got = await watcher.next()
  t.equal(got.payload.toString(), 'cut', 'after a lost connection [MQTT-3.1.2-8], not after DISCONNECT [MQTT-3.1.2-10]')
  const late = await connect(t)
  await late.subscribe(`${root}/+`, 1)
  t.match(await late.next(`${root}/cut`), { retain: true, qos: 1 }, '[MQTT-3.1.2-17]')
  await late.publish(`${root}/cut`, '', { retain: true })
})

await t.test('overlapping subscriptions', async t => {
  const root = fresh('overlap')
  const client = await connect(t)
  t.strictSame(await client.subscribe([`${root}/#`], 2), [2])
  t.strictSame(await client.subscribe([`${root}/+`], 1), [1])
  const other = await connect(t)
  await publish2(other, `${root}/x`, 'x')
  await publish2(other, `${root}/x/end`, 'end')
  const got = await messagesUntil(client, 'end')
  t.ok(got.length === 1 || got.length === 2, 'once, or once for each')
  t.equal(Math.max(...got.map(packet => packet.qos)), 2, 'at the highest granted [MQTT-3.3.5-1]')
})

await t.test('keep alive', async t => {
  const root = fresh('keepalive')
  const watcher = await connect(t)
  await watcher.subscribe(`${root}/will`, 1)
  const silent = await connect(t, { keepaliveSeconds: 1, will: { topic: `${root}/will`, payload: Buffer.from('gone'), qos: 1, retain: false } })
  await within(silent.closed, 15_000, 'the close of a silent client [MQTT-3.1.2-24]')
  t.equal((await watcher.next()).payload.toString(), 'gone')
})

await t.test('redelivery on reconnect', async t => {
  const root = fresh('redelivery')
  const id = fresh('c')
  const { client } = await resume(t, id, { acknowledge: false })
  await client.subscribe(`${root}/+`, 2)
  const other = await connect(t)
  await other.publish(`${root}/1`, 'q1')
  await publish2(other, `${root}/2`, 'q2')
  await publish2(other, `${root}/3`, 'half')
  const first = [await client.next(`${root}/1`), await client.next(`${root}/2`), await client.next(`${root}/3`)] as const
  await release(client, first[2])
  client.cut()
  await client.closed
  const again = (await resume(t, id, { acknowledge: false })).client
  const second = [await again.next(`${root}/1`), await again.next(`${root}/2`)] as const
  t.match(second[0], { dup: true, qos: 1, messageId: first[0].messageId }, 'with DUP and the same id [MQTT-3.3.1-1] [MQTT-4.4.0-1]')
  t.match(second[1], { dup: true, qos: 2, messageId: first[1].messageId })
  const pubrel = await again.packets.take(packet => packet.cmd === 'pubrel', 15_000, 'pubrel')
  t.match(pubrel, { messageId: first[2].messageId }, 'PUBREL again, not PUBLISH')
  again.send({ cmd: 'pubcomp', messageId: first[2].messageId })
  again.puback(first[0].messageId)
  await complete(again, second[1])
  await again.disconnect()
  const last = (await resume(t, id)).client
  await other.publish(`${root}/end`, 'end')
  t.strictSame(payloads(await messagesUntil(last, 'end')), [])
})

await t.test('zero-length client id', async t => {
  const anonymous = await RawClient.connect(t, server.port, { user: 'conf', clientId: '', clean: true })
  t.equal(anonymous.connack.returnCode, 0, '[MQTT-3.1.3-6]')
  const refused = await RawClient.open(t, server.port)
  // CONNECT with a user name, clean=0 and no client id; the encoder refuses to make it.
  refused.write(Buffer.from('\x10\x12\x00\x04MQTT\x04\x80\x00\x3c\x00\x00\x00\x04conf', 'latin1'))
  t.match(await refused.packets.take(packet => packet.cmd === 'connack', 15_000, 'connack'), { returnCode: 2 }, '[MQTT-3.1.3-8]')
  await within(refused.closed, 10_000, 'the close after the refusal')
})

await t.test('$-topics', async t => {
  const root = fresh('dollar')
  const client = await connect(t)
  await client.subscribe(['#', `+/${root}`], 1)
  const sender = await connect(t)
  sender.send({ cmd: 'publish', topic: `$test/${root}`, payload: 'dollar', qos: 0, dup: false, retain: false })
  const other = await connect(t)
  await other.publish(`${root}/end`, 'end')
  t.strictSame(payloads((await messagesUntil(client, 'end')).filter(packet => packet.topic.startsWith('$'))), [], '[MQTT-4.7.2-1]')
})

await t.test('unsubscribe', async t => {
  const root = fresh('unsubscribe')
  const client = await connect(t)
  await client.subscribe([`${root}/a`, `${root}/b`, `${root}/c`], 1)
  client.send({ cmd: 'unsubscribe', messageId: 77, unsubscriptions: [`${root}/a`, `${root}/none`] })
  await client.packets.take(packet => packet.cmd === 'unsuback' && packet.messageId === 77, 15_000, 'unsuback [MQTT-3.10.4-4]')
  const other = await connect(t)
  for (const name of ['a', 'b', 'c']) await other.publish(`${root}/${name}`, name)
  t.strictSame(payloads(await messagesUntil(client, 'c')), ['b'], '[MQTT-3.10.4-2]')
})

await t.test('subscribe failure', async t => {
  const client = await connect(t)
  t.strictSame(await client.subscribe('im/#', 1), [0x80])
  t.strictSame(await client.subscribe('$closed/#', 1), [0x80])
})

await t.test('a message is delivered at the lower quality of service', async t => {
  const root = fresh('lower')
  const client = await connect(t)
  await client.subscribe(`${root}/one/+`, 1)
  await client.subscribe(`${root}/zero/#`, 0)
  const other = await connect(t)
  await publish2(other, `${root}/one/x`, 'x')
  await publish2(other, `${root}/zero/x`, 'x')
  t.equal((await client.next(`${root}/one/x`)).qos, 1, '[MQTT-3.8.4-6]')
  t.equal((await client.next(`${root}/zero/x`)).qos, 0, '[MQTT-3.8.4-6]')
})

await t.test('wildcards', async t => {
  const root = fresh('wild')
  const client = await connect(t)
  await client.subscribe([`${root}/a/#`, `${root}/+/+/end`], 1)
  const other = await connect(t)
  for (const name of ['a', 'a/', 'a/b', 'a/b/c', 'b', 'aa', 'b/c', '//end']) await other.publish(`${root}/${name}`, name)
  t.strictSame(payloads(await messagesUntil(client, '//end')), ['a', 'a/', 'a/b', 'a/b/c'])
})

await t.test('a repeated PUBLISH of quality 2 is delivered once, also over a reconnect', async t => {
  const root = fresh('once')
  const watcher = await connect(t)
  await watcher.subscribe(`${root}/#`, 1)
  const id = fresh('c')
  const { client } = await resume(t, id)
  const packet = { cmd: 'publish', topic: `${root}/x`, payload: 'once', qos: 2, retain: false, messageId: 9 } as const
  client.send({ ...packet, dup: false })
  await client.packets.take(p => p.cmd === 'pubrec', 15_000, 'pubrec')
  client.cut()
  await client.closed
  const again = (await resume(t, id)).client
  again.send({ ...packet, dup: true })
  await again.packets.take(p => p.cmd === 'pubrec', 15_000, 'pubrec')
  again.send({ cmd: 'pubrel', messageId: 9 })
  await again.packets.take(p => p.cmd === 'pubcomp', 15_000, 'pubcomp')
  again.send({ ...packet, payload: 'next', dup: false })
  await again.packets.take(p => p.cmd === 'pubrec', 15_000, 'pubrec')
  t.strictSame(payloads(await messagesUntil(watcher, 'next')), ['once'], '[MQTT-4.3.3-2], and a released id is free')
})

await t.test('acknowledgements and messages keep their order', async t => {
  const root = fresh('order')
  const client = await resume(t, fresh('c')).then(({ client }) => client)
  await client.subscribe(`${root}/stored`, 1)
  const sender = await connect(t)
  const count = 200
  for (let i = 1; i <= count; i++) sender.send({ cmd: 'publish', topic: `${root}/${i % 3 === 0 ? 'elsewhere' : 'stored'}`, payload: String(i), qos: 1, dup: false, retain: i % 5 === 0, messageId: i })
  const acks: number[] = []
  while (acks.length < count) acks.push((await sender.packets.take(p => p.cmd === 'puback', 15_000, 'puback') as { messageId: number }).messageId)
  t.strictSame(acks, Array.from({ length: count }, (_, i) => i + 1), '[MQTT-4.6.0-2]')
  const wanted = Array.from({ length: count }, (_, i) => i + 1).filter(i => i % 3 !== 0).map(String)
  const got: string[] = []
  while (got.length < wanted.length) got.push((await client.next()).payload.toString())
  t.strictSame(got, wanted, '[MQTT-4.6.0-6]')
  for (const name of ['elsewhere', 'stored']) await sender.publish(`${root}/${name}`, '', { retain: true })
})

await t.test('a session that comes back amid traffic gets everything, in order', async t => {
  const root = fresh('amid')
  const id = fresh('c')
  const first = (await resume(t, id)).client
  await first.subscribe(`${root}/#`, 1)
  await first.disconnect()
  const sender = await connect(t)
  const count = 300
  const sending = (async () => { for (let i = 0; i < count; i++) await sender.publish(`${root}/x`, String(i)) })()
  const seen: string[] = []
  const note = (text: string) => { if (!seen.includes(text)) seen.push(text) }
  for (let round = 0; round < 3; round++) {
    const { client } = await resume(t, id, { acknowledge: false })
    const texts: string[] = []
    for (let i = 0; i < 20; i++) {
      const packet = await client.next()
      texts.push(packet.payload.toString())
      client.puback(packet.messageId)
    }
    texts.forEach(note)
    t.equal(new Set(texts).size, texts.length, 'each once in one connection')
    client.cut()
    await client.closed
  }
  const last = (await resume(t, id)).client
  const rest: string[] = []
  while (seen.length < count) {
    const text = (await last.next()).payload.toString()
    rest.push(text)
    note(text)
  }
  t.equal(new Set(rest).size, rest.length)
  await sending
  // What was sent and not read (so not acknowledged) before a cut comes again, so first sights are in order.
  t.strictSame(seen, Array.from({ length: count }, (_, i) => String(i)), '[MQTT-4.6.0-6]')
})

await t.test('messages of every kind from many senders: none is lost', async t => {
  const root = fresh('mixed')
  const persistent = (await resume(t, fresh('c'))).client
  const clean = await connect(t)
  for (const receiver of [persistent, clean]) await receiver.subscribe(`${root}/#`, 1)
  const senders = await Promise.all(Array.from({ length: 4 }, async () => await connect(t)))
  const sent: string[] = []
  await Promise.all(senders.map(async (sender, s) => {
    for (let i = 0; i < 60; i++) {
      const text = `${s}-${i}`
      const topic = `${root}/${s}/${i % 4}`
      if (i % 4 === 0) sender.send({ cmd: 'publish', topic, payload: text, qos: 0, dup: false, retain: false })
      else if (i % 4 === 1) await sender.publish(topic, text, { retain: i % 8 === 1 })
      else if (i % 4 === 2) await publish2(sender, topic, text, { retain: i % 8 === 2 })
      else await sender.publish(topic, text)
      sent.push(text)
    }
  }))
  for (const receiver of [persistent, clean]) {
    const got: string[] = []
    while (got.length < sent.length) got.push((await receiver.next()).payload.toString())
    t.strictSame(got.sort(), [...sent].sort())
  }
  for (let s = 0; s < 4; s++) for (const kind of [1, 2]) await clean.publish(`${root}/${s}/${kind}`, '', { retain: true })
})

await t.test('a second connection of a client id takes over; a clean session forgets', async t => {
  const root = fresh('takeover')
  const id = fresh('c')
  const { client } = await resume(t, id)
  await client.subscribe(`${root}/#`, 1)
  const { client: taker, present } = await resume(t, id)
  await within(client.closed, 10_000, 'the close of the first one [MQTT-3.1.4-2]')
  t.ok(present)
  const other = await connect(t)
  await other.publish(`${root}/x`, 'x')
  t.equal((await taker.next(`${root}/x`)).payload.toString(), 'x')
  await taker.disconnect()
  await other.publish(`${root}/y`, 'y')
  const clean = await connect(t, { clientId: id, clean: true })
  await clean.disconnect()
  const { client: last, present: still } = await resume(t, id)
  t.notOk(still, '[MQTT-3.1.2-6]')
  await last.subscribe(`${root}/z`, 1)
  await other.publish(`${root}/z`, 'z')
  t.strictSame(payloads(await messagesUntil(last, 'z')), [])
})

await t.test('a session without subscriptions is present', async t => {
  const id = fresh('c')
  const first = await resume(t, id)
  t.notOk(first.present)
  await first.client.disconnect()
  t.ok((await resume(t, id)).present, '[MQTT-3.2.2-2]')
})

await t.test('the mqtt package: publish, subscribe, unsubscribe', async t => {
  const root = fresh('package')
  const one = await device(t, `mqtt://127.0.0.1:${server.port}`, 'conf', { clientId: fresh('c') })
  t.strictSame(await one.subscribe(`${root}/+`, 2), [2])
  for (const qos of [0, 1, 2] as const) {
    t.notOk((await one.publish(`${root}/${qos}`, `q${qos}`, { qos })).error)
    t.match(await one.next(`${root}/${qos}`), { text: `q${qos}`, packet: { qos } })
  }
})

await t.test('what was acknowledged is there after a restart', { skip: server.restart === undefined ? 'the server was given' : false }, async t => {
  const root = fresh('restart')
  const id = fresh('c')
  const { client } = await resume(t, id, { acknowledge: false })
  await client.subscribe(`${root}/#`, 2)
  const other = await connect(t)
  await other.publish(`${root}/flying`, 'flying')
  const flying = await client.next(`${root}/flying`)
  await client.disconnect()
  await other.publish(`${root}/1`, 'q1', { retain: true })
  await publish2(other, `${root}/2`, 'q2')
  await server.restart?.()
  const after = await resume(t, id)
  t.ok(after.present)
  t.match(await after.client.next(`${root}/flying`), { dup: true, messageId: flying.messageId })
  t.match(await after.client.next(`${root}/1`), { dup: false, qos: 1, retain: false })
  t.match(await after.client.next(`${root}/2`), { dup: false, qos: 2 })
  const reader = await connect(t)
  await reader.subscribe(`${root}/+`, 1)
  t.match(await reader.next(`${root}/1`), { retain: true })
  await reader.publish(`${root}/1`, '', { retain: true })
})
