/** Publishes that are too large are refused so that their sender hears of it, whatever their size. */
import t from 'tap'
import { WebSocket, createWebSocketStream } from 'ws'
import { wide } from '../support/configs.ts'
import { json, RawClient } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

const server = await startServer(t, { config: { ...wide, mqtt: { openTopics: ['open/#'] } } })

for (const [bytes, what] of [[100_000, 'over the limit of messages'], [300_000, 'over the limit of packets'], [20_000_000, 'far over it']] as const) {
  for (const qos of [1, 2] as const) {
    await t.test(`${bytes} bytes at QoS ${qos}, ${what}: a notice, an acknowledgement, and the connection goes on`, async t => {
      const { client } = await RawClient.connect(t, server.mqttPort, { user: 'alice' })
      client.send({ cmd: 'publish', topic: 'im/to/u/bob', payload: 'x'.repeat(bytes), qos, dup: false, retain: false, messageId: 7 })
      const answer = await client.packets.take(p => p.cmd === (qos === 1 ? 'puback' : 'pubrec') && p.messageId === 7)
      t.ok(answer)
      t.match(json(await client.next('im/u/alice/notice')), { kind: 'reject', code: 'too_large', ref: { topic: 'im/to/u/bob', mid: 7 } })
      if (qos === 2) {
        client.send({ cmd: 'pubrel', messageId: 7 })
        await client.packets.take(p => p.cmd === 'pubcomp')
      }
      await client.publish('im/to/u/bob', 'goes on', { messageId: 8 })
    })
  }
}

await t.test('on an ordinary topic, and at QoS 0', async t => {
  const { client } = await RawClient.connect(t, server.mqttPort, { user: 'alice' })
  client.send({ cmd: 'publish', topic: 'open/a', payload: 'x'.repeat(300_000), qos: 1, dup: false, retain: false, messageId: 3 })
  await client.packets.take(p => p.cmd === 'puback' && p.messageId === 3)
  t.match(json(await client.next()), { code: 'too_large', ref: { topic: 'open/a', mid: 3 } })
  client.send({ cmd: 'publish', topic: 'im/to/u/bob', payload: 'x'.repeat(300_000), qos: 0, dup: false, retain: false })
  t.match(json(await client.next()), { code: 'too_large', ref: { topic: 'im/to/u/bob' } })
  await client.ping()
})

await t.test('MQTT 5 was told the limit', async t => {
  const { client, connack } = await RawClient.connect(t, server.mqttPort, { user: 'alice', version: 5 })
  t.equal(connack.properties?.maximumPacketSize, 262_144)
  client.send({ cmd: 'publish', topic: 'im/to/u/bob', payload: 'x'.repeat(300_000), qos: 1, dup: false, retain: false, messageId: 3 })
  t.match(await client.packets.take(p => p.cmd === 'disconnect'), { reasonCode: 0x95 })
})

await t.test('over WebSocket, in one frame', async t => {
  const socket = new WebSocket(server.wsUrl, ['mqtt'])
  await new Promise((resolve, reject) => { socket.once('open', resolve).once('error', reject) })
  const { client } = await RawClient.connect(t, 0, { user: 'alice', stream: createWebSocketStream(socket) })
  client.send({ cmd: 'publish', topic: 'im/to/u/bob', payload: Buffer.alloc(300_000, 'x'), qos: 1, dup: false, retain: false, messageId: 3 })
  await client.packets.take(p => p.cmd === 'puback' && p.messageId === 3)
  t.match(json(await client.next()), { code: 'too_large' })
})
