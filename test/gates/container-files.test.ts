/** Properties of Dockerfile, docker-compose.yml, .dockerignore and the files of deploy/. No container engine is needed; where there is one, it is asked too. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { parse, parseAllDocuments } from 'yaml'
import { configKeys } from '../../broker/config/keys.ts'
import { defaultConfig } from '../../broker/config/schema.ts'
import { haproxyProgram } from '../support/haproxy.ts'
import { packageRoot } from '../support/package-root.ts'
import { run } from '../support/server.ts'
import { found } from '../support/tools.ts'

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
  stop_grace_period?: string
  ulimits?: Record<string, number>
  configs?: Array<{ source: string, target: string }>
  restart?: string
  depends_on?: Record<string, { condition: string }>
}
interface Compose { name: string, services: Record<string, Service>, volumes: Record<string, unknown>, configs: Record<string, { content: string }> }

const read = (name: string): string => readFileSync(new URL(name, packageRoot), 'utf8')
const composeText = read('docker-compose.yml')
const compose = parse(composeText, { merge: true }) as Compose
/** Instructions, continued lines joined, comments left out. */
const instructions = read('Dockerfile').replace(/\\\n\s*/g, ' ').split('\n').filter(line => line !== '' && !line.startsWith('#'))

/** What a server may take to stop. */
const longestStopSeconds = defaultConfig().cluster.drainSeconds + defaultConfig().shutdown.timeoutMs / 1000

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
  t.same(Object.keys(compose.services), ['mongodb', 'mongodb-init', 'redis', 'server-1', 'server-2', 'haproxy'])
  for (const [name, service] of Object.entries(compose.services)) {
    if (service.build === undefined) t.match(service.image, /^[a-z]+:\d/, `${name}: an image with a version`)
    if (name !== 'mongodb-init') t.ok(service.healthcheck !== undefined && service.healthcheck.test[0] === 'CMD', `${name}: a health check in exec form`)
    for (const volume of service.volumes ?? []) t.ok(volume.startsWith('./') || Object.hasOwn(compose.volumes, volume.split(':')[0] as string), `${name}: ${volume} is declared`)
    for (const { source } of service.configs ?? []) t.ok(Object.hasOwn(compose.configs, source), `${name}: ${source} is declared`)
    for (const other of Object.keys(service.depends_on ?? {})) t.ok(Object.hasOwn(compose.services, other))
    for (const [key, value] of Object.entries(service.environment ?? {})) {
      if (!/PASSWORD|KEY|URL/.test(key)) continue
      t.match(String(value), /\$\{[A-Z_]+:\?[^}]+\}/, `${name}: ${key} has no default`)
      t.notMatch(String(value), /:-/)
    }
  }
  t.notMatch(composeText.replace(/\$\$/g, ''), /\$\{[A-Z_]+(:?-[^}]*)?\}/, 'every variable is required')
  const { mongodb, redis, haproxy } = compose.services
  const servers = ['server-1', 'server-2'].map(name => compose.services[name] as Service)
  t.same((mongodb?.command as string[]).slice(0, 3), ['mongod', '--replSet', 'rs0'])
  t.match(compose.services['mongodb-init']?.entrypoint as string[], ['mongosh'])
  t.match((compose.services['mongodb-init']?.entrypoint as string[]).at(-1), /rs\.initiate\(\{ _id: 'rs0', members: \[\{ _id: 0, host: 'mongodb:27017' \}\] \}\)/)
  t.notOk(mongodb?.ports ?? redis?.ports, 'databases are not published')
  t.match((redis?.command as string[]).at(-1), /--appendonly yes .*--maxmemory-policy noeviction/)
  t.same(haproxy?.ports, ['1883:1883', '8080:8080'])
  t.match(haproxy?.volumes, ['./config/haproxy.cfg:/usr/local/etc/haproxy/haproxy.cfg:ro'])
  for (const [i, server] of servers.entries()) {
    const { environment = {} } = server
    t.equal(mongodb?.environment?.MONGODB_PASSWORD, /:(\$\{.*\})@mongodb:27017/.exec(environment.SABETHES_STORE__URL ?? '')?.[1], 'the same password on both sides')
    t.equal(redis?.environment?.REDIS_PASSWORD, /:(\$\{.*\})@redis:6379/.exec(environment.SABETHES_CLUSTER__REDIS ?? '')?.[1], 'the same password on both sides')
    t.match(environment.SABETHES_STORE__URL, /replicaSet=rs0/)
    t.equal(environment.SABETHES_CLUSTER__NAME, `server-${i + 1}`)
    t.notOk(server.command ?? server.entrypoint, 'the image knows how to start')
    t.notOk(server.ports, 'clients come through HAProxy')
    for (const key of Object.keys(environment)) t.ok(configKeys.some(({ env }) => env === key), `${key} is a key of the configuration`)
    t.equal(server.volumes?.[0], `server-${i + 1}-data:${environment.SABETHES_STORE__PATH}`, 'a data folder of its own is a volume')
    t.ok(Number.parseInt(server.stop_grace_period ?? '') > longestStopSeconds, 'it has time to drain')
  }
})

