/** What operators and clients are told of the servers of a cluster: `sabethes nodes`, `GET /v1/entry`. */
import t from 'tap'
import type { NodesInfo } from '../../broker/http/control-target.ts'
import type { EntryDocument } from '../../broker/http/entry.ts'
import { startCluster } from '../support/cluster.ts'
import { until } from '../support/mailbox.ts'
import { device } from '../support/mqtt.ts'
import { cli } from '../support/server.ts'
import type { Server } from '../support/server.ts'

t.setTimeout(120_000)

async function entry ({ httpPort }: Server, query = ''): Promise<EntryDocument> {
  const response = await fetch(`http://127.0.0.1:${httpPort}/v1/entry${query}`)
  t.equal(response.headers.get('cache-control'), 'public, max-age=2')
  return await response.json() as EntryDocument
}

await t.test('each server knows all of them, and says where clients go', async t => {
  const cluster = await startCluster(t, 0, { config: { cluster: { heartbeatMs: 100, leaseMs: 1000, entry: ['mqtt://chat.example.com:1883'] } } })
  if (cluster === undefined) return
  const one = await cluster.join({ config: { cluster: { region: 'eu', room: 'a', addresses: ['mqtt://one.example.com:1883', 'wss://one.example.com/mqtt'] } } })
  const two = await cluster.join({ config: { cluster: { region: 'us', room: 'a', addresses: ['mqtt://two.example.com:1883'] } } })
  const three = await cluster.join({ config: { cluster: { region: 'eu', room: 'a' }, engine: { thread: true } } })
  const nodes = async ({ data }: Server): Promise<NodesInfo> => {
    const { code, stdout, stderr } = await cli(['nodes', '--json', '--data', data])
    t.equal(code, 0, stderr)
    return JSON.parse(stdout) as NodesInfo
  }
  for (const server of [one, two, three]) {
    await until(async () => (await nodes(server)).servers.length === 3, 10_000, 'all three')
    const { clustered, linked, self, servers } = await nodes(server)
    t.same([clustered, linked], [true, true])
    t.same(servers.map(({ name }) => name).sort(), ['n1', 'n2', 'n3'])
    t.ok(servers.some(({ id }) => id === self))
    t.ok(servers.every(({ offsetMs, draining }) => Math.abs(offsetMs ?? Infinity) < 1000 && !draining), 'clocks are compared')
  }
  await until(async () => new Set((await nodes(one)).servers.map(({ view }) => view)).size === 1, 10_000, 'one view')
  const { servers: seen } = await nodes(two)
  t.ok(seen.every(({ share = 0 }) => share > 0.2 && share < 0.5), 'each owns about a third')
  t.ok(Math.abs(seen.reduce((sum, { share = 0 }) => sum + share, 0) - 1) < 1e-9)
  t.ok(seen.every(({ lagMs = Infinity }) => lagMs < 2_000), 'nobody is behind')
  const { stdout } = await cli(['nodes', '--data', two.data])
  t.match(stdout, /^n2 \* +\d+\.\d+\.\d+ +us +a +0 +\d\d? % +\d+ ms +[0-9a-f]{8} +\d\d:\d\d:\d\d +\S+ ms +serving +\S+ +mqtt:\/\/two\.example\.com:1883$/m)
  t.match(stdout, /^n3 .* serving +\S+ +-$/m, 'it does not say where it is')

  const first = { region: 'eu', addresses: ['mqtt://one.example.com:1883', 'wss://one.example.com/mqtt'] }
  const second = { region: 'us', addresses: ['mqtt://two.example.com:1883'] }
  const fallback = ['mqtt://chat.example.com:1883']
  for (const server of [one, two, three]) {
    t.same(await entry(server, '?region=us'), { servers: [second, first], fallback, maxAgeSeconds: 2 })
    t.same(await entry(server, '?region=eu'), { servers: [first, second], fallback, maxAgeSeconds: 2 })
  }
  t.same((await entry(two)).servers, [second, first], 'of its own region')

  const clients = await Promise.all(Array.from({ length: 12 }, (_, i) => device(t, two.url, `user${i}`)))
  await until(async () => (await entry(one, '?region=none')).servers[0]?.region === 'eu', 10_000, 'the one with fewer sessions comes first')
  t.equal((await nodes(one)).servers.find(({ name }) => name === 'n2')?.connections, 12)
  await Promise.all(clients.map(async client => { await client.end() }))

  await cluster.redis.kill()
  await until(async () => !(await nodes(one)).linked, 10_000, 'Redis is missed')
  t.match(await cli(['nodes', '--data', one.data]), { code: 0, stdout: /^Redis does not answer: .*\nname[^]*n1[^]*n2[^]*n3/ })
  t.equal((await entry(one)).servers.length, 2, 'those that were there')
  await until(async () => ((await nodes(one)).servers.find(({ name }) => name === 'n1')?.lagMs ?? 0) > 2_000, 10_000, 'it says how long it has heard nothing')
})
