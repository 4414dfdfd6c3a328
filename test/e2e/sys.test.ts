/** `$SYS/…`: what the server says of itself, and to whom. */
import t from 'tap'
import { RawClient } from '../support/raw-client.ts'
import type { RawConnect } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

const kept: RawConnect = { clean: false, properties: { sessionExpiryInterval: 1000 } }

await t.test('numbers at SUBSCRIBE, and what changes', async t => {
  const server = await startServer(t, { config: { mqtt: { sys: { intervalSeconds: 1 } } } })
  const connect = async (options: RawConnect) => (await RawClient.connect(t, server.mqttPort, options)).client
  const reader = await connect({ version: 5, user: 'op', clientId: 'op', ...kept })
  t.strictSame(await reader.subscribe(['$SYS/broker/clients/#', '$SYS/broker/+'], 1), [0, 0], 'at QoS 0: nothing of it is kept')
  t.match(await reader.next('$SYS/broker/version'), { retain: true, qos: 0, payload: /^sabethes \d/ })
  t.match(await reader.next('$SYS/broker/uptime'), { retain: true, payload: /^\d+ seconds$/ })
  t.match(await reader.next('$SYS/broker/clients/connected'), { retain: true, payload: Buffer.from('1') })
  // Another one with every number.
  const all = await connect({ version: 4, user: 'all' })
  await all.subscribe('$SYS/#', 2)
  const names = ['version', 'uptime', 'clients/connected', 'messages/received', 'messages/sent', 'bytes/received', 'bytes/sent', 'retained messages/count', 'store/messages/bytes', 'publish/messages/dropped', 'heap/current']
  const first = new Map<string, number>()
  for (const name of names) first.set(name, Number((await all.next(`$SYS/broker/${name}`)).payload.toString()))
  const sender = await connect({ version: 4, user: 'sender' })
  for (let i = 0; i < 5; i++) await sender.publish('im/to/u/sender', String(i))
  for (;;) {
    const { retain, payload } = await all.next('$SYS/broker/messages/received')
    t.notOk(retain, 'live')
    if (Number(payload.toString()) === (first.get('messages/received') as number) + 5) break
  }
  for (const name of ['bytes/received', 'messages/sent', 'bytes/sent']) {
    const more = (text: string): boolean => Number(text) > (first.get(name) as number)
    t.ok(await all.packets.take(packet => packet.cmd === 'publish' && packet.topic === `$SYS/broker/${name}` && more(packet.payload.toString())), name)
  }
  await reader.packets.take(packet => packet.cmd === 'publish' && packet.topic.endsWith('connected') && packet.payload.toString() === '3')
  t.notOk(reader.packets.waiting.some(packet => packet.cmd === 'publish' && packet.topic.includes('messages')), 'what was subscribed to, and nothing else')

  // The subscription is the session's.
  reader.cut()
  await reader.closed
  const { client: back, connack } = await RawClient.connect(t, server.mqttPort, { version: 5, user: 'op', clientId: 'op', ...kept })
  t.ok(connack.sessionPresent)
  t.match(await back.next('$SYS/broker/uptime'), { retain: false })
  back.send({ cmd: 'unsubscribe', messageId: 9, unsubscriptions: ['$SYS/broker/clients/#', '$SYS/broker/+'] })
  await back.packets.take(packet => packet.cmd === 'unsuback')
  back.packets.waiting.length = 0
  await all.next('$SYS/broker/uptime')
  await all.next('$SYS/broker/uptime')
  await back.ping()
  t.strictSame(back.packets.waiting.filter(packet => packet.cmd === 'publish'), [])
})

await t.test('who may read, and that nobody writes', async t => {
  const server = await startServer(t, { config: { mqtt: { openTopics: ['#'], sys: { readers: ['op'] } } } })
  for (const version of [4, 5] as const) {
    const refused = version === 5 ? 0x87 : 0x80
    const connect = async (user: string) => (await RawClient.connect(t, server.mqttPort, { version, user })).client
    const [op, other] = [await connect('op'), await connect('other')]
    t.strictSame(await op.subscribe(['$SYS/#', '$SYS', '$SYS/broker/uptime'], 0), [0, 0, 0])
    t.strictSame(await other.subscribe(['$SYS/#', '$SYS', '$SYS/broker/uptime', '#'], 0), [refused, refused, refused, 0])
    if (version === 5) t.strictSame(await op.subscribe('$share/g/$SYS/#', 0), [0x87])
    const answer = await op.publish('$SYS/broker/uptime', 'forged')
    if (version === 5) t.equal(answer.reasonCode, 0x87)
    await other.ping()
    t.notOk(other.packets.waiting.some(packet => packet.cmd === 'publish' && packet.topic.startsWith('$')), 'a # does not cover it [MQTT-4.7.2-1]')
  }
})

for (const [name, config, code] of [
  ['the interval is 0', { mqtt: { sys: { intervalSeconds: 0, readers: ['*'] } } }, 0x87],
  ['the server is not on loopback and no name is given', { mqtt: { tcp: { host: '0.0.0.0' } }, auth: { devAnywhere: true } }, 0x87],
  ['all may', { mqtt: { tcp: { host: '0.0.0.0' }, sys: { readers: ['*'] } }, auth: { devAnywhere: true } }, 0]
] as const) {
  await t.test(`whether anybody may read while ${name}`, async t => {
    const server = await startServer(t, { config })
    const { client } = await RawClient.connect(t, server.mqttPort, { version: 5, user: 'anybody' })
    t.strictSame(await client.subscribe('$SYS/#', 0), [code])
  })
}
