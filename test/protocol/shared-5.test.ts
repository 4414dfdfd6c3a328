/** Shared subscriptions (MQTT 5, section 4.8.2): one queue a group, each message to one of its members. */
import { randomUUID } from 'node:crypto'
import type { IPublishPacket, ISubackPacket } from 'mqtt-packet'
import t from 'tap'
import type { Test } from 'tap'
import { complete, publish2 } from '../support/ordinary-flows.ts'
import { RawClient } from '../support/raw-client.ts'
import type { RawConnect } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

const server = await startServer(t, { config: { mqtt: { openTopics: ['open/#'], limits: { inflight: 8 } } } })
const run = randomUUID().slice(0, 8)
let number = 0
const fresh = (name: string) => `open/${run}-${name}-${++number}`
const kept = { sessionExpiryInterval: 1000 }

async function connect (t: Test, options: RawConnect = {}): Promise<RawClient> {
  const { client, connack } = await RawClient.connect(t, server.mqttPort, { version: 5, user: 'conf', clientId: `c${++number}`, ...options })
  t.equal(connack.reasonCode ?? connack.returnCode, 0, 'connected')
  return client
}

interface Options { qos?: 0 | 1 | 2, nl?: boolean, rap?: boolean, rh?: number }

async function subscribe (client: RawClient, topic: string, { qos = 1, ...more }: Options = {}, identifier?: number): Promise<number> {
  const messageId = client.nextId()
  client.send({ cmd: 'subscribe', messageId, subscriptions: [{ topic, qos, ...more }], ...identifier !== undefined && { properties: { subscriptionIdentifier: identifier } } })
  const suback = await client.packets.take(packet => packet.cmd === 'suback' && packet.messageId === messageId, 15_000, 'suback') as ISubackPacket
  return suback.granted[0] as number
}

const payloads = (packets: IPublishPacket[]) => packets.map(packet => packet.payload.toString())
const numbers = (count: number, from = 1) => Array.from({ length: count }, (_, i) => String(from + i))
const waiting = (client: RawClient) => client.packets.waiting.filter(packet => packet.cmd === 'publish')

/** Takes what the clients have got when so many have come in all, and shows that there is no other. */
async function gathered (t: Test, clients: RawClient[], count: number): Promise<string[][]> {
  for (const deadline = Date.now() + 15_000; clients.reduce((sum, client) => sum + waiting(client).length, 0) < count && Date.now() < deadline;) await Promise.all(clients.map(client => client.ping()))
  await Promise.all(clients.map(client => client.ping()))
  const got = []
  for (const client of clients) {
    const own: string[] = []
    while (waiting(client).length > 0) own.push((await client.next()).payload.toString())
    got.push(own)
  }
  t.equal(got.flat().length, count, `${count} and no more`)
  return got
}

await t.test('each message goes to one member, and to everybody else who subscribes', async t => {
  const root = fresh('deal')
  const members = [await connect(t), await connect(t), await connect(t, { clean: false, properties: kept })]
  for (const member of members) t.equal(await subscribe(member, `$share/g/${root}/+`), 1)
  const others = [await connect(t), await connect(t)]
  await subscribe(others[0] as RawClient, `$share/h/${root}/#`)
  await subscribe(others[1] as RawClient, `${root}/#`)
  const sender = await connect(t)
  for (const text of numbers(30)) t.equal((await sender.publish(`${root}/x`, text)).reasonCode ?? 0, 0)
  const got = await gathered(t, [...members, ...others], 90)
  t.strictSame(got.slice(0, 3).flat().sort(), numbers(30).sort(), '[MQTT-4.8.2-4]')
  for (const own of got.slice(0, 3)) {
    t.ok(own.length >= 8, `${own.length} of 30`)
    t.strictSame(own, [...own].sort((a, b) => Number(a) - Number(b)), 'in order')
  }
  for (const own of got.slice(3)) t.strictSame(own, numbers(30))
  for (const text of numbers(9)) sender.send({ cmd: 'publish', topic: `${root}/x`, payload: text, qos: 0, dup: false, retain: false })
  const zero = await gathered(t, members, 9)
  t.ok(zero.every(own => own.length > 0), 'at QoS 0, too')
})

await t.test('that the publisher sent it again is nothing to a member', async t => {
  const root = fresh('dup')
  const member = await connect(t)
  await subscribe(member, `$share/g/${root}/+`, { qos: 0 })
  const sender = await connect(t)
  await sender.publish(`${root}/x`, 'again', { dup: true })
  t.match(await member.next(), { payload: Buffer.from('again'), qos: 0, dup: false }, '[MQTT-3.3.1-2]')
})

