/** What is refused: acknowledged (or told by a reason code), noticed, not stored, and the connection stays. */
import t from 'tap'
import type { Test } from 'tap'
import { listen, mosquittoPub, requireMosquitto } from '../support/mosquitto.ts'
import { device } from '../support/mqtt.ts'
import { RawClient, json } from '../support/raw-client.ts'
import { cli, startServer } from '../support/server.ts'
import type { Server } from '../support/server.ts'

await t.test('a blocked sender: mosquitto_pub is content, the receiver hears nothing, the notice tells', async t => {
  if (!requireMosquitto(t)) return
  const server = await startServer(t)
  const bob = await device(t, server.url, 'bob')
  await bob.subscribe('im/u/bob/inbox')
  await bob.result('blocks.add', { user: 'alice' })
  t.match(JSON.stringify(await bob.result('blocks.list')), /alice/)

  const { lines } = await listen(t, server.mqttPort, '-u', 'alice', '-t', 'im/u/alice/notice', '-q', '1')
  const sent = await mosquittoPub(server.mqttPort, '-u', 'alice', '-t', 'im/to/u/bob', '-q', '1', '-m', 'psst')
  t.equal(sent.code, 0, sent.stderr)
  const notice = JSON.parse(await lines.take()) as Record<string, unknown>
  t.match(notice, { kind: 'reject', code: 'blocked', reason: /.+/, ref: { topic: 'im/to/u/bob' } })

  const carol = await device(t, server.url, 'carol')
  await carol.publish('im/to/u/bob', 'good morning')
  t.match(await bob.nextJson('im/u/bob/inbox'), { from: 'carol', seq: 1 }, 'the next thing bob hears is not alice')
  await bob.result('blocks.remove', { user: 'alice' })
  await mosquittoPub(server.mqttPort, '-u', 'alice', '-t', 'im/to/u/bob', '-q', '1', '-m', 'hello')
  t.match(await bob.nextJson('im/u/bob/inbox'), { from: 'alice', seq: 1, body: 'hello' }, 'and the refused one took no number')
})

/** Publishes what must be refused; asserts the notice before the PUBACK, and that the connection goes on. */
async function refused (t: Test, client: RawClient, topic: string, payload: string | Buffer, code: string | RegExp): Promise<void> {
  const name = `${topic.slice(0, 40)} ${JSON.stringify(payload.toString().slice(0, 30))}`
  const messageId = client.nextId()
  client.send({ cmd: 'publish', topic, payload, qos: 1, dup: false, retain: false, messageId })
  const first = await client.packets.take(p => p.cmd === 'publish' || p.cmd === 'puback', 15_000, name)
  if (first.cmd !== 'publish') { t.fail(`${name}: ${first.cmd} came without a notice before it`); return }
  t.match(json(first), { kind: 'reject', code, reason: /.+/, ref: { topic, mid: messageId } }, name)
  t.match(await client.packets.take(p => p.cmd === 'puback'), { messageId })
}

await t.test('a notice with a code, just before the PUBACK, without a subscription; the connection stays', async t => {
  const server = await startServer(t, { config: { messages: { maxBytes: 1000 } } })
  const owner = await device(t, server.url, 'owner')
  await owner.result('groups.create', { gid: 'closed', name: 'Closed', members: [] })
  const { client: alice } = await RawClient.connect(t, server.mqttPort, { user: 'alice' })

  await refused(t, alice, 'im/to/u/bob', '', 'bad_payload')
  await refused(t, alice, 'im/to/u/bob', 'x'.repeat(1001), 'too_large')
  await refused(t, alice, 'im/to/u/bob', '{"cid":7,"body":"x"}', 'bad_payload')
  await refused(t, alice, 'im/to/u/bob', '{"type":{},"body":"x"}', 'bad_payload')
  await refused(t, alice, 'im/to/u/a b', 'x', /not_found|bad_payload/)
  await refused(t, alice, 'im/to/u/bob/dance', 'x', 'not_found')
  await refused(t, alice, 'im/to/u/bob/read', 'many', 'bad_payload')
  await refused(t, alice, 'im/to/u/bob/read', '{"seq":"1"}', 'bad_payload')
  await refused(t, alice, 'im/to/g/closed', 'x', /forbidden|not_found/)
  await refused(t, alice, 'im/to/g/nowhere', 'x', /forbidden|not_found/)
  await refused(t, alice, 'im/u/bob/inbox', 'x', 'forbidden')
  await refused(t, alice, 'im/u/alice/inbox', 'x', 'forbidden')
  await refused(t, alice, 'im/g/closed', 'x', 'forbidden')
  await refused(t, alice, 'im/server', 'x', 'forbidden')
  await refused(t, alice, 'im/nonsense', 'x', /not_found|forbidden/)
  await refused(t, alice, 'im', 'x', /not_found|forbidden/)
  await refused(t, alice, '$SYS/x/new/clients', 'x', 'forbidden')
  await refused(t, alice, 'home/kitchen', '21', 'forbidden')
  await refused(t, alice, 'im/rpc/unread', '{', 'bad_payload')
  await refused(t, alice, 'im/rpc/unread', '[]', 'bad_payload')
  await refused(t, alice, 'im/rpc/unread', '', 'bad_payload')

  await alice.publish('im/to/u/bob', 'x'.repeat(1000))
  await alice.publish('im/to/u/bob', 'the end')
  const { client: bob } = await RawClient.connect(t, server.mqttPort, { user: 'bob' })
  await bob.subscribe('im/u/bob/inbox')
  t.match(json(await bob.next('im/u/bob/inbox')), { seq: 1, body: 'x'.repeat(1000) }, 'nothing of it was stored: the first good one is number 1')
  t.match(json(await bob.next('im/u/bob/inbox')), { seq: 2, body: 'the end' })
  const history = await owner.result('messages.history', { conv: 'g:closed' })
  t.notMatch(JSON.stringify(history), /"from":"alice"/)
})

