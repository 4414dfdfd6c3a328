/** `sabethes doctor` of a cluster. */
import t from 'tap'
import { clockState, inspectCluster, policyState, versionState, versionsState } from '../../broker/cluster/inspection.ts'
import type { NodeInfo } from '../../broker/cluster/view.ts'
import { startCluster } from '../support/cluster.ts'
import { cli, freePort } from '../support/server.ts'

t.setTimeout(120_000)

await t.test('findings', async t => {
  t.match(versionState('6.2.14'), { ok: true })
  t.match(versionState('7.0.15'), { ok: true })
  t.match(versionState('6.0.16'), { ok: false, text: /6\.2 or newer/ })
  t.match(versionState(''), { ok: false })
  t.match(policyState('allkeys-lru'), { ok: false, text: /allkeys-lru.*noeviction/ })
  const node = (name: string, version: string, offsetMs?: number): NodeInfo =>
    ({ id: name, name, version, addresses: [], region: '', room: '', draining: false, connections: 0, startedAt: 0, ...offsetMs !== undefined && { offsetMs } })
  t.match(clockState([node('a', '1', 5000), node('b', '1')]), { ok: true, text: /5000 ms/ })
  t.match(clockState([node('a', '1', 0), node('b', '1', -5001)]), { ok: false, text: /^b is -5001 ms behind/ })
  t.match(versionsState([node('a', '1.0.0'), node('b', '1.1.0'), node('c', '1.0.0')]), { ok: true, text: '1.0.0 and 1.1.0: an upgrade is under way' })
  t.match(await inspectCluster({ redis: `redis://:secret@127.0.0.1:${await freePort()}`, namespace: 'x', leaseMs: 1000 }), [{ name: 'redis reachable', ok: false }])
})

await t.test('a running cluster', async t => {
  const cluster = await startCluster(t, 2, { redis: { args: ['--maxmemory-policy', 'noeviction'] } })
  const [server] = cluster?.servers ?? []
  if (cluster === undefined || server === undefined) return
  const doctor = () => cli(['doctor', '--json', '--config', server.configPath, '--data', server.data])
  const { code, stdout } = await doctor()
  t.equal(code, 0, stdout)
  const { checks } = JSON.parse(stdout) as { checks: Array<{ name: string, ok: boolean, text: string }> }
  const of = (name: string) => checks.find(check => check.name === name)?.text
  for (const name of ['redis reachable', 'redis version', 'redis clock', 'mongodb clock', 'mongodb indexes', 'cluster clocks', 'cluster versions']) t.ok(of(name), name)
  t.equal(of('redis policy'), 'noeviction')
  t.equal(of('cluster servers'), 'n1, n2')
  await cluster.redis.client().config('SET', 'maxmemory-policy', 'allkeys-lru')
  t.match(await doctor(), { code: 1, stdout: /maxmemory-policy is allkeys-lru/ })
  await cluster.redis.kill()
  t.match(await doctor(), { code: 1, stdout: /"name":"redis reachable","ok":false/ })
})
