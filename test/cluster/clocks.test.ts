/**
 * Three servers of which one has a clock that is 30 s ahead and one that is 30 s behind: order, numbers, sessions and what expires are as with right clocks. Redis'
 * clock is the time of all. `SABETHES_TEST_SECONDS`: length of the load (default 9).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { Test } from 'tap'
import { startCluster } from '../support/cluster.ts'
import { merge, wide } from '../support/configs.ts'
import { nodesOf, sameLists } from '../support/everywhere.ts'
import { LoadRun } from '../support/load-run.ts'
import { device } from '../support/mqtt.ts'
import { peopleOf } from '../support/places.ts'
import { RawClient, json } from '../support/raw-client.ts'
import type { Server } from '../support/server.ts'
import { inTurns } from '../support/twin.ts'

const seconds = Number(process.env.SABETHES_TEST_SECONDS ?? 9)
const offMs = 30_000
t.setTimeout((seconds + 400) * 1000)

const hook = new URL('../support/shifted-clock.js', import.meta.url).href
const off = (aheadMs: number): { env: Record<string, string> } => ({ env: { NODE_OPTIONS: `--import=${hook}`, TEST_CLOCK_AHEAD_MS: String(aheadMs) } })
const config = merge(wide, { store: { timeoutMs: 5000 }, mqtt: { limits: { connectTimeoutMs: 60_000 } } })
const cluster = await startCluster(t, 1, { config })
if (cluster !== undefined) {
  const right = cluster.servers[0] as Server
  const [ahead, behind] = [await cluster.join(off(offMs)), await cluster.join(off(-offMs))]

  /** A session of so many seconds that ends at one server, with a message of so many seconds, goes on at another one. */
  const goesOn = async (t: Test, user: string, from: Server, to: Server, seconds: number): Promise<void> => {
    const alice = await device(t, from.url, 'alice', { version: 5, clientId: `to-${user}` })
    const first = await RawClient.connect(t, from.mqttPort, { version: 5, user, clientId: 'phone', clean: false, properties: { sessionExpiryInterval: seconds } })
    await first.client.subscribe(`im/u/${user}/inbox`)
    await first.client.disconnect()
    const began = Date.now()
    await alice.publish(`im/to/u/${user}`, 'for a while', { properties: { messageExpiryInterval: seconds } })
    const { client, connack } = await RawClient.connect(t, to.mqttPort, { version: 5, user, clientId: 'phone', clean: false, properties: { sessionExpiryInterval: seconds } })
    t.equal(connack.sessionPresent, true, 'the session is there')
    const packet = await client.next()
    const { body, ts } = json(packet) as { body: string, ts: number }
    t.equal(body, 'for a while')
    t.ok(Math.abs(ts - began) < 10_000, `its time is ${ts - began} ms off`)
    const left = packet.properties?.messageExpiryInterval ?? NaN
    t.ok(left > 0 && left <= seconds, `it has ${left} s left`)
    client.cut()
  }

  await t.test('sessions and messages of 20 s last as long at another server', async t => {
    await goesOn(t, 'bob', behind, ahead, 20)
    await goesOn(t, 'carol', ahead, behind, 20)
    await goesOn(t, 'dave', right, ahead, 20)
  })

  await t.test('and no longer', async t => {
    const { client: first } = await RawClient.connect(t, ahead.mqttPort, { version: 5, user: 'eve', clientId: 'phone', clean: false, properties: { sessionExpiryInterval: 2 } })
    await first.disconnect()
    await sleep(4_000)
    const { connack } = await RawClient.connect(t, behind.mqttPort, { version: 5, user: 'eve', clientId: 'phone', clean: false, properties: { sessionExpiryInterval: 2 } })
    t.equal(connack.sessionPresent, false)
  })

  await t.test('under load, with Redis away for a while and a server killed: nothing is lost, doubled or out of order', async t => {
    const people = peopleOf(12)
    const port = await inTurns(t, cluster.servers.map(({ mqttPort }) => mqttPort))
    const run = await LoadRun.start(t, { url: `mqtt://127.0.0.1:${port}`, mqttPort: port }, people, { pauseMs: 150, patienceMs: 120_000, readEach: 5 })
    await sleep(seconds / 3 * 1000)
    await cluster.redis.kill()
    await sleep(seconds / 3 * 1000)
    await cluster.redis.restart()
    await ahead.kill9()
    await sleep(seconds / 3 * 1000)
    await ahead.restart()
    await run.progress(20, 'at the end')
    await run.finish(t)
    const alice = await device(t, right.url, people[0] as string, { clientId: 'times' })
    const { messages } = await alice.result<{ messages: Array<{ seq: number, ts: number }> }>('messages.history', { conv: run.conversations[0]?.conv, limit: 200 })
    const times = messages.map(({ ts }) => ts)
    t.ok(times.length > 0)
    // A message has its time before it is committed, which may take a while.
    const backMs = Math.max(...times.map((ts, i) => (times[i - 1] ?? ts) - ts))
    t.ok(backMs < offMs / 2, `times go back by ${backMs} ms at most`)
    t.ok(times.every(ts => Math.abs(ts - Date.now()) < (seconds + 300) * 1000))
    await run.checkHistory(t, right.url, run.conversations.slice(0, 3))
    await sameLists(t, [right, ahead, behind], people)
    const offsets = new Map((await nodesOf(right)).servers.map(({ name, offsetMs }) => [name, offsetMs ?? NaN]))
    t.ok(Math.abs((offsets.get('n2') ?? NaN) + offMs) < 5_000 && Math.abs((offsets.get('n3') ?? NaN) - offMs) < 5_000, 'operators are told by how much clocks are off')
  })
}
