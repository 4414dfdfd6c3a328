/** Properties of Dockerfile, docker-compose.yml and .dockerignore. No container engine is needed; where there is one, it is asked too. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'
import { configKeys } from '../../broker/config/keys.ts'
import { packageRoot } from '../support/package-root.ts'
import { run } from '../support/server.ts'

interface Service {
  image?: string
  build?: string
  command?: unknown
  entrypoint?: unknown
  environment?: Record<string, string>
  healthcheck?: { test: string[], interval: string, timeout: string, retries: number }
  volumes?: string[]
  tmpfs?: string[]
  ports?: string[]
  configs?: Array<{ source: string, target: string }>
  restart?: string
  depends_on?: Record<string, { condition: string }>
}
interface Compose { name: string, services: Record<string, Service>, volumes: Record<string, unknown>, configs: Record<string, { content: string }> }

const read = (name: string): string => readFileSync(new URL(name, packageRoot), 'utf8')
const composeText = read('docker-compose.yml')
const compose = parse(composeText) as Compose
/** Instructions, continued lines joined, comments left out. */
const instructions = read('Dockerfile').replace(/\\\n\s*/g, ' ').split('\n').filter(line => line !== '' && !line.startsWith('#'))

await t.test('Dockerfile', async t => {
  const stages = instructions.filter(line => line.startsWith('FROM '))
  t.ok(stages.length > 1, 'several stages')
  for (const stage of stages) t.match(stage, /^FROM [a-z]+:\d\S*-bookworm-slim( AS [a-z]+)?$/, 'a small base with a version, never latest')
  for (const stage of stages) t.match(stage, 'node:24-', 'one Node in all stages, the newest that is supported')
  const last = instructions.slice(instructions.lastIndexOf(stages.at(-1) as string))
  const of = (name: string): string[] => last.filter(line => line.startsWith(name + ' ')).map(line => line.slice(name.length + 1))
  t.same(of('USER'), ['node'], 'not root')
  t.ok(last.findIndex(line => line.startsWith('USER')) < last.findIndex(line => line.startsWith('ENTRYPOINT')))
  t.same(JSON.parse(of('ENTRYPOINT')[0] ?? ''), ['node', 'dist/broker/main.js'], 'exec form: signals reach the server')
  t.same(JSON.parse(of('CMD')[0] ?? ''), ['serve'])
  t.match(of('HEALTHCHECK')[0], /CMD \[.*\/readyz/)
  t.notOk(of('RUN').some(line => /npm|apk/.test(line)), 'nothing is installed in the last stage')
  t.notOk(of('COPY').some(line => /\b(src|test|bench|package-lock)\b|^\. /.test(line)), 'only what runs')
  for (const name of of('ENV').join(' ').matchAll(/(SABETHES_\w+)=/g)) t.ok(configKeys.some(key => key.env === name[1]), `${name[1]} is a key`)
  t.notOk(instructions.some(line => /PASSWORD=|SECRET|TOKEN/i.test(line)), 'no secret')
  const ignored = read('.dockerignore').split('\n')
  for (const name of ['.git', 'node_modules', 'data', 'dist', '.env*']) t.ok(ignored.includes(name), `${name} stays out of the context`)
})

await t.test('docker-compose.yml', async t => {
  t.same(Object.keys(compose.services), ['mongodb', 'mongodb-init', 'server'])
  for (const [name, service] of Object.entries(compose.services)) {
    if (service.build === undefined) t.match(service.image, /^[a-z]+:\d/, `${name}: an image with a version`)
    if (name !== 'mongodb-init') t.ok(service.healthcheck !== undefined && service.healthcheck.test[0] === 'CMD', `${name}: a health check in exec form`)
    for (const volume of service.volumes ?? []) t.ok(Object.hasOwn(compose.volumes, volume.split(':')[0] as string), `${name}: ${volume} is declared`)
    for (const { source } of service.configs ?? []) t.ok(Object.hasOwn(compose.configs, source), `${name}: ${source} is declared`)
    for (const other of Object.keys(service.depends_on ?? {})) t.ok(Object.hasOwn(compose.services, other))
    for (const [key, value] of Object.entries(service.environment ?? {})) {
      if (!/PASSWORD|KEY|URL/.test(key)) continue
      t.match(String(value), /\$\{[A-Z_]+:\?[^}]+\}/, `${name}: ${key} has no default`)
      t.notMatch(String(value), /:-/)
    }
  }
  t.notMatch(composeText.replace(/\$\$/g, ''), /\$\{[A-Z_]+(:?-[^}]*)?\}/, 'every variable is required')
  const { mongodb, server } = compose.services
  t.same((mongodb?.command as string[]).slice(0, 3), ['mongod', '--replSet', 'rs0'])
  t.match(compose.services['mongodb-init']?.entrypoint as string[], ['mongosh'])
  t.match((compose.services['mongodb-init']?.entrypoint as string[]).at(-1), /rs\.initiate\(\{ _id: 'rs0', members: \[\{ _id: 0, host: 'mongodb:27017' \}\] \}\)/)
  t.equal(mongodb?.environment?.MONGODB_PASSWORD, /:(\$\{.*\})@mongodb:27017/.exec(server?.environment?.SABETHES_STORE__URL ?? '')?.[1], 'the same password on both sides')
  t.match(server?.environment?.SABETHES_STORE__URL, /replicaSet=rs0/)
  t.notOk(server?.command ?? server?.entrypoint, 'the image knows how to start')
  t.same(server?.ports, ['1883:1883', '8080:8080'])
  t.notOk(mongodb?.ports, 'the database is not published')
  for (const key of Object.keys(server?.environment ?? {})) t.ok(configKeys.some(({ env }) => env === key), `${key} is a key of the configuration`)
  t.equal(server?.volumes?.[0]?.split(':')[1], server?.environment?.SABETHES_STORE__PATH, 'the data folder is a volume')
})

await t.test('docker compose config accepts it', async t => {
  const probe = await run('docker', ['compose', 'version']).catch((error: Error) => ({ code: 1, stderr: error.message }))
  if (probe.code !== 0) return t.comment('NOT TESTED HERE: no docker compose')
  const file = new URL('docker-compose.yml', packageRoot).pathname
  const env = { MONGODB_KEY: 'abcdefgh', MONGODB_PASSWORD: 'a', MONGODB_ROOT_PASSWORD: 'b' }
  const good = await run('docker', ['compose', '-f', file, 'config', '--quiet'], { env })
  t.equal(good.code, 0, good.stderr)
  const bad = await run('docker', ['compose', '-f', file, 'config', '--quiet'], { env: { ...env, MONGODB_PASSWORD: '' } })
  t.not(bad.code, 0, 'no password, no start')
})
