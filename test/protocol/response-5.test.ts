/** Request and response (MQTT 5.0, section 4.10): Response Information, Response Topic, Correlation Data. */
import type { IConnackPacket, IPublishPacket } from 'mqtt-packet'
import t from 'tap'
import { Clients, fresh } from '../support/clauses.ts'
import { RawClient, json } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

const server = await startServer(t, { config: { mqtt: { openTopics: ['open/#', '{user}/#'] } } })
const clients = new Clients(server.mqttPort, 5)
const connack = async (requestResponseInformation: boolean | undefined, user?: string, version: 4 | 5 = 5): Promise<IConnackPacket> =>
  (await RawClient.connect(t, server.mqttPort, { version, ...user !== undefined && { user }, properties: { ...requestResponseInformation !== undefined && { requestResponseInformation } } })).connack
const asking = (topic: string, correlation?: string): Partial<IPublishPacket> => ({ properties: { responseTopic: topic, ...correlation !== undefined && { correlationData: Buffer.from(correlation) } } })

await t.test('Response Information is said to who asks for it', async t => {
  t.equal((await connack(true, 'alice')).properties?.responseInformation, 'im/u/alice/rpc')
  t.equal((await connack(false, 'alice')).properties?.responseInformation, undefined, '[MQTT-3.1.2-28]')
  t.equal((await connack(undefined, 'alice')).properties?.responseInformation, undefined)
  t.match(await connack(true), { reasonCode: 0, properties: { responseInformation: undefined } }, 'nobody\'s answers go nowhere')
  t.equal((await connack(undefined, 'alice', 4)).returnCode, 0)
})

await t.test('an answer goes to the Response Topic, with the Correlation Data', async t => {
  const client = await clients.connect(t, { user: 'alice' })
  t.strictSame(await client.subscribe('im/u/alice/rpc/+', 0), [0])
  await client.publish('im/rpc/server.info', '{}', asking('im/u/alice/rpc/first', 'c-1'))
  const first = await client.next('im/u/alice/rpc/first')
  t.match(json(first), { rid: 'first', ok: true }, 'its last level is the request\'s id')
  t.equal(first.properties?.correlationData?.toString(), 'c-1')
  await client.publish('im/rpc/server.info', '{"rid":"own"}', asking('im/u/alice/rpc/second'))
  t.match(json(await client.next('im/u/alice/rpc/second')), { rid: 'own', ok: true }, 'unless it has one')
  await client.publish('im/rpc/no.such', '{}', asking('im/u/alice/rpc/third'))
  t.match(json(await client.next('im/u/alice/rpc/third')), { rid: 'third', ok: false, code: 'not_found' })
  await client.publish('im/rpc/server.info', '{"rid":"fourth"}')
  t.match(json(await client.next('im/u/alice/rpc/fourth')), { rid: 'fourth', ok: true }, 'without one as ever')
})

await t.test('an answer goes nowhere else', async t => {
  const client = await clients.connect(t, { user: 'alice' })
  for (const qos of [0, 1, 2] as const) {
    for (const topic of ['im/u/bob/rpc/x', 'im/u/alice/rpc', 'im/u/alice/rpc/', 'im/u/alice/rpc/a/b', 'im/u/alice/inbox', 'im/to/u/bob', 'open/x', 'x']) {
      const messageId = client.nextId()
      client.send({ cmd: 'publish', topic: 'im/rpc/server.info', payload: '{"rid":"1"}', qos, dup: false, retain: false, messageId, ...asking(topic) })
      const notice = await client.next('im/u/alice/notice')
      t.match(json(notice), { kind: 'reject', code: 'forbidden', ref: { topic: 'im/rpc/server.info' } }, topic)
      if (qos > 0) t.match(await client.packets.take(packet => packet.cmd === 'puback' || packet.cmd === 'pubrec'), { messageId, reasonCode: 0x87 })
    }
  }
  await client.ping()
  t.strictSame(client.packets.waiting, [])
})

await t.test('on ordinary topics an answer is a publish like any other', async t => {
  const root = `open/${fresh('ask')}`
  const [asker, responder] = [await clients.connect(t, { user: 'alice' }), await clients.connect(t, { user: 'bob' })]
  await responder.subscribe(`${root}/question`, 1)
  await asker.subscribe(`${root}/answer`, 1)
  for (const [topic, reasonCode] of [[`${root}/answer`, 0], ['alice/answer', 0x87], ['im/u/alice/rpc/x', 0x87], ['closed/answer', 0x87]] as const) {
    await asker.publish(`${root}/question`, '?', asking(topic, 'c-1'))
    const { properties } = await responder.next(`${root}/question`)
    t.equal(properties?.responseTopic, topic, 'what it says goes on as it is [MQTT-3.3.2-15]')
    const { responseTopic = '', correlationData } = properties ?? {}
    const puback = await responder.publish(responseTopic, '!', { properties: { ...correlationData !== undefined && { correlationData } } })
    t.equal(puback.reasonCode, reasonCode, `${topic}: who answers needs the right to`)
  }
  t.equal((await asker.next(`${root}/answer`)).properties?.correlationData?.toString(), 'c-1')
})