await t.test('who has room gets more', async t => {
  const root = fresh('room')
  const slow = await connect(t, { acknowledge: false, properties: { receiveMaximum: 5 } })
  const quick = await connect(t)
  for (const member of [slow, quick]) await subscribe(member, `$share/g/${root}/+`)
  const sender = await connect(t)
  for (const text of numbers(40)) await sender.publish(`${root}/x`, text)
  const [few, many] = await gathered(t, [slow, quick], 40)
  t.ok((few?.length ?? 0) <= 5, `${few?.length} to who does not acknowledge`)
  t.equal((few?.length ?? 0) + (many?.length ?? 0), 40)
})

await t.test('what a member left unacknowledged goes to another when its session ends', async t => {
  const root = fresh('back')
  const lost = await connect(t, { acknowledge: false })
  await subscribe(lost, `$share/g/${root}/+`, { qos: 2 })
  const sender = await connect(t)
  for (const text of numbers(5)) await sender.publish(`${root}/x`, text)
  await publish2(sender, `${root}/x`, 'once')
  for (const text of numbers(5, 6)) await sender.publish(`${root}/x`, text)
  await gathered(t, [lost], 8)
  const other = await connect(t)
  await subscribe(other, `$share/g/${root}/+`)
  t.strictSame((await gathered(t, [other], 3))[0], ['8', '9', '10'], 'what the first one has no room for')
  lost.cut()
  const [own = []] = await gathered(t, [other], 7)
  t.strictSame([...own].sort(), numbers(7).sort(), '[MQTT-4.8.2-5]: the one at QoS 2 was under way, and goes to nobody else')
})

await t.test('what a member has not acknowledged waits for it while its session is kept', async t => {
  const root = fresh('kept')
  const options: RawConnect = { clean: false, clientId: 'away', properties: kept, acknowledge: false }
  const away = await connect(t, options)
  await subscribe(away, `$share/g/${root}/+`, { qos: 2 })
  const sender = await connect(t)
  for (const text of numbers(2)) await sender.publish(`${root}/x`, text)
  await publish2(sender, `${root}/x`, '3')
  const ids = []
  for (let i = 0; i < 3; i++) ids.push((await away.next()).messageId)
  away.cut()
  await away.closed
  const other = await connect(t)
  await subscribe(other, `$share/g/${root}/+`, { qos: 2 })
  await sender.publish(`${root}/x`, 'to the other')
  t.strictSame((await gathered(t, [other], 1))[0], ['to the other'])
  const back = await connect(t, options)
  for (const [i, messageId] of ids.entries()) t.match(await back.next(), { payload: Buffer.from(String(i + 1)), messageId, dup: true }, '[MQTT-4.4.0-1]')
  back.puback(ids[0] as number)
  await back.ping()
  back.cut()
  await back.closed
  await connect(t, { ...options, clean: true })
  t.strictSame((await gathered(t, [other], 1))[0], ['2'], 'and goes to the other when it ends: what was sent at QoS 2 does not')
})

await t.test('a group whose members are away has a queue, over the end of the server', async t => {
  const root = fresh('queue')
  const options: RawConnect = { clean: false, clientId: 'worker', properties: kept }
  const worker = await connect(t, options)
  await subscribe(worker, `$share/g/${root}/+`, { qos: 2 }, 77)
  const second = await connect(t, { ...options, clientId: 'second' })
  await subscribe(second, `$share/g/${root}/+`)
  await worker.disconnect()
  await second.disconnect()
  let sender = await connect(t)
  for (const text of numbers(20)) t.equal((await sender.publish(`${root}/x`, text)).reasonCode ?? 0, 0, 'somebody will get it')
  await publish2(sender, `${root}/x`, 'two')
  await server.kill9()
  await server.restart()
  sender = await connect(t)
  await sender.publish(`${root}/x`, 'end')
  const back = await connect(t, options)
  const got = []
  for (let i = 0; i < 22; i++) {
    const packet = await back.next()
    if (packet.qos === 2) await complete(back, packet)
    got.push(packet)
  }
  t.strictSame(payloads(got.filter(packet => packet.qos === 1)), [...numbers(20), 'end'], 'in order')
  t.strictSame(payloads(got.filter(packet => packet.qos === 2)), ['two'])
  t.ok(got.every(packet => packet.properties?.subscriptionIdentifier === 77), '[MQTT-3.3.4-3]')
  t.strictSame((await gathered(t, [await connect(t, { ...options, clientId: 'second' })], 0))[0], [])
})

