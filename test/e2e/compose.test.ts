/**
 * A server of docker-compose.yml, started by hand: the server with the image's command, the environment of its service
 * (only addresses and ports are those of this machine), its health check, and a stop as Docker stops it.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { until, within } from '../support/mailbox.ts'
import { mongodbServer } from '../support/mongodb.ts'
import { packageRoot } from '../support/package-root.ts'
import { RawClient } from '../support/raw-client.ts'
import { cleanEnv, cli, freePort, mainPath, run } from '../support/server.ts'

interface Service { environment: Record<string, string>, healthcheck: { test: string[] }, stop_grace_period: string }
const read = (name: string): string => readFileSync(new URL(name, packageRoot), 'utf8')
const service = (parse(read('docker-compose.yml')) as { services: { 'server-1': Service } }).services['server-1']
const dockerfile = read('Dockerfile').replace(/\\\n\s*/g, ' ')
const form = (name: string): string[] => JSON.parse(new RegExp(`^${name} (\\[.*\\])$`, 'm').exec(dockerfile)?.[1] ?? '[]') as string[]
const [node, main, ...verb] = [...form('ENTRYPOINT'), ...form('CMD')]

await t.test('the server of the compose file', async t => {
  t.same([node, main, verb], ['node', 'dist/broker/main.js', ['serve']])
  const mongodb = await mongodbServer(t)
  if (mongodb === undefined) return
  const [mqttPort, httpPort] = [await freePort(), await freePort()]
  const folder = t.testdir()
  const { MONGODB_PASSWORD: _, ...given } = { MONGODB_PASSWORD: '', ...service.environment }
  const env: Record<string, string> = {
    ...given,
    SABETHES_STORE__URL: `${mongodb.url}${mongodb.database}`,
    // By itself: both of them, Redis and HAProxy are started in test/cluster/topology.
    SABETHES_CLUSTER__REDIS: '',
    SABETHES_STORE__PATH: join(folder, 'data'),
    SABETHES_MQTT__TCP__PORT: String(mqttPort),
    SABETHES_HTTP__PORT: String(httpPort)
  }
  const child = spawn(process.execPath, [mainPath, ...verb], { cwd: folder, env: cleanEnv(env), stdio: ['ignore', 'pipe', 'pipe'] })
  let log = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => { log += text })
  child.stderr.setEncoding('utf8').on('data', (text: string) => { log += text })
  const exited = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>
  t.teardown(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    await exited
    if (!t.passing()) t.comment(log.slice(-3000))
  })

  const [kind, , ...check] = service.healthcheck.test
  t.equal(kind, 'CMD')
  const healthy = async (): Promise<boolean> => {
    if (child.exitCode !== null) throw new Error(`the server ended (${child.exitCode}):\n${log}`)
    return (await run(process.execPath, check.map(arg => arg.replace(':8080/', `:${httpPort}/`)))).code === 0
  }
  await until(healthy, 60_000, 'the health check of the compose file')

  const added = await cli(['user', 'add', 'alice'], { env, cwd: folder, input: 'correct horse\n' })
  t.equal(added.code, 0, added.stderr)
  const doctor = await cli(['doctor', '--json'], { env, cwd: folder })
  t.equal(doctor.code, 0, doctor.stdout)
  const checks = (JSON.parse(doctor.stdout) as { checks: Array<{ name: string, ok: boolean, text: string }> }).checks
  for (const name of ['server', 'store', 'mongodb reachable', 'mongodb version', 'mongodb format', 'mongodb indexes', 'mongodb write concern', 'mongodb clock']) {
    t.equal(checks.find(each => each.name === name)?.ok, true, name)
  }
  const { connack } = await RawClient.connect(t, mqttPort, { user: 'alice', password: 'correct horse' })
  t.equal(connack.returnCode, 0, 'the account is in the store')

  if (mongodb.kind !== 'env') {
    await mongodb.kill9()
    await until(async () => !await healthy(), 60_000, 'an unhealthy server without its database')
    const ill = await cli(['doctor', '--json'], { env, cwd: folder })
    t.equal(ill.code, 1, 'the doctor sees it too')
    t.match(ill.stdout, /"name":"mongodb reachable","ok":false/)
    await mongodb.restart()
    await until(healthy, 60_000, 'a healthy server when the database is back')
  }
  child.kill('SIGTERM')
  const [code] = await within(exited, Number.parseInt(service.stop_grace_period) * 1000, 'the end within the grace period')
  t.equal(code, 0, 'ended by itself')
})
