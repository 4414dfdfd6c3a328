/** GET /v1/entry: which servers, in which order. */
import t from 'tap'
import { inOrder } from '../../broker/http/entry.ts'
import type { EntryDocument } from '../../broker/http/entry.ts'
import type { ClusterServer } from '../../broker/link/core.ts'
import { startServer } from '../support/server.ts'

const server = (name: string, connections: number, region = '', more: Partial<ClusterServer> = {}): ClusterServer =>
  ({ id: name, name, version: '1', addresses: [`mqtt://${name}:1883`], region, room: '', draining: false, connections, startedAt: 0, ...more })
const names = (servers: EntryDocument['servers']): string[] => servers.map(({ addresses }) => /\/\/(\w+)/.exec(addresses[0] ?? '')?.[1] ?? '')

await t.test('the region goes before the load; who drains or is nowhere is left out', async t => {
  const all = [server('far', 0, 'us'), server('full', 900, 'eu'), server('free', 500, 'eu'), server('ends', 0, 'eu', { draining: true }), server('nowhere', 0, 'eu', { addresses: [] })]
  t.same(names(inOrder(all, 'eu')), ['free', 'full', 'far'])
  t.same(names(inOrder(all, 'us')), ['far', 'free', 'full'])
  t.same(names(inOrder(all, 'elsewhere')), ['far', 'free', 'full'])
  t.same(inOrder([], 'eu'), [])
})

await t.test('servers that are loaded alike come in an order of chance', async t => {
  const chances = (...values: number[]) => () => values.shift() ?? 0
  t.same(names(inOrder([server('a', 1000), server('b', 1099), server('c', 1101)], '', chances(0.9, 0.1, 0))), ['b', 'a', 'c'])
  t.same(names(inOrder([server('a', 0), server('b', 10), server('c', 11)], '', chances(0.9, 0.1, 0))), ['b', 'a', 'c'])
})

await t.test('a single server names itself, or what it is configured to name', async t => {
  const ask = async (port: number, path = '/v1/entry', headers = {}): Promise<{ status: number, cache: string | null, body: EntryDocument }> => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers })
    return { status: response.status, cache: response.headers.get('cache-control'), body: await response.json() as EntryDocument }
  }
  const alone = await startServer(t)
  t.same(await ask(alone.httpPort), {
    status: 200,
    cache: 'public, max-age=2',
    body: { servers: [{ region: '', addresses: [alone.url, alone.wsUrl] }], fallback: [], maxAgeSeconds: 2 }
  })
  t.match(await ask(alone.httpPort, `/v1/entry?region=${'x'.repeat(65)}`), { status: 400, cache: 'no-store' })
  const open = await startServer(t, { data: `${t.testdir()}/open`, config: { http: { host: '0.0.0.0' }, auth: { mode: 'password' } } })
  t.same((await ask(open.httpPort)).body.servers, [{ region: '', addresses: [open.url, `ws://127.0.0.1:${open.httpPort}/mqtt`] }], 'by the name that it is asked by')
  const told = await startServer(t, { data: `${t.testdir()}/told`, config: { cluster: { region: 'eu', addresses: ['mqtts://chat.example.com:8883'] } } })
  t.same((await ask(told.httpPort)).body.servers, [{ region: 'eu', addresses: ['mqtts://chat.example.com:8883'] }])
  const balanced = await startServer(t, { data: `${t.testdir()}/balanced`, config: { cluster: { entry: ['mqtt://balancer:1883'] } } })
  t.same((await ask(balanced.httpPort)).body, { servers: [], fallback: ['mqtt://balancer:1883'], maxAgeSeconds: 2 })
})
