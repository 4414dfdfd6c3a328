/** SIGTERM under load: a clean exit within 10 s, and nothing that was acknowledged is lost. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import t from 'tap'
import { Checker } from '../support/checker.ts'
import { wide } from '../support/configs.ts'
import { Complaints, Sender, receiver } from '../support/load.ts'
import { until, within } from '../support/mailbox.ts'
import { device } from '../support/mqtt.ts'
import { RawClient } from '../support/raw-client.ts'
import { cleanEnv, freePort, mainPath, startServer } from '../support/server.ts'
import { sized } from '../support/store-choice.ts'

await t.test('under load', async t => {
  const server = await startServer(t, { config: wide })
  const checker = new Checker()
  const complaints = new Complaints()
  const pairs = Array.from({ length: 10 }, (_, i) => [`a${i}`, `b${i}`] as const)
  const senders: Sender[] = []
  for (const [i, [from, to]] of pairs.entries()) {
    const conv = `d:${from}:${to}`
    checker.conversation(conv, [from, to])
    await receiver(t, server.url, checker, to, 'phone')
    senders.push(new Sender(t, server, checker, complaints, from, [{ conv, topic: `im/to/u/${to}` }], { withCid: i % 2 === 0, pauseMs: 10 }))
  }
  const running = Promise.all(senders.map(async sender => { await sender.run() }))
  running.catch((cause: Error) => { complaints.add(cause.message) })
  for (let round = 1; round <= 2; round++) {
    const mark = checker.acknowledgedCount
    await until(() => checker.acknowledgedCount >= mark + sized({ level: 300, mongodb: 100 }), 60_000, 'load')
    t.comment(`stopped within ${await server.stop()} ms`)
    await server.restart()
  }
  for (const sender of senders) sender.stop()
  await running
  await until(() => checker.missing() === 0, 30_000, 'the receivers').catch((cause: Error) => { t.comment(cause.message) })
  t.same(complaints.list, [])
  for (const [kind, list] of Object.entries(checker.findings()) as Array<[string, string[]]>) t.same(list.slice(0, 20), [], `${kind}: ${list.length}`)
})

await t.test('with connections that do nothing, half-open ones and stalled ones', async t => {
  const server = await startServer(t)
  await device(t, server.url, 'bob', { clientId: 'phone', clean: false })
  await device(t, server.wsUrl, 'bob', { clientId: 'tablet' })
  await RawClient.open(t, server.mqttPort)
  const half = await RawClient.open(t, server.mqttPort)
  half.write(Buffer.from([0x10, 0x7f, 0, 4]))
  const { client: stalled } = await RawClient.connect(t, server.mqttPort, { user: 'eve', acknowledge: false })
  await stalled.subscribe('im/u/eve/inbox')
  stalled.stream.pause()
  const alice = await device(t, server.url, 'alice')
  for (let i = 0; i < 20; i++) await alice.publish('im/to/u/eve', 'x'.repeat(50_000))
  t.ok(await server.stop() < 10_000, 'exit 0 within 10 s')
})

await t.test('over MQTT 5 clients are told why [0x8B]', async t => {
  const server = await startServer(t)
  const { client } = await RawClient.connect(t, server.mqttPort, { user: 'bob', version: 5 })
  await server.stop()
  t.match(await client.packets.take(p => p.cmd === 'disconnect'), { reasonCode: 0x8b })
  await client.closed
})

await t.test('over MQTT 5 clients are told of another server [0x9D]', async t => {
  const address = 'other.example.com:1883'
  const server = await startServer(t, { config: { mqtt: { elsewhere: { address } } } })
  const { client } = await RawClient.connect(t, server.mqttPort, { user: 'bob', version: 5 })
  const { client: old } = await RawClient.connect(t, server.mqttPort, { user: 'eve' })
  await server.stop()
  t.match(await client.packets.take(p => p.cmd === 'disconnect'), { reasonCode: 0x9d, properties: { serverReference: address } })
  await Promise.all([client.closed, old.closed])

  const empty = await startServer(t, { config: { mqtt: { elsewhere: { address, permanent: false, redirect: true } } } })
  t.match((await RawClient.connect(t, empty.mqttPort, { user: 'bob', version: 5 })).connack, { reasonCode: 0x9c, properties: { serverReference: address } })
  t.match((await RawClient.connect(t, empty.mqttPort, { user: 'bob' })).connack, { returnCode: 3 })
})

await t.test('when nobody reads the log any more, a stop is as good as any', async t => {
  const data = join(t.testdir(), 'data')
  const server = spawn(process.execPath, [mainPath, 'serve', '--json', '--data', data, '--mqtt-port', String(await freePort()), '--http-port', String(await freePort())],
    { cwd: t.testdirName, env: cleanEnv(), stdio: ['ignore', 'pipe', 'pipe'] })
  t.teardown(() => { server.kill('SIGKILL') })
  const exited = once(server, 'exit')
  const [started] = await within(once(server.stdout, 'data') as Promise<[Buffer]>, 30_000, 'the start')
  t.match(JSON.parse(started.toString()), { event: 'started' })
  server.stderr.destroy()
  server.kill('SIGTERM')
  t.strictSame(await within(exited, 30_000, 'the end'), [0, null])
})
