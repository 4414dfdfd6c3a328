/** The same flows over WebSocket: the `mqtt` package with both protocol versions, and a websocket-stream client. */
import type { Duplex } from 'node:stream'
import t from 'tap'
import { wide } from '../support/configs.ts'
import { mosquittoPub, requireMosquitto } from '../support/mosquitto.ts'
import { device } from '../support/mqtt.ts'
import { RawClient, json } from '../support/raw-client.ts'
import { startServer } from '../support/server.ts'
import { requirePackage } from '../support/tools.ts'

for (const version of [4, 5] as const) {
  await t.test(`send, receive, group, receipt, request, refusal; MQTT ${version}`, async t => {
    const server = await startServer(t, { config: wide })
    const alice = await device(t, server.wsUrl, 'alice', { version })
    const bob = await device(t, server.wsUrl, 'bob', { version, clientId: 'phone', clean: false, options: version === 5 ? { properties: { sessionExpiryInterval: 600 } } : {} })
    t.same(await bob.subscribe(['im/u/bob/#', 'im/g/+']), [1, 1])
    t.same(await alice.subscribe(['im/u/alice/inbox', 'im/u/alice/event']), [1, 1])
    t.ok(((await alice.subscribe('im/u/bob/inbox'))[0] ?? 0) >= 0x80, 'a foreign tree is refused')
    await alice.publish('im/to/u/bob', 'hello')
    t.match(await alice.nextJson('im/u/alice/inbox'), { seq: 1, body: 'hello' }, 'own copy')
    t.match(await bob.nextJson('im/u/bob/inbox'), { seq: 1, from: 'alice', body: 'hello' })
    t.match(await alice.nextJson('im/u/alice/event'), { kind: 'delivered', conv: 'd:alice:bob', by: 'bob', seq: 1 })
    await alice.result('groups.create', { gid: 'dev', name: 'Dev', members: ['bob'] })
    await alice.publish('im/to/g/dev', Buffer.alloc(30_000, 'x'))
    while ((await bob.nextJson('im/g/dev')).body !== 'x'.repeat(30_000)) { /* system messages of the group */ }

    await bob.drop()
    for (let i = 1; i <= 200; i++) await alice.publish('im/to/u/bob', `while away ${i}`)
    const back = await device(t, server.wsUrl, 'bob', { version, clientId: 'phone', clean: false })
    t.equal(back.sessionPresent, true)
    let seen = 0
    while (seen < 200) {
      const { body } = await back.nextJson('im/u/bob/inbox')
      if (body === `while away ${seen + 1}`) seen++
      else t.equal(body, 'hello', 'only what may not have been acknowledged comes again')
    }
    await back.result('blocks.add', { user: 'alice' })
    const { error } = await alice.publish('im/to/u/bob', 'psst')
    t.equal((error as { code?: number } | undefined)?.code, version === 5 ? 0x87 : undefined)
    t.match(await alice.nextJson('im/u/alice/notice'), { kind: 'reject', code: 'blocked' })
  })
}

await t.test('a websocket-stream client', async t => {
  const open = await requirePackage(t, 'websocket-stream') as ((url: string, protocols: string[]) => Duplex) | undefined
  if (open === undefined) return
  const server = await startServer(t, { config: wide })
  const stream = open(server.wsUrl, ['mqtt'])
  t.teardown(() => { stream.destroy() })
  const { client: bob, connack } = await RawClient.connect(t, 0, { user: 'bob', stream })
  t.equal(connack.returnCode, 0)
  t.same(await bob.subscribe('im/u/bob/inbox'), [1])
  const { client: alice } = await RawClient.connect(t, server.mqttPort, { user: 'alice' })
  for (let i = 1; i <= 50; i++) await alice.publish('im/to/u/bob', `hello ${i}`)
  for (let seq = 1; seq <= 50; seq++) t.match(json(await bob.next('im/u/bob/inbox')), { seq, body: `hello ${seq}` })
  await bob.publish('im/to/u/alice', 'hello back')
  await alice.subscribe('im/u/alice/inbox')
  t.match(json(await alice.next('im/u/alice/inbox')), { body: /^hello/ })
  await bob.ping()
})

await t.test('TCP and WebSocket are one server', async t => {
  if (!requireMosquitto(t)) return
  const server = await startServer(t, { config: wide })
  const bob = await device(t, server.wsUrl, 'bob')
  await bob.subscribe('im/u/bob/inbox')
  for (const version of ['311', '5']) {
    const sent = await mosquittoPub(server.mqttPort, '-V', version, '-u', 'alice', '-t', 'im/to/u/bob', '-q', '1', '-m', `hello ${version}`)
    t.equal(sent.code, 0, sent.stderr)
    t.match(await bob.nextJson('im/u/bob/inbox'), { body: `hello ${version}` })
  }
})

await t.test('a session moves from TCP to WebSocket', async t => {
  const server = await startServer(t, { config: wide })
  const tcp = await device(t, server.url, 'bob', { clientId: 'phone', clean: false })
  await tcp.subscribe('im/u/bob/inbox')
  const closed = new Promise<void>(resolve => { tcp.client.once('close', () => resolve()) })
  const ws = await device(t, server.wsUrl, 'bob', { clientId: 'phone', clean: false })
  await closed
  t.equal(ws.sessionPresent, true)
  const alice = await device(t, server.url, 'alice')
  await alice.publish('im/to/u/bob', 'here')
  t.match(await ws.nextJson('im/u/bob/inbox'), { body: 'here' })
})
