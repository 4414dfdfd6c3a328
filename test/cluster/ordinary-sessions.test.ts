/** Sessions of ordinary topics that move between two servers: packet ids, QoS 2, bounds, ends, wills; and what of them is in Redis then. */
import t from 'tap'
import type { Test } from 'tap'
import { startCluster } from '../support/cluster.ts'
import { until } from '../support/mailbox.ts'
import { complete, publish2, release } from '../support/ordinary-flows.ts'
import { RawClient, type RawConnect } from '../support/raw-client.ts'
import type { Server } from '../support/server.ts'

const cluster = await startCluster(t, 2, { config: { mqtt: { openTopics: ['#'], limits: { offlineQueue: 20 } } } })
const [a, b] = (cluster?.servers ?? []) as [Server, Server]
const skip = cluster === undefined
const redis = cluster?.redis.client()

const kept = { version: 5 as const, clean: false, acknowledge: false, properties: { sessionExpiryInterval: 3600 } }

async function at (t: Test, server: Server, clientId: string, options: RawConnect = {}): Promise<RawClient> {
  const { client, connack } = await RawClient.connect(t, server.mqttPort, { user: 'ann', clientId, version: 5, ...options })
  t.equal(connack.reasonCode, 0, 'connected')
  return client
}

async function over (client: RawClient): Promise<void> {
  client.cut()
  await client.closed
}

/** Keys of Redis that are of ordinary topics and no change log. */
async function rows (): Promise<string[]> {
  const keys = await redis?.keys('{sabethes:ordinary}:*') ?? []
  return keys.map(key => key.slice(key.indexOf('}:') + 2)).filter(key => !/^(log|done|will)/.test(key)).sort()
}

await t.test('what was sent and not acknowledged comes again at the other server, under its packet id', { skip }, async t => {
  const first = await at(t, a, 'again', kept)
  await first.subscribe('again/+', 2)
  const speaker = await at(t, b, 'again-speaker')
  for (let i = 0; i < 3; i++) await speaker.publish('again/one', String(i))
  const sent = [await first.next(), await first.next(), await first.next()]
  t.strictSame(sent.map(({ payload, dup }) => [payload.toString(), dup]), [['0', false], ['1', false], ['2', false]])
  first.puback(sent[1]?.messageId as number)
  await first.ping()
  await over(first)
  await speaker.publish('again/one', '3')
  const second = await at(t, b, 'again', kept)
  const came = [await second.next(), await second.next(), await second.next()]
  t.strictSame(came.map(({ payload, dup }) => [payload.toString(), dup]), [['0', true], ['2', true], ['3', false]])
  t.strictSame(came.slice(0, 2).map(({ messageId }) => messageId), [sent[0]?.messageId, sent[2]?.messageId], '[MQTT-4.4.0-1]')
  for (const { messageId } of came) second.puback(messageId)
  await second.disconnect()
})

await t.test('QoS 2 goes on where it was: PUBREL on the other server, and no message twice', { skip }, async t => {
  const first = await at(t, a, 'twice', kept)
  await first.subscribe('twice/+', 2)
  const speaker = await at(t, b, 'twice-speaker', kept)
  await publish2(speaker, 'twice/x', 'one')
  const one = await first.next()
  await release(first, one)
  await over(first)
  // The speaker sends one, hears no PUBREC on that connection, and sends it again elsewhere.
  speaker.send({ cmd: 'publish', topic: 'twice/x', payload: 'two', qos: 2, dup: false, retain: false, messageId: 77 })
  await speaker.packets.take(packet => packet.cmd === 'pubrec' && packet.messageId === 77)
  await over(speaker)
  const again = await at(t, a, 'twice-speaker', kept)
  again.send({ cmd: 'publish', topic: 'twice/x', payload: 'two', qos: 2, dup: true, retain: false, messageId: 77 })
  await again.packets.take(packet => packet.cmd === 'pubrec' && packet.messageId === 77)
  again.send({ cmd: 'pubrel', messageId: 77 })
  await again.packets.take(packet => packet.cmd === 'pubcomp' && packet.messageId === 77)
  await publish2(again, 'twice/x', 'end')
  const second = await at(t, b, 'twice', kept)
  const pubrel = await second.packets.take(({ cmd }) => cmd === 'pubrel')
  t.equal((pubrel as { messageId: number }).messageId, one.messageId)
  second.send({ cmd: 'pubcomp', messageId: one.messageId })
  const [two, end] = [await second.next(), await second.next()]
  t.strictSame([two, end].map(({ payload, dup }) => [payload.toString(), dup]), [['two', false], ['end', false]])
  await complete(second, two)
  await complete(second, end)
})

