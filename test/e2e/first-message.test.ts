/** A message to somebody never seen before survives `kill -9` at the moment of its PUBACK. */
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { mosquittoPub, mosquittoSub, requireMosquitto } from '../support/mosquitto.ts'
import { RawClient, json } from '../support/raw-client.ts'
import { run, startServer } from '../support/server.ts'
import { sized } from '../support/store-choice.ts'
import { requireTool } from '../support/tools.ts'

await t.test('kill -9 the moment mosquitto_pub is done', async t => {
  if (!requireMosquitto(t)) return
  const server = await startServer(t)
  const before = Date.now()
  const sent = await mosquittoPub(server.mqttPort, '-u', 'alice', '-t', 'im/to/u/bob', '-q', '1', '-m', 'hello')
  await server.kill9()
  t.equal(sent.code, 0, sent.stderr)
  await server.restart()

  const got = await mosquittoSub(server.mqttPort, '-u', 'bob', '-t', 'im/u/bob/inbox', '-q', '1', '-C', '1', '-W', '20')
  t.equal(got.code, 0, got.stderr)
  const envelope = JSON.parse(got.stdout) as Record<string, unknown>
  t.match(envelope, { v: 1, conv: 'd:alice:bob', seq: 1, from: 'alice', to: 'u/bob', type: 'text', body: 'hello' })
  t.match(envelope.id, /^.{8,64}$/)
  t.match(envelope.cid, /^.+$/, 'a sender without cid gets one')
  t.ok((envelope.ts as number) >= before - 1 && (envelope.ts as number) <= Date.now(), 'the time is the time of the send')

  const again = await mosquittoSub(server.mqttPort, '-u', 'bob', '-t', 'im/u/bob/inbox', '-q', '1', '-C', '1', '-W', '2')
  t.equal(again.stdout, '', 'asked again, nothing comes')
})

await t.test('kill -9 at the PUBACK, many times', async t => {
  const server = await startServer(t)
  const ids = new Map<string, string>()
  for (let round = 1; round <= sized({ level: 10, mongodb: 5 }); round++) {
    const { client } = await RawClient.connect(t, server.mqttPort, { user: 'alice', clientId: 'pen' })
    await client.publish('im/to/u/bob', `message ${round}`)
    await server.kill9()
    await client.closed
    await server.restart()
    const { client: bob } = await RawClient.connect(t, server.mqttPort, { user: 'bob', clientId: 'phone', acknowledge: false })
    await bob.subscribe('im/u/bob/inbox')
    for (let seq = 1; seq <= round; seq++) {
      const envelope = json(await bob.next('im/u/bob/inbox'))
      t.match(envelope, { seq, body: `message ${seq}` }, 'every acknowledged message is there, numbered without gaps')
      const known = ids.get(envelope.body as string) ?? envelope.id
      t.equal(envelope.id, known, 'its id did not change')
      ids.set(envelope.body as string, known as string)
    }
    bob.cut()
  }
})

await t.test('the first one that comes takes it, in the order of the sends', async t => {
  const server = await startServer(t)
  const { client: alice } = await RawClient.connect(t, server.mqttPort, { user: 'alice' })
  for (const body of ['one', 'two', 'three']) await alice.publish('im/to/u/bob', body)
  const { client: first } = await RawClient.connect(t, server.mqttPort, { user: 'bob' })
  await first.subscribe('im/u/bob/#')
  for (const [at, body] of ['one', 'two', 'three'].entries()) {
    t.match(json(await first.next('im/u/bob/inbox')), { seq: at + 1, body })
  }
  await first.disconnect()
  await alice.publish('im/to/u/bob', 'four')
  const { client: second } = await RawClient.connect(t, server.mqttPort, { user: 'bob' })
  await second.subscribe('im/u/bob/inbox')
  t.match(json(await second.next('im/u/bob/inbox')), { seq: 4, body: 'four' }, 'a new session starts at what no device received')
})

await t.test('examples/first-message.sh works as it stands', async t => {
  if (!requireMosquitto(t) || !requireTool(t, 'bash')) return
  const server = await startServer(t)
  const script = fileURLToPath(new URL('../../../examples/first-message.sh', import.meta.url))
  const env = { SABETHES_EXAMPLE_HOST: '127.0.0.1', SABETHES_EXAMPLE_PORT: String(server.mqttPort) }
  const done = await run('bash', [script], { env })
  t.equal(done.code, 0, done.stdout + done.stderr)
  t.match(done.stdout, /hello/)
  t.equal((await run('bash', [script], { env })).code, 0, 'a second time as well')

  const nobody = await run('bash', [script], { env: { ...env, SABETHES_EXAMPLE_PORT: '1' } })
  t.not(nobody.code, 0, 'without a server it fails')
})