await t.test('the options of the member, and no retained messages', async t => {
  const root = fresh('options')
  const sender = await connect(t)
  await sender.publish(`${root}/x`, 'retained', { retain: true })
  const member = await connect(t)
  t.equal(await subscribe(member, `$share/g/${root}/+`, { qos: 1, rap: true }, 5), 1)
  await publish2(sender, `${root}/x`, 'two', { retain: true })
  t.match(await member.next(), { payload: Buffer.from('two'), qos: 1, retain: true, properties: { subscriptionIdentifier: 5 } }, 'not the one that was there before')
  t.equal(await subscribe(member, `$share/g/${root}/+`, { qos: 0 }), 0)
  await sender.publish(`${root}/x`, 'one', { retain: true })
  const got = await member.next()
  t.match(got, { payload: Buffer.from('one'), qos: 0, retain: false })
  t.equal(got.properties?.subscriptionIdentifier, undefined)
  await sender.publish(`${root}/x`, '', { retain: true })
})

await t.test('a message that its member refuses is over', async t => {
  const root = fresh('refuse')
  const members = [await connect(t, { acknowledge: false }), await connect(t, { acknowledge: false })]
  for (const member of members) await subscribe(member, `$share/g/${root}/+`)
  const sender = await connect(t)
  await sender.publish(`${root}/x`, 'bad')
  const got = await gathered(t, members, 1)
  const refuser = members[got[0]?.length === 1 ? 0 : 1] as RawClient
  refuser.send({ cmd: 'puback', messageId: 0x8000, reasonCode: 0x80 })
  await refuser.ping()
  refuser.cut()
  await refuser.closed
  await gathered(t, members.filter(member => member !== refuser), 0)
})

await t.test('who unsubscribes has no part in it any more; the last one ends the queue', async t => {
  const root = fresh('leave')
  const filter = `$share/g/${root}/+`
  const one = await connect(t, { clean: false, clientId: 'one', properties: kept })
  const two = await connect(t)
  for (const member of [one, two]) await subscribe(member, filter)
  const leave = async (client: RawClient): Promise<void> => {
    client.send({ cmd: 'unsubscribe', messageId: 70, unsubscriptions: [filter] })
    t.match(await client.packets.take(packet => packet.cmd === 'unsuback'), { granted: [0] })
  }
  await leave(two)
  const sender = await connect(t)
  await sender.publish(`${root}/x`, '1')
  t.strictSame(await gathered(t, [one, two], 1), [['1'], []])
  await one.disconnect()
  await sender.publish(`${root}/x`, 'waits')
  const back = await connect(t, { clean: true, clientId: 'one', properties: kept })
  t.equal((await sender.publish(`${root}/x`, 'nobody')).reasonCode, 0x10)
  await subscribe(back, filter)
  await sender.publish(`${root}/x`, '2')
  t.strictSame(await gathered(t, [back], 1), [['2']])
})

await t.test('what may not be shared', async t => {
  const client = await connect(t)
  t.equal(await subscribe(client, '$share/g/closed/x'), 0x87, 'a topic that is not open')
  t.equal(await subscribe(client, '$share/g/#'), 0x87)
  t.equal(await subscribe(client, '$share/g/$SYS/#'), 0x87)
  for (const chat of ['im/u/bob/inbox', 'im/#']) t.equal(await subscribe(client, `$share/g/${chat}`), 0x87, `chat: ${chat}`)
  t.equal(await subscribe(client, '$share/g/$share/h/open/x'), 0x87)
  const old = await connect(t, { version: 4 })
  t.strictSame(await old.subscribe('$share/g/open/x'), [0x80])
  for (const [filter, nl, reasonCode] of [['$share/g/open/x', true, 0x82], ['$share/g', false, 0x8f], ['$share//open/x', false, 0x8f], ['$share/+/open/x', false, 0x8f], ['$share/g+/open/x', false, 0x8f]] as const) {
    const bad = await connect(t)
    bad.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: filter, qos: 1, nl }] })
    t.match(await bad.packets.take(packet => packet.cmd === 'disconnect'), { reasonCode }, `${filter} [MQTT-4.8.2-1] to [MQTT-4.8.2-2], [MQTT-3.8.3-4]`)
  }
  const { connack } = await RawClient.connect(t, server.mqttPort, { version: 5, user: 'conf' })
  t.not(connack.properties?.sharedSubscriptionAvailable, false, '[3.2.2.3.13]')
})
