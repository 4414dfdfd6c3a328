/** A session of MQTT 5 that is taken up by a connection that will not keep it: it has what waited for it, and ends with that connection. */
import { randomUUID } from 'node:crypto'
import t from 'tap'
import type { Test } from 'tap'
import { within } from '../support/mailbox.ts'
import { startOrdinary } from '../support/ordinary-broker.ts'
import { messagesUntil, publish2 } from '../support/ordinary-flows.ts'
import { json, RawClient } from '../support/raw-client.ts'
import type { RawConnect } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'

const server = await startOrdinary(t)
const run = randomUUID().slice(0, 8)
let number = 0
const fresh = (name: string) => `resumed-${run}-${name}-${++number}`
const kept = { sessionExpiryInterval: 1000 }

async function connect (t: Test, clientId: string, options: RawConnect = {}, port = server.port): Promise<{ client: RawClient, present: boolean }> {
  const { client, connack } = await RawClient.connect(t, port, { version: 5, user: 'conf', clientId, clean: false, ...options })
  t.equal(connack.reasonCode, 0, 'connected')
  return { client, present: connack.sessionPresent }
}

await t.test('what waited on ordinary topics comes, in order, and then the session is over', async t => {
  const root = fresh('queue')
  const id = fresh('c')
  const { client: first } = await connect(t, id, { properties: kept })
  await first.subscribe(`${root}/+`, 2)
  await first.disconnect()
  const { client: other } = await connect(t, fresh('c'), { clean: true })
  for (const name of ['one', 'two', 'three']) await other.publish(`${root}/x`, name)
  await publish2(other, `${root}/x`, 'four')
  const second = await connect(t, id)
  t.ok(second.present, '[MQTT-3.1.2-5]')
  await other.publish(`${root}/x`, 'live')
  t.strictSame((await messagesUntil(second.client, 'live')).map(packet => packet.payload.toString()), ['one', 'two', 'three', 'four'])
  await second.client.disconnect()
  await other.publish(`${root}/x`, 'late')
  const third = await connect(t, id, { properties: kept })
  t.notOk(third.present, 'it ended with the connection that did not keep it')
  await third.client.subscribe(`${root}/+`, 1)
  await other.publish(`${root}/x`, 'end')
  t.strictSame(await messagesUntil(third.client, 'end'), [], 'and left nothing')
})

await t.test('what was not acknowledged comes again, with DUP', async t => {
  const root = fresh('again')
  const id = fresh('c')
  const { client: first } = await connect(t, id, { properties: kept, acknowledge: false })
  await first.subscribe(`${root}/+`, 1)
  const { client: other } = await connect(t, fresh('c'), { clean: true })
  await other.publish(`${root}/x`, 'unanswered')
  const { messageId } = await first.next()
  first.cut()
  await first.closed
  const { client: second } = await connect(t, id)
  t.match(await second.next(), { dup: true, messageId }, '[MQTT-4.4.0-1]')
})

await t.test('it has its packet id also where messages between have been acknowledged', async t => {
  const root = fresh('gap')
  const id = fresh('c')
  const options: RawConnect = { properties: kept, acknowledge: false }
  const { client: first } = await connect(t, id, options)
  await first.subscribe(`${root}/+`, 2)
  const { client: other } = await connect(t, fresh('c'), { clean: true })
  await publish2(other, `${root}/x`, 'begun')
  await other.publish(`${root}/x`, 'between')
  await publish2(other, `${root}/x`, 'begun, too')
  const [begun, between, last] = [await first.next(), await first.next(), await first.next()]
  first.puback(between.messageId)
  await first.ping()
  first.cut()
  await first.closed
  for (let i = 0; i < 2; i++) {
    const { client } = await connect(t, id, options)
    for (const { messageId, payload } of [begun, last]) t.match(await client.next(), { dup: true, messageId, payload }, '[MQTT-4.4.0-1]')
    client.cut()
    await client.closed
  }
  const { client } = await connect(t, id)
  await other.publish(`${root}/x`, 'end')
  t.strictSame((await messagesUntil(client, 'end')).map(({ messageId }) => messageId), [begun.messageId, last.messageId], 'once each [MQTT-4.3.3-1]')
  await client.disconnect()
})

