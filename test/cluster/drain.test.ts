/** A server that ends sends its clients to the others first, and one with too many sends some. */
import { connect as connectTcp } from 'node:net'
import { once } from 'node:events'
import t from 'tap'
import type { Test } from 'tap'
import { directId } from '../../broker/topics.ts'
import { startCluster } from '../support/cluster.ts'
import type { Cluster } from '../support/cluster.ts'
import { ResendStore } from '../support/load.ts'
import { until } from '../support/mailbox.ts'
import { Device, device } from '../support/mqtt.ts'
import { cli, freePort } from '../support/server.ts'
import type { Server, ServerOptions } from '../support/server.ts'

t.setTimeout(240_000)

interface Place { server: Server, port: number, url: string }

/** A server that says where it is. */
async function join (cluster: Cluster, options: ServerOptions = {}): Promise<Place> {
  const port = await freePort()
  const args = ['--mqtt-port', String(port), '--set', `cluster.addresses=["mqtt://127.0.0.1:${port}"]`]
  return { server: await cluster.join({ ...options, args }), port, url: `mqtt://127.0.0.1:${port}` }
}

interface Traveller { device: Device, user: string, reasons: Array<{ reasonCode: number | undefined, reference: string | undefined }>, closes: number }

/** A client that knows all servers, begins with the first one, and tries the next whenever its connection ends. */
async function traveller (t: Test, places: readonly Place[], user: string, version: 4 | 5): Promise<Traveller> {
  const options = { servers: places.map(({ port }) => ({ host: '127.0.0.1', port, protocol: 'mqtt' as const })), reconnectPeriod: 20, outgoingStore: new ResendStore({ clean: false }), ...version === 5 && { properties: { sessionExpiryInterval: 600 } } }
  const one: Traveller = { device: new Device('mqtt://127.0.0.1', { user, clientId: 'phone', clean: false, version, options }), user, reasons: [], closes: 0 }
  one.device.client.on('disconnect', ({ reasonCode, properties }) => { one.reasons.push({ reasonCode, reference: properties?.serverReference }) })
  one.device.client.on('close', () => { one.closes++ })
  t.teardown(async () => { await one.device.client.endAsync(true) })
  await one.device.connected()
  return one
}

async function travellers (t: Test, places: readonly Place[], count: number): Promise<Traveller[]> {
  return await Promise.all(Array.from({ length: count }, (_, i) => traveller(t, places, `user${i}`, i % 2 === 0 ? 5 : 4)))
}

await t.test('under load: each publish is acknowledged in the end, and is in its log once', async t => {
  const perSecond = 10
  const cluster = await startCluster(t, 0, { config: { cluster: { drainPerSecond: perSecond, drainSeconds: 30, heartbeatMs: 200, leaseMs: 1000 } } })
  if (cluster === undefined) return
  const places = [await join(cluster), await join(cluster)] as const
  const [one, two] = places
  const clients = await travellers(t, places, 24)
  const load = { going: true }
  const sent = clients.map(async ({ device, user }, i) => {
    let count = 0
    while (load.going) {
      const { error, reasonCode = 0 } = await device.publish(`im/to/u/user${(i + 1) % clients.length}`, `${user} ${++count}`)
      if (error !== undefined || reasonCode >= 0x80) throw new Error(`${user} ${count}: ${error?.message ?? reasonCode}`)
    }
    return count
  })
  const stopping = one.server.stop()
  await until(() => clients.some(({ closes }) => closes > 0), 5_000, 'the first one goes')
  t.equal((await fetch(`http://127.0.0.1:${one.server.httpPort}/readyz`)).status, 503, 'it is not ready')
  const tookMs = await stopping
  await until(() => clients.every(({ device: { client } }) => client.connected && (client.options.port === two.port)), 10_000, 'all are at the other server')
  load.going = false
  const counts = await Promise.all(sent)
  t.comment(`${clients.length} clients in ${tookMs} ms, ${counts.reduce((sum, count) => sum + count, 0)} publishes`)
  t.ok(tookMs >= (clients.length - 1) / perSecond * 1000, 'at the set rate')
  t.ok(tookMs < 9_000, 'within the time')
  t.same(clients.map(({ closes }) => closes).filter(closes => closes > 2), [], 'one or two connections each')
  const told = clients.flatMap(({ reasons }) => reasons)
  t.same(told.filter(({ reasonCode, reference }) => reasonCode !== 0x9d || reference !== `127.0.0.1:${two.port}`), [], 'with the reason and the address of the other one')
  t.ok(told.length > 0)
  for (const [i, { user }] of clients.entries()) {
    const reader = await device(t, two.url, user, { clientId: 'reader' })
    await reader.subscribe(`im/u/${user}/rpc/+`)
    const bodies: string[] = []
    for (let after = 0; ;) {
      const { messages } = await reader.result<{ messages: Array<{ seq: number, body: string, from: string }> }>('messages.history', { conv: directId(user, `user${(i + 1) % clients.length}`), after, limit: 50 })
      bodies.push(...messages.filter(({ from }) => from === user).map(({ body }) => body))
      if (messages.length === 0) break
      after = messages.at(-1)?.seq ?? after
    }
    t.same(bodies, Array.from({ length: counts[i] ?? 0 }, (_, n) => `${user} ${n + 1}`), `the log of ${user}`)
    await reader.end()
  }
  await one.server.restart()
})

