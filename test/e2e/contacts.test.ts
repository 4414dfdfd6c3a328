/** Contacts at a whole server: over MQTT and HTTP, on devices that were away, over a restart, and in front of messages. */
import t from 'tap'
import { ApiClient } from '../support/api-client.ts'
import { until } from '../support/mailbox.ts'
import { device } from '../support/mqtt.ts'
import { startServer } from '../support/server.ts'

const server = await startServer(t)
const event = (user: string): string => `im/u/${user}/event`

await t.test('asked over MQTT, accepted over HTTP: all devices of both hear of it, also those that were away', async t => {
  for (const user of ['alice', 'bob']) {
    const phone = await device(t, server.url, user, { clientId: 'phone', clean: false })
    await phone.subscribe(event(user))
    await phone.end()
  }
  const alice = await device(t, server.url, 'alice', { clientId: 'desk' })
  await alice.subscribe(event('alice'))
  t.same(await alice.result('contacts.request', { user: 'bob', text: 'we met' }), { user: 'bob', state: 'asked' })
  t.match(await alice.nextJson(event('alice')), { kind: 'contact', action: 'request', user: 'bob', state: 'asked', text: 'we met' })
  const phone = await device(t, server.url, 'bob', { clientId: 'phone', clean: false })
  t.match(await phone.nextJson(event('bob')), { kind: 'contact', action: 'request', user: 'alice', state: 'asks', by: 'alice', text: 'we met' })
  const bob = new ApiClient(server.httpPort, 'bob')
  t.match(await bob.fetch('GET', '/v1/contact-requests'), { body: { received: [{ user: 'alice', text: 'we met' }], sent: [] } })
  t.match(await bob.ask('contacts.accept', { user: 'alice' }), { status: 200, body: { state: 'contact' } })
  t.match(await phone.nextJson(event('bob')), { action: 'accept', user: 'alice', state: 'contact' })
  t.match(await alice.nextJson(event('alice')), { action: 'accept', user: 'bob', state: 'contact', by: 'bob' })
  const other = await device(t, server.url, 'alice', { clientId: 'phone', clean: false })
  t.match(await other.nextJson(event('alice')), { action: 'accept', user: 'bob' }, 'the newest alone')
})

await t.test('contacts alone: others are told why their messages are refused', async t => {
  const [alice, bob, eve] = [await device(t, server.url, 'alice'), await device(t, server.url, 'bob'), await device(t, server.url, 'eve', { version: 5 })]
  await bob.subscribe('im/u/bob/inbox')
  t.same(await bob.result('contacts.mode', { mode: 'contacts' }), { mode: 'contacts' })
  t.match(await eve.publish('im/to/u/bob', 'hello?'), { reasonCode: 0x87 })
  t.match(await eve.nextJson('im/u/eve/notice'), { kind: 'reject', code: 'forbidden', reason: 'the receiver takes messages of contacts alone' })
  t.match(await new ApiClient(server.httpPort, 'eve').send('u/bob', 'hello?'), { status: 403, body: { code: 'forbidden' } })
  await alice.publish('im/to/u/bob', 'hello')
  t.match(await bob.nextJson('im/u/bob/inbox'), { from: 'alice', body: 'hello' })
  t.match(await eve.result('groups.create', { gid: 'trap', members: ['bob'] }), { added: [], refused: [{ user: 'bob', code: 'forbidden' }] })
  t.match(await alice.result('groups.create', { gid: 'dev', members: ['bob'] }), { added: ['bob'] })
})

await t.test('all of it is kept', async t => {
  await server.stop()
  await server.restart()
  const [bob, eve] = [new ApiClient(server.httpPort, 'bob'), new ApiClient(server.httpPort, 'eve')]
  t.match(await bob.ask('contacts.list'), { body: { contacts: [{ user: 'alice' }] } })
  t.match(await eve.send('u/bob', 'hello?'), { status: 403 })
  t.match(await eve.ask('contacts.request', { user: 'bob' }), { body: { state: 'asked' } })
  t.match(await bob.ask('contacts.accept', { user: 'eve' }), { status: 200 })
  t.match(await eve.send('u/bob', 'hello!'), { status: 201 })
  t.match(await bob.ask('contacts.remove', { user: 'eve' }), { body: { state: 'none' } })
  // Another server of a cluster hears of it a moment later.
  await until(async () => (await eve.send('u/bob', 'bye')).status === 403, 5_000, 'the end of the contact to be known')
})
