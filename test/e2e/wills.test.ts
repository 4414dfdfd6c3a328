/** Wills: one that cannot be published is refused with the CONNECT, where that can be known then. */
import t from 'tap'
import { json, RawClient } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

const server = await startServer(t, { config: { messages: { maxBytes: 1000 } } })

async function answer (topic: string, payload: string, version: 4 | 5 = 4, properties = {}): Promise<number | undefined> {
  const will = { topic, payload: Buffer.from(payload), qos: 0 as const, retain: false, ...version === 5 && { properties } }
  const { client, connack } = await RawClient.connect(t, server.mqttPort, { user: 'alice', version, will })
  client.send({ cmd: 'disconnect' })
  return version === 5 ? connack.reasonCode : connack.returnCode
}

await t.test('a will that cannot be published refuses the CONNECT', async t => {
  const { client: bob } = await RawClient.connect(t, server.mqttPort, { user: 'bob' })
  await bob.publish('im/rpc/groups.create', '{"rid":"1","gid":"closed","name":"Closed"}')
  t.match(json(await bob.next('im/u/bob/rpc/1')), { ok: true })
  await bob.publish('im/rpc/groups.create', '{"rid":"2","gid":"open","name":"Open","members":["alice"]}')
  t.match(json(await bob.next('im/u/bob/rpc/2')), { ok: true })
  const cases: Array<[string, string, string, object?]> = [
    ['a group that she is no member of', 'im/to/g/closed', 'gone'],
    ['a group that there is not', 'im/to/g/nothing', 'gone'],
    ['a read mark', 'im/to/u/bob/read', '1'],
    ['a read mark in a group', 'im/to/g/open/read', '1'],
    ['an empty payload', 'im/to/u/bob', ''],
    ['too large', 'im/to/u/bob', 'x'.repeat(1001)],
    ['what cannot be read', 'im/to/u/bob', '{"cid":"", "body":1}'],
    ['a request', 'im/rpc/unread', '{"rid":"1"}'],
    ['nobody', 'im/to/u/', 'x']
  ]
  for (const [name, topic, payload] of cases) {
    t.equal(await answer(topic, payload), 5, name)
    t.equal(await answer(topic, payload, 5), 0x87, `${name}, MQTT 5`)
  }
  t.equal(await answer('im/to/u/bob', '{"a"', 5, { contentType: 'application/json' }), 0x87, 'what its content type says it is not')
  t.equal(await answer('im/to/g/open', 'gone'), 0, 'a group of hers')
  t.equal(await answer('im/to/u/bob', 'gone'), 0, 'a user')
})
