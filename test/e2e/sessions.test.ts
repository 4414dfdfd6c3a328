/** Persistent sessions: what survives, what is said about it, who may take it over, and what is sent again. */
import t from 'tap'
import { device } from '../support/mqtt.ts'
import { within } from '../support/mailbox.ts'
import { RawClient, json } from '../support/raw-client.ts'
import type { RawConnect } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

await t.test('session present is right in every case [MQTT-3.2.2-2, MQTT-3.2.2-3]', async t => {
  const server = await startServer(t)
  const present = async (options: RawConnect): Promise<boolean> => {
    const { client, connack } = await RawClient.connect(t, server.mqttPort, options)
    t.equal(connack.returnCode ?? connack.reasonCode, 0)
    await client.disconnect()
    return connack.sessionPresent
  }
  const bob = { user: 'bob', clientId: 'phone' }
  t.equal(await present({ ...bob, clean: false }), false, 'the first time')
  t.equal(await present({ ...bob, clean: false }), true, 'the second time, although nothing was subscribed')
  t.equal(await present({ user: 'eve', clientId: 'phone', clean: false }), false, "another user's same client id")
  t.equal(await present({ ...bob, clean: false }), true, 'which did not touch it')
  t.equal(await present({ ...bob, clean: true }), false, 'a clean one')
  t.equal(await present({ ...bob, clean: false }), false, 'after a clean one')

  const five = { user: 'bob', clientId: 'tablet', version: 5 as const }
  t.equal(await present({ ...five, clean: true, properties: { sessionExpiryInterval: 3600 } }), false, 'version 5, the first time')
  t.equal(await present({ ...five, clean: false, properties: { sessionExpiryInterval: 3600 } }), true, 'version 5, the second time')
  t.equal(await present({ ...five, clean: false }), true, 'it is there, and now ends with its connection')
  t.equal(await present({ ...five, clean: false }), false, 'so it is gone')

  t.equal(await present({ ...bob, clean: false }), true)
  await server.kill9()
  await server.restart()
  t.equal(await present({ ...bob, clean: false }), true, 'after kill -9')
})

await t.test('a session expires', async t => {
  const server = await startServer(t)
  const options: RawConnect = { user: 'bob', clientId: 'phone', version: 5, clean: false, properties: { sessionExpiryInterval: 1 } }
  const { client } = await RawClient.connect(t, server.mqttPort, options)
  await client.subscribe('im/u/bob/inbox')
  await client.disconnect()
  // The passing of the session's time is what is tested; nothing announces it.
  await new Promise(resolve => setTimeout(resolve, 2500))
  const { connack } = await RawClient.connect(t, server.mqttPort, options)
  t.equal(connack.sessionPresent, false)
})

await t.test('subscriptions and cursors survive a restart', async t => {
  const server = await startServer(t)
  const bob: RawConnect = { user: 'bob', clientId: 'phone', clean: false }
  const { client: first } = await RawClient.connect(t, server.mqttPort, bob)
  t.same(await first.subscribe(['im/u/bob/inbox', 'im/g/+']), [1, 1])
  const alice = await device(t, server.url, 'alice')
  await alice.publish('im/to/u/bob', 'one')
  t.match(json(await first.next('im/u/bob/inbox')), { seq: 1, body: 'one' })
  await first.disconnect()
  await alice.publish('im/to/u/bob', 'two')
  await server.stop()
  await server.restart()

  const again = await device(t, server.url, 'alice')
  await again.publish('im/to/u/bob', 'three')
  const { client: second, connack } = await RawClient.connect(t, server.mqttPort, bob)
  t.equal(connack.sessionPresent, true)
  t.match(json(await second.next('im/u/bob/inbox')), { seq: 2, body: 'two' }, 'without a new SUBSCRIBE, after the cursor')
  t.match(json(await second.next('im/u/bob/inbox')), { seq: 3, body: 'three' })
  const made = await again.result('groups.create', { gid: 'dev', name: 'Dev', members: ['bob'] })
  t.ok(made)
  await again.publish('im/to/g/dev', 'for the group')
  const group = async (): Promise<Record<string, unknown>> => {
    const envelope = json(await second.next('im/g/dev'))
    return envelope.type === 'system' ? await group() : envelope
  }
  t.match(await group(), { from: 'alice', body: 'for the group' }, 'im/g/+ carries groups joined later')
})

