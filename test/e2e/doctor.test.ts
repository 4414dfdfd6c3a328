/** `sabethes doctor` and the usage of `sabethes migrate`. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import t from 'tap'
import { formatVersion } from '../../broker/store/level/store.ts'
import { nodeVersion } from '../../broker/cli/doctor.ts'
import { inspectMongo } from '../../broker/store/mongodb/inspection.ts'
import { openMongoStore } from '../../broker/store/mongodb/store.ts'
import { mongodbServer } from '../support/mongodb.ts'
import { cli, freePort, startServer } from '../support/server.ts'
import { MongoClient } from 'mongodb'

interface Answer { ok: boolean, checks: Array<{ name: string, ok: boolean, text: string }> }

async function ask (args: string[], cwd: string): Promise<{ code: number | null, checks: Map<string, { ok: boolean, text: string }> }> {
  const { code, stdout, stderr } = await cli(['doctor', '--json', ...args], { cwd })
  if (stdout === '') throw new Error(stderr)
  const answer = JSON.parse(stdout) as Answer
  if (answer.ok !== (code === 0)) throw new Error(`exit ${code} with ${stdout}`)
  return { code, checks: new Map(answer.checks.map(({ name, ...rest }) => [name, rest])) }
}

await t.test('Node', async t => {
  for (const version of ['20.19.0', '20.20.1', '22.0.0', '24.1.0']) t.equal(nodeVersion(version).ok, true, version)
  for (const version of ['20.18.9', '18.20.0']) t.equal(nodeVersion(version).ok, false, version)
})

await t.test('a new folder, a running server, a stopped one', async t => {
  const folder = t.testdir()
  const ports = ['--mqtt-port', String(await freePort()), '--http-port', String(await freePort())]
  const fresh = await ask([...ports, '--data', join(folder, 'new')], folder)
  t.equal(fresh.code, 0)
  t.match(fresh.checks.get('store')?.text, /new/)

  const server = await startServer(t)
  const args = ['--data', server.data, '--mqtt-port', String(server.mqttPort), '--http-port', String(server.httpPort)]
  const running = await ask(args, folder)
  t.equal(running.code, 0)
  t.equal(running.checks.get('server')?.text, 'running')
  t.notOk(running.checks.has('MQTT port'), 'the ports are its own')
  t.match(running.checks.get('store')?.text, /healthy/)
  await server.stop()
  const stopped = await ask(args, folder)
  t.equal(stopped.code, 0)
  t.match(stopped.checks.get('store')?.text, new RegExp(`format version ${formatVersion}, healthy`))
})

await t.test('what is wrong', async t => {
  const folder = t.testdir()
  const listener = createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  t.teardown(() => { listener.close() })
  const { port } = listener.address() as AddressInfo
  const data = join(folder, 'data')
  const other = ['--http-port', String(await freePort()), '--data', data]
  const taken = await ask(['--mqtt-port', String(port), ...other], folder)
  t.equal(taken.code, 1)
  t.match(taken.checks.get('MQTT port'), { ok: false, text: /EADDRINUSE/ })

  const mistaken = await ask(['--set', 'mqtt.tcp.port=no', ...other], folder)
  t.equal(mistaken.code, 1)
  t.match(mistaken.checks.get('configuration'), { ok: false, text: /mqtt\.tcp\.port/ })

  mkdirSync(data)
  writeFileSync(join(data, 'notes.txt'), 'x')
  const strange = await ask(['--mqtt-port', String(await freePort()), ...other], folder)
  t.match(strange.checks.get('store'), { ok: false, text: /not a Sabethes store/ })
  const isFile = await ask(['--mqtt-port', String(await freePort()), '--data', join(data, 'notes.txt')], folder)
  t.match(isFile.checks.get('data folder'), { ok: false })
  if (process.getuid?.() !== 0) {
    chmodSync(data, 0o500)
    t.match((await ask(other, folder)).checks.get('data folder'), { ok: false, text: /EACCES/ })
    chmodSync(data, 0o700)
  }
})

await t.test('MongoDB: not there, indexes that are missing, an unfinished migration', async t => {
  const dead = await inspectMongo({ url: `mongodb://user:secret@127.0.0.1:${await freePort()}/x` })
  t.match(dead, [{ name: 'mongodb reachable', ok: false }])
  t.notMatch(JSON.stringify(dead), /secret/)
  t.match(await inspectMongo({ url: 'mongodb://' }), [{ name: 'mongodb address', ok: false }])

  const server = await mongodbServer(t)
  if (server === undefined) return
  const { url, database } = server
  t.same((await inspectMongo({ url, database })).filter(({ ok }) => !ok), [], 'an empty database is fine')
  await (await openMongoStore({ url, database })).close()
  t.match((await inspectMongo({ url, database })).find(({ name }) => name === 'mongodb indexes'), { ok: true, text: /^all \d+$/ })
  const client = new MongoClient(url)
  t.teardown(async () => { await client.close() })
  await client.db(database).collection('messages').dropIndex('c_s')
  t.match((await inspectMongo({ url, database })).filter(({ ok }) => !ok), [{ name: 'mongodb indexes', text: /messages\.c_s/ }])
  const made = await cli(['migrate', '--to', `${url}${database}`], { cwd: t.testdir() })
  t.equal(made.code, 0, made.stderr)
  t.same((await inspectMongo({ url, database })).filter(({ ok }) => !ok), [], 'migrate made it')
  await client.db(database).collection<{ _id: string }>('meta').updateOne({ _id: 'format' }, { $set: { version: 0 } })
  t.match((await inspectMongo({ url, database })).filter(({ ok }) => !ok), [{ name: 'mongodb format', text: /unfinished migration/ }])
})

await t.test('migrate: wrong usage shows no password', async t => {
  const folder = t.testdir()
  for (const args of [[], ['--to', 'level:a'], ['--from', 'postgres://u:secret@h/d', '--to', 'level:a'], ['--from', 'level:', '--to', 'level:a']]) {
    const { code, stderr } = await cli(['migrate', ...args], { cwd: folder })
    t.equal(code, 2, args.join(' '))
    t.notMatch(stderr, /secret/)
  }
})
