/** GET /metrics: what it says is what happened, in the format, to those who may read it. */
import { readFileSync } from 'node:fs'
import { connectAsync, type MqttClient } from 'mqtt'
import t, { type Test } from 'tap'
import { allMeasures } from '../../broker/all-measures.ts'
import { measureKinds } from '../../broker/link/measure-names.ts'
import { metricsTable, readMetrics, type Metric } from '../support/metrics.ts'
import { packageRoot } from '../support/package-root.ts'
import { startServer, type Server } from '../support/server.ts'

const ask = (server: Server, headers: Record<string, string> = {}): Promise<Response> => fetch(`http://127.0.0.1:${server.httpPort}/metrics`, { headers })

const arrival = (client: MqttClient): Promise<void> => new Promise(resolve => { client.once('message', () => { resolve() }) })

async function scrape (t: Test, server: Server): Promise<(name: string, key?: string) => number> {
  const response = await ask(server)
  t.equal(response.status, 200)
  t.match(response.headers.get('content-type'), /^text\/plain; version=0\.0\.4/)
  const metrics = readMetrics(await response.text())
  for (const name of Object.keys(measureKinds)) t.ok(metrics.has(name), name)
  for (const [name, metric] of metrics) if (metric.type === 'histogram' && name.startsWith('sabethes')) checkHistogram(t, name, metric)
  return (name, key = '') => metrics.get(name)?.values.get(key) ?? NaN
}

function checkHistogram (t: Test, name: string, { values }: Metric): void {
  const buckets = [...values].filter(([key]) => key.startsWith('_bucket')).map(([, value]) => value)
  t.ok(buckets.length > 10 && buckets.every((value, i) => i === 0 || value >= (buckets[i - 1] ?? 0)), `${name}: buckets are summed up`)
  t.equal(buckets.at(-1), values.get('_count'), name)
}

for (const thread of [false, true]) {
  await t.test(`it counts what happened${thread ? ', engine.thread' : ''}`, async t => {
    const server = await startServer(t, { data: `${t.testdir()}/${String(thread)}`, config: { engine: { thread }, mqtt: { limits: { packetBytes: 70_000 } } } })
    const before = await scrape(t, server)
    t.equal(before('sabethes_messages_total'), 0)
    const [alice, bob] = [await connectAsync(server.url, { username: 'alice', clientId: 'a', protocolVersion: 5 }), await connectAsync(server.url, { username: 'bob', clientId: 'b' })]
    t.teardown(async () => { await Promise.all([alice.endAsync(true), bob.endAsync(true)]) })
    await bob.subscribeAsync('im/u/bob/#', { qos: 1 })
    const received = arrival(bob)
    // What is like the envelope's own time must not be taken for it.
    await alice.publishAsync('im/to/u/bob', JSON.stringify({ cid: 'one', type: 'text', body: 'a "ts":1 b' }), { qos: 1 })
    await received
    await alice.publishAsync('im/to/u/bob', JSON.stringify({ cid: 'one', type: 'text', body: 'a "ts":1 b' }), { qos: 1 })
    await t.rejects(alice.publishAsync('im/to/g/nowhere', 'x', { qos: 1 }))
    const answered = arrival(alice)
    await alice.subscribeAsync('im/u/alice/rpc/+')
    await alice.publishAsync('im/rpc/unread', '{"rid":"r1"}', { qos: 1 })
    await answered
    await t.rejects(connectAsync(server.url, { username: 'not a name', clientId: 'c', reconnectPeriod: 0 }))
    const value = await scrape(t, server)
    t.equal(value('sabethes_messages_total'), 1)
    t.equal(value('sabethes_replays_total'), 1)
    t.equal(value('sabethes_publishes_refused_total', '{code="not_found"}'), 1)
    t.equal(value('sabethes_connections_refused_total', '{code="bad_payload"}'), 1)
    t.equal(value('sabethes_publish_seconds', '_count'), 3, 'a request is no publish')
    t.ok(value('sabethes_publish_seconds', '_sum') > 0 && value('sabethes_publish_seconds', '_sum') < 30)
    t.equal(value('sabethes_delivery_seconds', '_count'), 1)
    t.ok(value('sabethes_delivery_seconds', '_sum') < 30, 'the envelope\'s own time')
    t.equal(value('sabethes_commit_messages', '_count'), value('sabethes_commit_messages', '_bucket{le="1"}'), 'each by itself')
    t.ok(value('sabethes_commits_total') >= 2)
    t.equal(value('sabethes_commit_failures_total'), 0)
    t.equal(value('sabethes_connections', '{protocol="mqtt5"}'), 1)
    t.equal(value('sabethes_connections', '{protocol="mqtt3.1.1"}'), 1)
    t.equal(value('sabethes_connections', '{protocol="mqtt3.1"}'), 0)
    t.equal(value('sabethes_publishes_waiting'), 0)
    t.equal(value('sabethes_commit_queue'), 0)
    t.equal(value('sabethes_store_up'), 1)
    t.equal(value('sabethes_engine_up'), 1)
    t.ok(value('sabethes_received_packets_total') >= 4)
    t.ok(value('sabethes_sent_bytes_total') > 100)
    t.ok(value('sabethes_engine_loop_delay_seconds', '{quantile="0.99"}') >= 0)
    t.ok(value('process_resident_memory_bytes') > 1e6)
    t.equal(value('sabethes_requests_total', '{code="ok"}'), 1)
    await bob.endAsync()
    // Its session is put away first.
    while ((await scrape(t, server))('sabethes_connections', '{protocol="mqtt3.1.1"}') > 0);
    t.pass('who has gone is not counted')
  })
}

