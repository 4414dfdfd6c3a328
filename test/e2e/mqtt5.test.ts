/** What MQTT 5 adds and the pump must honour: Receive Maximum, Maximum Packet Size, expiry, content types, aliases. */
import t from 'tap'
import { listen, mosquittoPub, mosquittoSub, requireMosquitto } from '../support/mosquitto.ts'
import { device } from '../support/mqtt.ts'
import { RawClient, json } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

await t.test('mosquitto clients with -V 5', async t => {
  if (!requireMosquitto(t)) return
  const server = await startServer(t)
  const sent = await mosquittoPub(server.mqttPort, '-V', '5', '-u', 'alice', '-t', 'im/to/u/bob', '-q', '1', '-m', 'hello')
  t.equal(sent.code, 0, sent.stderr)
  const got = await mosquittoSub(server.mqttPort, '-V', '5', '-u', 'bob', '-t', 'im/u/bob/inbox', '-q', '1', '-C', '1', '-W', '20')
  t.match(JSON.parse(got.stdout), { seq: 1, from: 'alice', body: 'hello' })
  const again = await mosquittoSub(server.mqttPort, '-V', '5', '-u', 'bob', '-t', 'im/u/bob/inbox', '-q', '1', '-C', '1', '-W', '1')
  t.equal(again.stdout, '')
})

await t.test('Receive Maximum [MQTT-3.3.4-9]', async t => {
  const server = await startServer(t)
  const { client: bob } = await RawClient.connect(t, server.mqttPort, { user: 'bob', version: 5, acknowledge: false, properties: { receiveMaximum: 3 } })
  await bob.subscribe('im/u/bob/inbox')
  const alice = await device(t, server.url, 'alice')
  for (let i = 1; i <= 9; i++) await alice.publish('im/to/u/bob', `message ${i}`)
  for (let round = 0; round < 3; round++) {
    const batch = [await bob.next(), await bob.next(), await bob.next()]
    t.same(batch.map(p => json(p).seq), [1, 2, 3].map(i => round * 3 + i))
    await bob.ping()
    t.equal(bob.received, (round + 1) * 3, 'never more than three unacknowledged')
    for (const packet of batch) bob.puback(packet.messageId)
  }
})

await t.test('Maximum Packet Size [MQTT-3.1.2-24]', async t => {
  const server = await startServer(t)
  const { client: bob } = await RawClient.connect(t, server.mqttPort, { user: 'bob', version: 5, properties: { maximumPacketSize: 500 } })
  await bob.subscribe('im/u/bob/inbox')
  const alice = await device(t, server.url, 'alice')
  await alice.publish('im/to/u/bob', 'small')
  await alice.publish('im/to/u/bob', 'x'.repeat(1000))
  await alice.publish('im/to/u/bob', 'small again')
  t.match(json(await bob.next()), { seq: 1 })
  t.match(json(await bob.next()), { seq: 3 }, 'what is too large for this client is left out, the rest goes on [MQTT-3.1.2-25]')
  const other = await device(t, server.url, 'bob', { clientId: 'laptop' })
  const { messages } = await other.result<{ messages: unknown[] }>('messages.history', { conv: 'd:alice:bob' })
  t.equal(messages.length, 3, 'and it is in the history')
})

await t.test('message expiry [MQTT-3.3.2-5, MQTT-3.3.2-6]', async t => {
  const server = await startServer(t)
  const { client: alice } = await RawClient.connect(t, server.mqttPort, { user: 'alice', version: 5 })
  await alice.publish('im/to/u/bob', 'soon gone', { properties: { messageExpiryInterval: 1 } })
  await alice.publish('im/to/u/bob', 'stays a while', { properties: { messageExpiryInterval: 600 } })
  await alice.publish('im/to/u/bob', 'stays')
  // The passing of the message's time is what is tested; nothing announces it.
  await new Promise(resolve => setTimeout(resolve, 1500))
  const { client: bob } = await RawClient.connect(t, server.mqttPort, { user: 'bob', version: 5 })
  await bob.subscribe('im/u/bob/inbox')
  const first = await bob.next()
  t.match(json(first), { body: 'stays a while', seq: 2 })
  const left = first.properties?.messageExpiryInterval ?? 0
  t.ok(left > 500 && left <= 599, `${left} s are left of 600`)
  t.match(json(await bob.next()), { body: 'stays', seq: 3 })
})