await t.test('an unacknowledged message is sent again with DUP and the same packet id [MQTT-4.4.0-1]', async t => {
  const server = await startServer(t)
  const bob: RawConnect = { user: 'bob', clientId: 'phone', clean: false, acknowledge: false }
  const { client: first } = await RawClient.connect(t, server.mqttPort, bob)
  await first.subscribe('im/u/bob/inbox')
  const alice = await device(t, server.url, 'alice')
  for (const body of ['one', 'two', 'three']) await alice.publish('im/to/u/bob', body)
  const sent = [await first.next('im/u/bob/inbox'), await first.next('im/u/bob/inbox'), await first.next('im/u/bob/inbox')]
  t.same(sent.map(p => p.dup), [false, false, false], 'the first try is no DUP')
  t.equal(new Set(sent.map(p => p.messageId)).size, 3)
  first.puback(sent[0]?.messageId as number)
  await first.ping()
  first.cut()
  await first.closed

  const { client: second, connack } = await RawClient.connect(t, server.mqttPort, bob)
  t.equal(connack.sessionPresent, true)
  const resent = [await second.next('im/u/bob/inbox'), await second.next('im/u/bob/inbox')]
  t.same(resent.map(p => ({ dup: p.dup, messageId: p.messageId, body: json(p).body })), [
    { dup: true, messageId: sent[1]?.messageId, body: 'two' }, { dup: true, messageId: sent[2]?.messageId, body: 'three' }
  ])
  for (const packet of resent) second.puback(packet.messageId)
  await alice.publish('im/to/u/bob', 'four')
  const fresh = await second.next('im/u/bob/inbox')
  t.match(json(fresh), { seq: 4, body: 'four' }, 'nothing else came between')
  t.equal(fresh.dup, false)
  await second.disconnect()
  await server.stop()
  await server.restart()
  const { client: third } = await RawClient.connect(t, server.mqttPort, bob)
  const last = await third.next('im/u/bob/inbox')
  t.match({ dup: last.dup, messageId: last.messageId, seq: json(last).seq }, { dup: true, messageId: fresh.messageId, seq: 4 }, 'over a restart as well')
})

await t.test('a client id belongs to its user', async t => {
  const server = await startServer(t)
  const { client: bob } = await RawClient.connect(t, server.mqttPort, { user: 'bob', clientId: 'phone', clean: false })
  await bob.subscribe('im/u/bob/inbox')
  const { client: eve } = await RawClient.connect(t, server.mqttPort, { user: 'eve', clientId: 'phone', clean: true })
  await bob.ping()
  t.pass("bob's connection is still there")
  await eve.publish('im/to/u/bob', 'hello')
  t.match(json(await bob.next('im/u/bob/inbox')), { from: 'eve' })
  await eve.disconnect()

  const { client: again, connack } = await RawClient.connect(t, server.mqttPort, { user: 'bob', clientId: 'phone', clean: false })
  await within(bob.closed, 10_000, 'the close of the connection that was taken over [MQTT-3.1.4-2]')
  t.equal(connack.sessionPresent, true)
  await again.ping()
  const alice = await device(t, server.url, 'alice')
  await alice.publish('im/to/u/bob', 'to the new connection')
  t.match(json(await again.next('im/u/bob/inbox')), { body: 'to the new connection' })
})

await t.test('over MQTT 5 the connection that is taken over is told so [0x8E]', async t => {
  const server = await startServer(t)
  const options: RawConnect = { user: 'bob', clientId: 'phone', version: 5 }
  const { client: first } = await RawClient.connect(t, server.mqttPort, options)
  const { client: second } = await RawClient.connect(t, server.mqttPort, options)
  t.match(await first.packets.take(p => p.cmd === 'disconnect'), { reasonCode: 0x8e })
  await within(first.closed, 10_000, 'its close')
  await second.ping()
})

await t.test('every device of a user gets everything', async t => {
  const server = await startServer(t)
  const phone = await device(t, server.url, 'bob', { clientId: 'phone', clean: false })
  const tablet = await device(t, server.url, 'bob', { clientId: 'tablet', clean: false, version: 5 })
  for (const one of [phone, tablet]) await one.subscribe('im/u/bob/inbox')
  const alice = await device(t, server.url, 'alice')
  await alice.subscribe('im/u/alice/event')
  await tablet.end()
  for (let i = 1; i <= 5; i++) await alice.publish('im/to/u/bob', `message ${i}`)
  for (let seq = 1; seq <= 5; seq++) t.match(await phone.nextJson('im/u/bob/inbox'), { seq })
  while ((await alice.nextJson('im/u/alice/event')).seq !== 5) { /* the delivered mark is behind the last PUBACK for a moment */ }
  const later = await device(t, server.url, 'bob', { clientId: 'tablet', clean: false, version: 5, options: { properties: { sessionExpiryInterval: 60 } } })
  t.equal(later.sessionPresent, false, 'version 5 without an expiry ends with its connection')
  const third = await device(t, server.url, 'bob', { clientId: 'laptop', clean: false })
  await third.subscribe('im/u/bob/inbox')
  await alice.publish('im/to/u/bob', 'message 6')
  t.match(await phone.nextJson('im/u/bob/inbox'), { seq: 6 })
  t.match(await third.nextJson('im/u/bob/inbox'), { seq: 6 }, 'a new session starts at what a device of the user received')

  await third.end()
  for (let i = 7; i <= 9; i++) await alice.publish('im/to/u/bob', `message ${i}`)
  const back = await device(t, server.url, 'bob', { clientId: 'laptop', clean: false })
  t.equal(back.sessionPresent, true)
  for (let seq = 7; seq <= 9; seq++) {
    t.match(await phone.nextJson('im/u/bob/inbox'), { seq })
    t.match(await back.nextJson('im/u/bob/inbox'), { seq }, 'a persistent session starts where that device stopped')
  }
})