await t.test('while it drains it takes nobody; a second signal ends it at once; an operator drains it, too', async t => {
  const cluster = await startCluster(t, 0, { config: { cluster: { drainPerSecond: 1, drainSeconds: 300, heartbeatMs: 100, leaseMs: 1000 } } })
  if (cluster === undefined) return
  const places = [await join(cluster), await join(cluster)] as const
  const [one, two] = places
  t.match(await cli(['drain', '--data', two.server.data]), { code: 0, stdout: /^drained: 0 sessions/ }, 'by the operator')
  t.equal(await two.server.ended(), 0)
  t.match(await cli(['drain', '--data', one.server.data]), { code: 1, stderr: /refused \(conflict\): no other server takes clients/ })
  await two.server.restart()
  const clients = await travellers(t, places, 40)
  await until(async () => (await entries(one.server)).length === 2, 5_000, 'both are known')
  process.kill(one.server.pid, 'SIGTERM')
  await until(() => clients.filter(({ closes }) => closes > 0).length >= 2, 10_000, 'two have gone')
  t.same(await entries(two.server), [`mqtt://127.0.0.1:${two.port}`], 'the entry leaves it out')
  const [refused] = await once(connectTcp(one.port, '127.0.0.1'), 'error') as [NodeJS.ErrnoException]
  t.equal(refused.code, 'ECONNREFUSED')
  t.match(await upgraded(one.server), /^HTTP\/1\.1 503 /)
  t.match((await cli(['nodes', '--data', one.server.data])).stdout, /n1 \* .* draining /)
  process.kill(one.server.pid, 'SIGTERM')
  t.equal(await one.server.ended(), 1)
  t.match(one.server.logs(), /a second signal: ended at once/)
  await until(() => clients.every(({ device: { client } }) => client.connected), 10_000, 'they find the other one all the same')
  await Promise.all(clients.map(async ({ device }) => { await device.client.endAsync(true) }))
  // The last one: nobody could take its clients.
  t.ok(await two.server.stop() < 5_000)
})

await t.test('a server with more than its share sends some to one that joins, nobody twice', async t => {
  const cluster = await startCluster(t, 0, { config: { cluster: { rebalancePerSecond: 20, heartbeatMs: 100, leaseMs: 1000 } } })
  if (cluster === undefined) return
  const [one, port] = [await join(cluster), await freePort()]
  const places = [one, { port } as Place]
  const clients = await travellers(t, places, 40)
  await cluster.join({ args: ['--mqtt-port', String(port), '--set', `cluster.addresses=["mqtt://127.0.0.1:${port}"]`] })
  await until(() => clients.filter(({ device: { client } }) => client.connected && client.options.port === port).length >= 10, 40_000, 'half of what is above the share')
  t.ok(clients.filter(({ closes }) => closes > 0).length < 20, 'no more than its share')
  t.same([...new Set(clients.map(({ closes }) => closes))].sort(), [0, 1])
  t.same(clients.flatMap(({ reasons }) => reasons).filter(({ reasonCode, reference }) => reasonCode !== 0x9c || reference !== `127.0.0.1:${port}`), [])
})

/** What an upgrade to WebSocket is answered. */
async function upgraded ({ httpPort }: Server): Promise<string> {
  const socket = connectTcp(httpPort, '127.0.0.1')
  socket.write(`GET /mqtt HTTP/1.1\r\nHost: 127.0.0.1:${httpPort}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n`)
  const [data] = await once(socket, 'data') as [Buffer]
  socket.destroy()
  return data.toString()
}

async function entries ({ httpPort }: Server): Promise<string[]> {
  const response = await fetch(`http://127.0.0.1:${httpPort}/v1/entry`)
  const { servers } = await response.json() as { servers: Array<{ addresses: string[] }> }
  return servers.flatMap(({ addresses }) => addresses)
}
