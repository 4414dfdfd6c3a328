/** Ordinary topics of two servers: what is published at one is heard at the other, and what a session has left is found where it comes back. */
import t from 'tap'
import type { Test } from 'tap'
import { startCluster } from '../support/cluster.ts'
import { device, type Device, type DeviceOptions } from '../support/mqtt.ts'
import type { Server } from '../support/server.ts'

const cluster = await startCluster(t, 2, { config: { mqtt: { openTopics: ['#'] } } })
const [a, b] = (cluster?.servers ?? []) as [Server, Server]
const skip = cluster === undefined

async function at (t: Test, server: Server, clientId: string, options: DeviceOptions = {}): Promise<Device> {
  return await device(t, server.url, 'ann', { clientId, ...options })
}

const kept: DeviceOptions = { clean: false, version: 5, options: { properties: { sessionExpiryInterval: 3600 } } }

for (const qos of [0, 1, 2] as const) {
  await t.test(`a connected client hears at QoS ${qos} what is published at the other server`, { skip }, async t => {
    for (const [clientId, options] of [['clean', {}], ['kept', kept]] as const) {
      const hearer = await at(t, b, `${clientId}${qos}`, options)
      await hearer.subscribe(`live/${qos}/${clientId}/+`, qos)
      const speaker = await at(t, a, `speaker${qos}${clientId}`)
      const count = 50
      const published = Array.from({ length: count }, (_, i) => speaker.publish(`live/${qos}/${clientId}/x`, String(i), { qos }))
      for (let i = 0; i < count; i++) {
        const { text, packet } = await hearer.next()
        t.equal(text, String(i), 'in order, once')
        t.equal(packet.qos, qos)
      }
      await Promise.all(published)
    }
  })
}

await t.test('a queue is found where the session comes back, with properties, in order', { skip }, async t => {
  const first = await at(t, a, 'mover', kept)
  await first.subscribe('queue/+', 2)
  await first.end()
  const speaker = await at(t, b, 'queue-speaker', { version: 5 })
  for (let i = 0; i < 200; i++) {
    await speaker.publish(`queue/${i % 3}`, String(i), { qos: i < 100 ? 1 : 2, properties: { contentType: 'text/plain', userProperties: { one: ['1', '2'] }, correlationData: Buffer.from([0, 255]) } })
  }
  const second = await at(t, b, 'mover', kept)
  t.equal(second.sessionPresent, true)
  for (let i = 0; i < 200; i++) {
    const { text, packet } = await second.next()
    t.equal(text, String(i))
    t.equal(packet.qos, i < 100 ? 1 : 2)
    t.equal(packet.properties?.contentType, 'text/plain')
    t.strictSame(packet.properties?.userProperties?.['one'], ['1', '2'])
    t.strictSame(packet.properties?.correlationData, Buffer.from([0, 255]))
  }
  await speaker.publish('queue/1', 'live', { qos: 1 })
  t.equal((await second.next()).text, 'live', 'and what comes then')
  await second.end()
  const third = await at(t, a, 'mover', kept)
  await speaker.publish('queue/1', 'last', { qos: 1 })
  t.equal((await third.next()).text, 'last', 'nothing of before again')
})

await t.test('retained messages are the same everywhere', { skip }, async t => {
  const speaker = await at(t, a, 'retainer')
  await speaker.publish('kept/here', 'one', { retain: true, qos: 1 })
  await speaker.publish('kept//empty', 'two', { retain: true, qos: 1 })
  await speaker.publish('kept/[x]/y', 'three', { retain: true, qos: 1 })
  const hearer = await at(t, b, 'retain-hearer')
  await hearer.subscribe('kept/#', 1)
  const got = [await hearer.next(), await hearer.next(), await hearer.next()]
  t.strictSame(got.map(({ text }) => text).sort(), ['one', 'three', 'two'])
  t.ok(got.every(({ packet }) => packet.retain))
  const other = await at(t, b, 'retain-other', kept)
  await other.subscribe('kept/[x]/+', 1)
  const { text, packet } = await other.next()
  t.strictSame([text, packet.retain, packet.qos], ['three', true, 1], 'by its queue')
  await (await at(t, b, 'eraser')).publish('kept/here', '', { retain: true, qos: 1 })
  t.equal((await hearer.next()).text, '', 'live')
  const late = await at(t, a, 'retain-late')
  await late.subscribe('kept/here', 1)
  await speaker.publish('kept/here', 'again', { qos: 1 })
  t.strictSame((await late.next()).text, 'again', 'there was none')
})

await t.test('No Local, identifiers and Retain As Published hold over servers', { skip }, async t => {
  const own = await at(t, a, 'own', kept)
  await own.client.subscribeAsync({ 'opts/own': { qos: 1, nl: true }, 'opts/#': { qos: 1, rap: true } }, { properties: { subscriptionIdentifier: 7 } })
  await own.client.subscribeAsync({ 'opts/nl': { qos: 1, nl: true } }, { properties: { subscriptionIdentifier: 9 } })
  await own.client.unsubscribeAsync('opts/#')
  await own.publish('opts/nl', 'mine', { qos: 1 })
  const other = await at(t, b, 'opts-other')
  await other.publish('opts/nl', 'theirs', { qos: 1 })
  const { text, packet } = await own.next()
  t.equal(text, 'theirs', 'not what it published itself')
  t.equal(packet.properties?.subscriptionIdentifier, 9)
})
