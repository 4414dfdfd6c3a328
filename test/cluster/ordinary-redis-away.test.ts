/** Ordinary topics while Redis is away, and when it is back: who is connected stays, one server goes on, and what was acknowledged is there. */
import t from 'tap'
import type { Test } from 'tap'
import { startCluster, type Cluster } from '../support/cluster.ts'
import { until } from '../support/mailbox.ts'
import { device, type Device, type DeviceOptions } from '../support/mqtt.ts'
import type { Server } from '../support/server.ts'

const kept: DeviceOptions = { clean: false, version: 5, options: { properties: { sessionExpiryInterval: 3600 } } }
const config = { mqtt: { openTopics: ['#'] }, store: { timeoutMs: 20_000 } }

async function at (t: Test, server: Server, clientId: string, options: DeviceOptions = {}): Promise<Device> {
  return await device(t, server.url, 'ann', { clientId, ...options })
}

interface World { cluster: Cluster, a: Server, b: Server }

async function world (t: Test, appendonly = true): Promise<World | undefined> {
  const cluster = await startCluster(t, 2, { config, redis: { appendonly } })
  const [a, b] = cluster?.servers ?? []
  return cluster === undefined || a === undefined || b === undefined ? undefined : { cluster, a, b }
}

for (const way of ['killed', 'silent'] as const) {
  await t.test(`Redis is ${way}: one server goes on, and what crosses comes later`, async t => {
    t.setTimeout(120_000)
    const here = await world(t)
    if (here === undefined) return
    const { cluster: { redis }, a, b } = here
    const [near, far, speaker] = [await at(t, a, 'near'), await at(t, b, 'far', kept), await at(t, a, 'speaker')]
    await near.subscribe('local/+', 1)
    await far.subscribe('crossing/+', 1)
    const order = await at(t, a, 'order')
    let sent = 0
    const stop = new AbortController()
    // One after the other, each when the one before is acknowledged.
    const load = (async () => {
      while (!stop.signal.aborted) {
        const { error } = await order.publish('crossing/x', String(sent), { qos: 1 })
        if (error !== undefined) throw error
        sent++
      }
    })()
    await until(() => sent > 20, 10_000, 'some messages')
    if (way === 'killed') await redis.kill()
    else redis.pause()
    await speaker.publish('local/x', 'zero', { qos: 0 })
    t.equal((await near.next()).text, 'zero', 'QoS 0 at one server')
    await speaker.publish('local/x', 'one', { qos: 1 })
    t.equal((await near.next(undefined, 30_000)).text, 'one', 'QoS 1 that nobody keeps')
    const before = sent
    if (way === 'killed') await redis.restart()
    else redis.resume()
    await until(() => sent > before + 20, 30_000, 'it goes on')
    stop.abort()
    await load
    for (let i = 0; i < sent; i++) {
      const { text } = await far.next(undefined, 30_000)
      if (text !== String(i)) return t.fail(`message ${i}: ${text}`)
    }
    t.pass(`${sent} messages, each once, in order`)
    t.ok([near, far, speaker, order].every(({ client }) => client.connected), 'nobody was disconnected')
    await speaker.publish('crossing/x', 'end', { qos: 1 })
    t.equal((await far.next()).text, 'end')
  })
}

await t.test('a Redis that forgets: subscriptions are written again by who knows them', async t => {
  const here = await world(t, false)
  if (here === undefined) return
  const { cluster: { redis }, a, b } = here
  const first = await at(t, a, 'kept', kept)
  await first.subscribe('forgotten/+', 1)
  await first.end()
  const speaker = await at(t, b, 'speaker')
  await redis.kill()
  await redis.restart()
  const looking = redis.client()
  await until(async () => await looking.sismember('{sabethes:ordinary}:clients', 'ann/kept') === 1, 15_000, 'it is there again')
  await speaker.publish('forgotten/x', 'one', { qos: 1 })
  const second = await at(t, b, 'kept', kept)
  t.equal((await second.next()).text, 'one')
})

await t.test('a write that Redis does not take in time ends the connection, without PUBACK', async t => {
  const cluster = await startCluster(t, 1, { config: { ...config, store: { timeoutMs: 1_000 } } })
  if (cluster === undefined) return
  const server = cluster.servers[0] as Server
  const first = await at(t, server, 'kept', kept)
  await first.subscribe('held/+', 1)
  const speaker = await at(t, server, 'speaker')
  await cluster.redis.kill()
  const closed = new Promise<void>(resolve => { speaker.client.once('close', () => { resolve() }) })
  let acknowledged = false
  speaker.client.publish('held/x', 'one', { qos: 1 }, error => { acknowledged = error == null })
  await closed
  t.equal(acknowledged, false)
})