await t.test('a queue keeps the newest, as many as offlineQueue says', { skip }, async t => {
  const first = await at(t, a, 'full', kept)
  await first.subscribe('full/+')
  await first.disconnect()
  const speaker = await at(t, b, 'full-speaker')
  for (let i = 0; i < 50; i++) await speaker.publish('full/x', String(i))
  await until(async () => await redis?.llen('{sabethes:ordinary}:outgoing:ann%2Ffull') === 20, 5_000, 'the bound')
  const second = await at(t, b, 'full', { ...kept, acknowledge: true })
  for (let i = 30; i < 50; i++) t.equal((await second.next()).payload.toString(), String(i))
})

await t.test('a message whose time is over does not come', { skip }, async t => {
  const first = await at(t, a, 'late', kept)
  await first.subscribe('late/+')
  await first.disconnect()
  const speaker = await at(t, b, 'late-speaker')
  await speaker.publish('late/x', 'short', { properties: { messageExpiryInterval: 1 } })
  await speaker.publish('late/x', 'long', { properties: { messageExpiryInterval: 600 } })
  await new Promise(resolve => { setTimeout(resolve, 1_100) })
  const second = await at(t, b, 'late', { ...kept, acknowledge: true })
  const { payload, properties } = await second.next()
  t.equal(payload.toString(), 'long')
  t.ok((properties?.messageExpiryInterval ?? 0) < 600, 'what is left of it')
})

await t.test('a retained message whose time is over is not sent, and goes from Redis', { skip }, async t => {
  const speaker = await at(t, a, 'short-speaker')
  await speaker.publish('short/x', 'short', { retain: true, properties: { messageExpiryInterval: 1 } })
  await speaker.publish('short/y', 'long', { retain: true, properties: { messageExpiryInterval: 600 } })
  const has = async (topic: string): Promise<unknown> => await redis?.hexists('{sabethes:ordinary}:retained', topic)
  t.strictSame([await has('short/x'), await has('short/y')], [1, 1])
  await new Promise(resolve => { setTimeout(resolve, 1_100) })
  const hearer = await at(t, b, 'short-hearer')
  await hearer.subscribe('short/+')
  t.equal((await hearer.next()).payload.toString(), 'long')
  await until(async () => await has('short/x') === 0, 5_000, 'the row of what has expired')
  t.equal(await has('short/y'), 1)
})

await t.test('of a session that is over nothing is left in Redis', { skip }, async t => {
  // What the clients before have acknowledged is on its way out.
  await until(async () => !(await rows()).some(key => key.startsWith('packet:')), 5_000, 'empty queues')
  const before = await rows()
  const first = await at(t, a, 'gone', kept)
  await first.subscribe('gone/+', 2)
  await first.disconnect()
  const speaker = await at(t, b, 'gone-speaker', kept)
  await speaker.publish('gone/x', 'one')
  speaker.send({ cmd: 'publish', topic: 'gone/x', payload: 'two', qos: 2, dup: false, retain: false, messageId: 9 })
  await speaker.packets.take(({ cmd }) => cmd === 'pubrec')
  t.equal((await rows()).length > before.length, true)
  await over(speaker)
  // Anew, and then over.
  for (const clientId of ['gone', 'gone-speaker']) await over(await at(t, b, clientId, { clean: true }))
  t.strictSame(await rows(), before)
})

await t.test('a shared subscription is refused, in so many words', { skip }, async t => {
  const one = await at(t, a, 'sharer')
  t.strictSame(await one.subscribe('$share/g/some/+'), [0x9e])
})

await t.test('the will of a client whose server died comes once, from the other one', { skip }, async t => {
  t.setTimeout(90_000)
  const hearer = await at(t, b, 'heir', { ...kept, acknowledge: true })
  await hearer.subscribe('wills/+')
  await at(t, a, 'testator', { will: { topic: 'wills/x', payload: Buffer.from('gone'), qos: 1, retain: true } })
  await a.kill9()
  t.equal((await hearer.next('wills/x', 60_000)).payload.toString(), 'gone')
  const speaker = await at(t, b, 'will-speaker')
  await speaker.publish('wills/y', 'end')
  t.equal((await hearer.next()).payload.toString(), 'end', 'once')
  const late = await at(t, b, 'will-late')
  await late.subscribe('wills/x')
  t.equal((await late.next()).payload.toString(), 'gone', 'and retained')
})
