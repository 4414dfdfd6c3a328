/** The order of user properties on ordinary topics, by the way that a message takes. */
import t from 'tap'
import { decodePublish, encodePublish, type UserProperties } from '../../broker/mqtt/index.ts'
import { Clients, fresh } from '../support/clauses.ts'
import { bytes } from '../support/frame-bytes.ts'
import { RawClient } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

const server = await startServer(t, { config: { mqtt: { openTopics: ['#'] } } })
const clients = new Clients(server.mqttPort, 5)

/** Names that come again, texts that are empty, and a name that objects have of themselves. */
const mixed: UserProperties = [['b', '1'], ['a', ''], ['b', '2'], ['', 'x'], ['a', ''], ['__proto__', 'p'], ['10', 'ten'], ['9', 'nine'], ['a', '3']]

/** The user properties of the messages that a client gets, as they are on the wire. */
function listen (client: RawClient): () => UserProperties[] {
  const chunks: Buffer[] = []
  client.stream.on('data', (chunk: Buffer) => { chunks.push(chunk) })
  return () => {
    const got: UserProperties[] = []
    const all = Buffer.concat(chunks)
    for (let at = 0; at < all.length;) {
      let [length, start, place] = [0, at + 1, 0]
      for (let byte = 0x80; byte >= 0x80; place += 7) {
        byte = all[start++] as number
        length |= (byte & 0x7f) << place
      }
      if ((all[at] as number) >> 4 === 3) got.push(decodePublish(all[at] as number, all, start, start + length, 5).properties?.userProperties ?? [])
      at = start + length
    }
    return got
  }
}

async function publish (t: Parameters<Clients['connect']>[0], topic: string, qos: 0 | 1 | 2, retain = false, userProperties = mixed): Promise<void> {
  const sender = await clients.connect(t)
  sender.write(encodePublish({ topic, qos, dup: false, retain, packetId: 9, payload: Buffer.from('x'), properties: { contentType: 'a/b', userProperties } }))
  if (qos === 2) {
    await sender.packets.take(packet => packet.cmd === 'pubrec')
    sender.send({ cmd: 'pubrel', messageId: 9 })
  }
  if (qos > 0) await sender.packets.take(packet => packet.cmd === (qos === 1 ? 'puback' : 'pubcomp'))
  await sender.ping()
}

for (const qos of [0, 1, 2] as const) {
  await t.test(`a message at QoS ${qos}, live, shared and retained`, async t => {
    const topic = fresh('order')
    const [live, member, old] = [await clients.connect(t), await clients.connect(t), await clients.connect(t, {})]
    const got = [live, member].map(listen)
    await live.subscribe(topic, qos)
    await member.subscribe(`$share/g/${topic}`, qos)
    await publish(t, topic, qos, true)
    await Promise.all([live.next(), member.next()])
    const late = listen(old)
    await old.subscribe(topic, qos)
    await old.next()
    for (const one of [...got, late]) t.strictSame(one(), [mixed], '[MQTT-3.3.2-18]')
  })
}

await t.test('one that waited for its session, beside one with a single property and one with none', async t => {
  const topic = fresh('order')
  const clientId = fresh('c')
  const { client } = await clients.keep(t, clientId)
  await client.subscribe(topic, 1)
  await client.disconnect()
  await publish(t, topic, 1)
  await publish(t, topic, 1, false, [['only', '']])
  await publish(t, topic, 1, false, [])
  const back = await RawClient.open(t, server.mqttPort, { version: 5 })
  const got = listen(back)
  await back.hello({ user: 'clauses', clientId, clean: false, properties: { sessionExpiryInterval: 1000 } })
  for (let i = 0; i < 3; i++) await back.next()
  t.strictSame(got(), [mixed, [['only', '']], []])
})

await t.test('a will', async t => {
  const topic = fresh('order')
  const watcher = await clients.connect(t)
  const got = listen(watcher)
  await watcher.subscribe(topic, 1)
  const client = await RawClient.open(t, server.mqttPort, { version: 5 })
  const properties = bytes(...mixed.flatMap(([name, value]) => [0x26, name, value]))
  const body = bytes('MQTT', 5, 0x80 | 0x08 | 0x04 | 0x02, 0, 60, 0, fresh('c'), properties.length, properties, topic, 'x', 'clauses')
  client.write(bytes(0x10, (body.length & 0x7f) | 0x80, body.length >> 7, body))
  await client.packets.take(packet => packet.cmd === 'connack')
  client.cut()
  await watcher.next()
  t.strictSame(got(), [mixed], '[MQTT-3.1.3-10]')
})