await t.test('config/haproxy.cfg', async t => {
  const text = read('config/haproxy.cfg')
  for (const name of ['server-1', 'server-2']) {
    for (const port of [1883, 8080]) t.match(text, `server ${name} ${name}:${port}\n`)
    t.ok(Object.hasOwn(compose.services, name))
  }
  t.ok(Number(/timeout client (\d+)h/.exec(text)?.[1]) * 3600 > 1.5 * defaultConfig().mqtt.limits.keepAliveMaxSeconds, 'quiet connections stay for as long as their keep alive')
  t.notMatch(text, /shutdown-sessions/, 'a server that drains keeps its clients until it moves them')
  const program = haproxyProgram(t)
  if (program === undefined) return
  const exit = await run(program, ['-c', '-f', new URL('config/haproxy.cfg', packageRoot).pathname])
  t.equal(exit.code, 0, exit.stderr)
})

await t.test('deploy/sabethes.service', async t => {
  const text = read('deploy/sabethes.service')
  const of = (name: string): string | undefined => new RegExp(`^${name}=(.*)$`, 'm').exec(text)?.[1]
  t.match(of('ExecStart'), /^\/usr\/bin\/node .*dist\/broker\/main\.js serve /, 'not npx: signals reach the server')
  t.ok(Number(of('LimitNOFILE')) >= 2 * defaultConfig().mqtt.limits.connections, 'descriptors for all connections')
  t.ok(Number(of('TimeoutStopSec')) > longestStopSeconds, 'it has time to drain')
  t.notMatch(text, /^MemoryDenyWriteExecute=/m, 'V8 compiles')
  if (!found('systemd-analyze')) return t.comment('NOT TESTED HERE: no systemd-analyze')
  // It also looks for the programs; they are not installed here.
  const { stderr } = await run('systemd-analyze', ['verify', '--man=no', new URL('deploy/sabethes.service', packageRoot).pathname])
  t.same(stderr.split('\n').filter(line => line.includes('sabethes.service') && !line.includes('is not executable')), [])
})

interface Manifest { kind: string, metadata: { name: string, labels?: Record<string, string> }, data?: Record<string, string>, spec: any }

await t.test('deploy/kubernetes.yaml', async t => {
  const documents = parseAllDocuments(read('deploy/kubernetes.yaml'))
  t.same(documents.flatMap(({ errors }) => errors), [])
  const manifests = documents.map(document => document.toJS() as Manifest)
  t.same(manifests.map(({ kind, metadata }) => `${kind} ${metadata.name}`), ['ConfigMap sabethes', 'Service sabethes-nodes', 'Service sabethes', 'PodDisruptionBudget sabethes', 'StatefulSet sabethes'])
  const [settings, nodes, clients, budget, set] = manifests as [Manifest, Manifest, Manifest, Manifest, Manifest]
  const label = { 'app.kubernetes.io/name': 'sabethes' }
  for (const { metadata } of manifests) t.same(metadata.labels, label)
  const { template, replicas, serviceName, selector } = set.spec
  for (const chosen of [nodes.spec.selector, clients.spec.selector, budget.spec.selector.matchLabels, selector.matchLabels, template.metadata.labels]) t.same(chosen, label)
  t.equal(serviceName, nodes.metadata.name)
  t.ok(replicas >= 2)
  const pod = template.spec
  t.ok(pod.terminationGracePeriodSeconds > longestStopSeconds, 'it has time to drain')
  t.equal(pod.enableServiceLinks, false)
  t.match(pod.securityContext, { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } })
  const [server] = pod.containers
  t.match(server.image, /:\d/, 'a version')
  t.match(server.securityContext, { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } })
  t.same(server.envFrom, [{ configMapRef: { name: settings.metadata.name } }])
  const names = [...Object.keys(settings.data ?? {}), ...server.env.map(({ name }: { name: string }) => name)]
  for (const name of names) t.ok(configKeys.some(({ env }) => env === name || `${env}_FILE` === name), `${name} is a key of the configuration`)
  t.notOk(Object.values(settings.data ?? {}).some(value => /:\/\//.test(value)), 'no address with a password')
  const ports = server.ports.map(({ name }: { name: string }) => name)
  for (const { spec } of [nodes, clients]) for (const { targetPort } of spec.ports) t.ok(ports.includes(targetPort))
  t.same([server.startupProbe, server.readinessProbe, server.livenessProbe].map(({ httpGet: { path } }) => path), ['/readyz', '/readyz', '/healthz'])
  const volumes = pod.volumes.map(({ name }: { name: string }) => name)
  for (const { name } of server.volumeMounts) t.ok(volumes.includes(name))
  const mounts = server.volumeMounts.map(({ mountPath }: { mountPath: string }) => mountPath)
  t.ok(mounts.includes(settings.data?.SABETHES_STORE__PATH))
  for (const [name, value] of Object.entries(settings.data ?? {})) if (name.endsWith('_FILE')) t.ok(mounts.some((path: string) => value.startsWith(`${path}/`)), `${name} is mounted`)
})

await t.test('docker compose config accepts it', async t => {
  const probe = await run('docker', ['compose', 'version']).catch((error: Error) => ({ code: 1, stderr: error.message }))
  if (probe.code !== 0) return t.comment('NOT TESTED HERE: no docker compose')
  const file = new URL('docker-compose.yml', packageRoot).pathname
  const env = { MONGODB_KEY: 'abcdefgh', MONGODB_PASSWORD: 'a', MONGODB_ROOT_PASSWORD: 'b', REDIS_PASSWORD: 'c' }
  const good = await run('docker', ['compose', '-f', file, 'config', '--quiet'], { env })
  t.equal(good.code, 0, good.stderr)
  const bad = await run('docker', ['compose', '-f', file, 'config', '--quiet'], { env: { ...env, MONGODB_PASSWORD: '' } })
  t.not(bad.code, 0, 'no password, no start')
})