await t.test('what waits for a session without subscriptions comes too', async t => {
  const root = fresh('without')
  const id = fresh('c')
  const { client: first } = await connect(t, id, { properties: kept, acknowledge: false })
  await first.subscribe(`${root}/+`, 1)
  const { client: other } = await connect(t, fresh('c'), { clean: true })
  await other.publish(`${root}/x`, 'unanswered')
  const { messageId } = await first.next()
  first.send({ cmd: 'unsubscribe', messageId: 77, unsubscriptions: [`${root}/+`] })
  await first.packets.take(packet => packet.cmd === 'unsuback')
  first.cut()
  await first.closed
  for (const properties of [kept, {}]) {
    const { client } = await connect(t, id, { properties, acknowledge: false })
    t.match(await client.next(), { dup: true, messageId }, '[MQTT-3.10.4-3]')
    client.cut()
    await client.closed
  }
})

await t.test('taken over by a connection that does not keep it, and by one that does', async t => {
  const root = fresh('over')
  const id = fresh('c')
  const { client: first } = await connect(t, id, { properties: kept })
  await first.subscribe(`${root}/+`, 1)
  const second = await connect(t, id)
  t.ok(second.present)
  await within(first.closed, 10_000, 'the close')
  const { client: other } = await connect(t, fresh('c'), { clean: true })
  await other.publish(`${root}/x`, 'to the second')
  t.equal((await second.client.next()).payload.toString(), 'to the second')
  const third = await connect(t, id, { properties: kept })
  t.notOk(third.present, 'the second one was not to outlive its connection')
})

await t.test('the same on chat topics', async t => {
  const { mqttPort } = await startServer(t)
  const bob = (properties: RawConnect['properties'] = {}) => connect(t, 'phone', { user: 'bob', properties }, mqttPort)
  const { client: first } = await bob(kept)
  await first.subscribe('im/u/bob/inbox')
  await first.disconnect()
  const { client: alice } = await connect(t, 'laptop', { user: 'alice' }, mqttPort)
  await alice.publish('im/to/u/bob', 'hello')
  const second = await bob()
  t.ok(second.present)
  t.match(json(await second.client.next('im/u/bob/inbox')), { body: 'hello' })
  await second.client.disconnect()
  t.notOk((await bob(kept)).present)
})

await t.test('in chat it goes on where this device stopped, whatever other devices have had', async t => {
  const user = fresh('u')
  const options: RawConnect = { user, acknowledge: false, properties: kept }
  const { client: first } = await connect(t, 'phone', options)
  await first.subscribe(`im/u/${user}/inbox`, 1)
  const { client: tablet } = await connect(t, 'tablet', { user, clean: true })
  await tablet.subscribe(`im/u/${user}/inbox`, 1)
  const { client: other } = await connect(t, fresh('c'), { user: fresh('s'), clean: true })
  await other.publish(`im/to/u/${user}`, '1')
  first.puback((await first.next()).messageId)
  await first.disconnect()
  for (const text of ['2', '3']) await other.publish(`im/to/u/${user}`, text)
  for (let i = 0; i < 3; i++) await tablet.next()
  await tablet.disconnect()
  const { client: second, present } = await connect(t, 'phone', { ...options, properties: {} })
  t.ok(present)
  const next = async (): Promise<unknown> => {
    const packet = await second.next(`im/u/${user}/inbox`)
    second.puback(packet.messageId)
    return json(packet)['body']
  }
  t.strictSame([await next(), await next()], ['2', '3'])
  await second.ping()
  // It looks where it stands when it subscribes anew.
  second.send({ cmd: 'unsubscribe', messageId: 77, unsubscriptions: [`im/u/${user}/inbox`] })
  await second.packets.take(packet => packet.cmd === 'unsuback')
  await second.subscribe(`im/u/${user}/inbox`, 1)
  await other.publish(`im/to/u/${user}`, '4')
  t.equal(await next(), '4')
})