await t.test('without a token this machine alone reads, and nobody through a proxy', async t => {
  const server = await startServer(t)
  t.equal((await ask(server)).status, 200)
  for (const header of ['x-forwarded-for', 'forwarded', 'via']) {
    const refused = await ask(server, { [header]: '127.0.0.1' })
    t.equal(refused.status, 403, header)
    t.match(await refused.json(), { code: 'forbidden' })
  }
})

await t.test('with one whoever shows it', async t => {
  const token = 'a-token-of-some-length'
  const server = await startServer(t, { config: { metrics: { token } } })
  for (const authorization of ['', 'Bearer', 'Bearer x', `Bearer ${token}x`, `Basic ${token}`, token]) {
    const refused = await ask(server, authorization === '' ? {} : { authorization })
    t.equal(refused.status, 401, authorization)
    t.notMatch(await refused.text(), /sabethes_/)
  }
  t.equal((await ask(server, { authorization: `Bearer ${token}`, 'x-forwarded-for': '203.0.113.7' })).status, 200)
  t.notMatch(server.logs(), token)
})

await t.test('it can be switched off', async t => {
  const server = await startServer(t, { config: { metrics: { enabled: false } } })
  t.equal((await ask(server)).status, 404)
})

await t.test('an engine that is silent, or fails, is said to be so', async t => {
  const gateway = { measures: () => [{ name: 'sabethes_sockets', value: 7 } as const] }
  const of = async (core: Parameters<typeof allMeasures>[0]['core']): Promise<Array<[string, unknown]>> =>
    (await allMeasures({ core, gateway }, 10)).filter(({ name }) => name !== 'sabethes_info').map(({ name, value }) => [name, value])
  const silent = new Promise<never>(() => {})
  t.strictSame(await of({ measures: () => silent, health: () => silent }), [['sabethes_engine_up', 0], ['sabethes_store_up', 0], ['sabethes_sockets', 7]])
  t.strictSame(await of({ measures: () => Promise.reject(new Error('gone')), health: () => Promise.reject(new Error('gone')) }), [['sabethes_engine_up', 0], ['sabethes_store_up', 0], ['sabethes_sockets', 7]])
  t.strictSame(await of({ measures: async () => [], health: async () => {} }), [['sabethes_engine_up', 1], ['sabethes_store_up', 1], ['sabethes_sockets', 7]])
})

await t.test('docs/metrics.md has all of them, and the dashboard shows none that is not there', t => {
  const page = readFileSync(new URL('docs/metrics.md', packageRoot), 'utf8')
  t.equal(/(?<=<!-- metrics: [^\n]* -->\n)[^]*(?=<!-- \/metrics -->)/.exec(page)?.[0], metricsTable(), 'npm run documents')
  const dashboard = readFileSync(new URL('deploy/grafana-dashboard.json', packageRoot), 'utf8')
  const shown = new Set([...dashboard.matchAll(/sabethes_[a-z_]+/g)].map(([name]) => name.replace(/_bucket$/, '')))
  for (const name of [...shown, ...[...page.matchAll(/`(sabethes_[a-z_]+)`/g)].map(([, name]) => name)]) t.ok(name !== undefined && name in measureKinds, name ?? '')
  t.ok(shown.size > 15)
  t.end()
})