await t.test('a refused request is answered where the answer belongs', async t => {
  const server = await startServer(t)
  const alice = await device(t, server.url, 'alice')
  t.match(await alice.ask('no.such'), { rid: 'r1', ok: false, code: 'not_found', reason: /.+/ })
  t.match(await alice.ask('messages.history', { conv: 'd:bob:carol' }), { ok: false, code: /forbidden|not_found/ }, 'a foreign conversation')
  t.match(await alice.ask('messages.history', {}), { ok: false, code: 'bad_payload' })
  t.match(await alice.ask('groups.info', { gid: 'nowhere' }), { ok: false, code: /not_found|forbidden/ })
  t.match(await alice.ask('groups.create', { gid: 'a/b', name: 'x', members: [] }), { ok: false, code: 'bad_payload' })
  t.match(await alice.ask('server.info'), { ok: true }, 'and a good one is answered after all of them')
})

await t.test("the refusal is the reason code of mqtt's publish error over MQTT 5", async t => {
  const server = await startServer(t, { config: { messages: { maxBytes: 1000 } } })
  const bob = await device(t, server.url, 'bob')
  await bob.subscribe('im/u/bob/inbox')
  await bob.result('blocks.add', { user: 'alice' })
  const alice = await device(t, server.url, 'alice', { version: 5 })
  const code = async (topic: string, payload: string, qos: 1 | 2 = 1): Promise<number | undefined> => {
    const { error } = await alice.publish(topic, payload, { qos })
    return (error as { code?: number } | undefined)?.code
  }
  t.equal(await code('im/to/u/bob', 'psst'), 0x87, 'blocked')
  t.equal(await code('im/to/u/bob', 'psst', 2), 0x87, 'blocked at QoS 2')
  t.match(await alice.nextJson('im/u/alice/notice'), { kind: 'reject', code: 'blocked' }, 'and the notice comes beside it')
  t.equal(await code('im/u/bob/inbox', 'x'), 0x87, 'forbidden')
  t.equal(await code('$SYS/x', 'x'), 0x87)
  t.equal(await code('im/to/u/carol', ''), 0x99, 'bad_payload')
  t.equal(await code('im/to/u/carol', 'x'.repeat(1001)), 0x97, 'too_large')
  const { error } = await alice.publish('im/to/u/carol', 'fine')
  t.equal(error, undefined, 'a good one is no error')

  const { client: raw } = await RawClient.connect(t, server.mqttPort, { user: 'alice', clientId: 'raw', version: 5 })
  const bad = await raw.publish('im/to/u/bob', 'psst')
  t.match(bad.properties?.reasonString, /.+/, 'with a text for people')
  const good = await raw.publish('im/to/u/carol', 'fine too')
  t.match(good, { reasonCode: 0, properties: { userProperties: { seq: '2', id: /^.+$/ } } }, 'id and seq come back as user properties')
})

await t.test('an unknown user is not_found in password mode', async t => {
  const server = await startServer(t, { config: { auth: { mode: 'password' } } })
  await addUser(server, 'alice', 'correct horse')
  const { client: alice, connack } = await RawClient.connect(t, server.mqttPort, { user: 'alice', password: 'correct horse' })
  t.equal(connack.returnCode, 0)
  await refused(t, alice, 'im/to/u/nobody', 'hello', 'not_found')
  await refused(t, alice, 'im/to/u/nobody/read', '1', 'not_found')
  await alice.ping()
})

await t.test('a flood is rate_limited, with the time to wait', async t => {
  const server = await startServer(t, { config: { plugins: { 'rate-limit': { burst: 5, messagesPerSecond: 1, maxDelayMs: 0 } } } })
  const { client: alice } = await RawClient.connect(t, server.mqttPort, { user: 'alice' })
  for (let i = 0; i < 6; i++) {
    alice.send({ cmd: 'publish', topic: 'im/to/u/bob', payload: `${i}`, qos: 1, dup: false, retain: false, messageId: alice.nextId() })
  }
  const notice = json(await alice.next('im/u/alice/notice'))
  t.match(notice, { kind: 'reject', code: 'rate_limited' })
  t.type(notice.retryAfterMs, 'number')
  await alice.ping()
})

async function addUser (server: Server, user: string, password: string): Promise<void> {
  const added = await cli(['user', 'add', user, '--data', server.data, '--config', server.configPath], { input: password + '\n' })
  if (added.code !== 0) throw new Error(`user add: ${added.stderr}`)
}