await t.test('the content type decides how a payload is read', async t => {
  const server = await startServer(t)
  const { client: alice } = await RawClient.connect(t, server.mqttPort, { user: 'alice', version: 5 })
  const bob = await device(t, server.url, 'bob')
  await bob.subscribe('im/u/bob/inbox')
  const envelope = '{"cid":"c1","body":"x"}'
  await alice.publish('im/to/u/bob', envelope)
  t.match(await bob.nextJson(), { type: 'text', cid: 'c1', body: 'x' })
  await alice.publish('im/to/u/bob', envelope, { properties: { contentType: 'text/plain' } })
  t.match(await bob.nextJson(), { type: 'text', body: envelope }, 'text stays as typed')
  await alice.publish('im/to/u/bob', Buffer.from([0xff, 0]), { properties: { contentType: 'application/octet-stream' } })
  t.match(await bob.nextJson(), { type: 'binary', body: '/wA=' })
  await alice.publish('im/to/u/bob', Buffer.from([0xff, 0]))
  t.match(await bob.nextJson(), { type: 'binary', body: '/wA=' }, 'without a content type the bytes decide')
  for (const text of ['42', '[1]', '{"temp":21}', 'null', '{}', 'ünï ☃ 🚀']) {
    await alice.publish('im/to/u/bob', text)
    t.match(await bob.nextJson(), { type: 'text', body: text }, `${text} arrives as typed`)
  }
})

await t.test('topic aliases of a client', async t => {
  const server = await startServer(t)
  const { client: alice, connack } = await RawClient.connect(t, server.mqttPort, { user: 'alice', version: 5 })
  const bob = await device(t, server.url, 'bob')
  await bob.subscribe('im/u/bob/inbox')
  const max = connack.properties?.topicAliasMaximum ?? 0
  if (max > 0) {
    await alice.publish('im/to/u/bob', 'one', { properties: { topicAlias: 1 } })
    await alice.publish('', 'two', { properties: { topicAlias: 1 } })
    t.match(await bob.nextJson(), { body: 'one' })
    t.match(await bob.nextJson(), { body: 'two' })
  }
  alice.send({ cmd: 'publish', topic: 'im/to/u/bob', payload: 'x', qos: 0, dup: false, retain: false, properties: { topicAlias: max + 1 } })
  t.match(await alice.packets.take(p => p.cmd === 'disconnect'), { reasonCode: 0x94 }, 'an alias above the maximum [MQTT-3.2.2-17]')
  await alice.closed
})

await t.test('im/server is retained: version, limits, features', async t => {
  const server = await startServer(t)
  for (const version of [4, 5] as const) {
    const { client } = await RawClient.connect(t, server.mqttPort, { user: 'alice', version })
    await client.subscribe('im/server')
    const packet = await client.next('im/server')
    t.equal(packet.retain, true)
    t.match(JSON.stringify(json(packet)), /version/)
  }
})

await t.test('mosquitto clients: a shared subscription, a delayed will, several subscriptions of one message', async t => {
  if (!requireMosquitto(t)) return
  const server = await startServer(t, { config: { mqtt: { openTopics: ['open/#'] } } })
  const five = ['-V', '5', '-q', '1']
  const listeners = [
    await listen(t, server.mqttPort, ...five, '-u', 'w1', '-t', '$share/g/open/work'),
    await listen(t, server.mqttPort, ...five, '-u', 'w2', '-t', '$share/g/open/work'),
    await listen(t, server.mqttPort, ...five, '-u', 'all', '-t', 'open/work', '-t', 'open/+', '-t', 'open/#')
  ] as const
  const texts = ['1', '2', '3', '4']
  for (const text of texts) t.equal((await mosquittoPub(server.mqttPort, ...five, '-u', 'alice', '-t', 'open/work', '-m', text)).code, 0)
  const got: string[] = []
  for (const { lines } of listeners.slice(0, 2)) for (let i = 0; i < 2; i++) got.push(await lines.take())
  t.strictSame(got.sort(), texts, 'dealt among the two')
  for (const text of texts) t.equal(await listeners[2].lines.take(), text, 'once')
  const { child } = await listen(t, server.mqttPort, ...five, '-u', 'mortal', '-i', 'mortal', '-c', '-x', '100', '-t', 'open/nothing', '--will-topic', 'open/will', '--will-payload', 'gone', '--will-qos', '1', '-D', 'will', 'will-delay-interval', '1', '-D', 'will', 'content-type', 'text/plain')
  child.kill('SIGKILL')
  t.equal(await listeners[2].lines.take(), 'gone')
})