await t.test('a QoS 0 subscription is live only', async t => {
  const server = await startServer(t)
  const alice = await device(t, server.url, 'alice')
  await alice.publish('im/to/u/bob', 'before')
  const bob = await device(t, server.url, 'bob', { clientId: 'radio', clean: false })
  t.same(await bob.subscribe('im/u/bob/inbox', 0), [0])
  await alice.publish('im/to/u/bob', 'live')
  const live = await bob.next('im/u/bob/inbox')
  t.match(JSON.parse(live.text), { body: 'live' }, 'what came before is not sent')
  t.equal(live.packet.qos, 0)
  await bob.end()
  await alice.publish('im/to/u/bob', 'while away')
  const back = await device(t, server.url, 'bob', { clientId: 'radio', clean: false })
  await alice.publish('im/to/u/bob', 'live again')
  t.match(await back.nextJson('im/u/bob/inbox'), { body: 'live again' })
  await back.end()
  const reader = await device(t, server.url, 'bob', { clientId: 'reader' })
  await reader.subscribe('im/u/bob/inbox')
  t.match(await reader.nextJson('im/u/bob/inbox'), { seq: 1, body: 'before' }, 'a QoS 0 delivery is no receipt: a session that acknowledges gets all of it')
})

await t.test('a QoS 2 publish is stored once', async t => {
  const server = await startServer(t)
  const { client: alice } = await RawClient.connect(t, server.mqttPort, { user: 'alice', clientId: 'pen', clean: false })
  const bob = await device(t, server.url, 'bob')
  t.match((await bob.subscribe('im/u/bob/inbox', 2))[0], 1, 'chat is delivered at QoS 1 at most')
  const packet = { cmd: 'publish' as const, topic: 'im/to/u/bob', payload: 'twice', qos: 2 as const, dup: false, retain: false, messageId: 7 }
  alice.send(packet)
  await alice.packets.take(p => p.cmd === 'pubrec' && p.messageId === 7)
  alice.send({ ...packet, dup: true })
  await alice.packets.take(p => p.cmd === 'pubrec' && p.messageId === 7)
  alice.send({ cmd: 'pubrel', messageId: 7 })
  await alice.packets.take(p => p.cmd === 'pubcomp' && p.messageId === 7)
  await alice.publish('im/to/u/bob', 'after')
  t.match(await bob.nextJson('im/u/bob/inbox'), { seq: 1, body: 'twice' })
  t.match(await bob.nextJson('im/u/bob/inbox'), { seq: 2, body: 'after' })
})

await t.test('a DUP resend without cid joins its first try', async t => {
  const server = await startServer(t)
  const bob = await device(t, server.url, 'bob')
  await bob.subscribe('im/u/bob/inbox')
  const { client: alice } = await RawClient.connect(t, server.mqttPort, { user: 'alice', clientId: 'pen', clean: false })
  await alice.publish('im/to/u/bob', 'same', { messageId: 9 })
  alice.cut()
  const { client: again } = await RawClient.connect(t, server.mqttPort, { user: 'alice', clientId: 'pen', clean: false })
  await again.publish('im/to/u/bob', 'same', { messageId: 9, dup: true })
  await again.publish('im/to/u/bob', 'same', { messageId: 9 })
  t.match(await bob.nextJson('im/u/bob/inbox'), { seq: 1, body: 'same' })
  t.match(await bob.nextJson('im/u/bob/inbox'), { seq: 2, body: 'same' }, 'without DUP the same words are a second message')
  await again.publish('im/to/u/bob', JSON.stringify({ cid: 'c1', body: 'with cid' }))
  await again.publish('im/to/u/bob', JSON.stringify({ cid: 'c1', body: 'with cid' }))
  await again.publish('im/to/u/bob', 'end')
  t.match(await bob.nextJson('im/u/bob/inbox'), { seq: 3, cid: 'c1' })
  t.match(await bob.nextJson('im/u/bob/inbox'), { seq: 4, body: 'end' }, 'the same cid is the same message')
})
