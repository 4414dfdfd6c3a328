/**
 * Three servers, one of which is cut off for a while under load: from Redis, and from Redis and MongoDB. Packets are dropped, and no connection ends: each side finds out by
 * itself. Promised is what chaos.test.ts promises. `SABETHES_TEST_SECONDS`: length of a cut (default 8; the bar is 20).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { Test } from 'tap'
import { startCluster } from '../support/cluster.ts'
import type { Cluster } from '../support/cluster.ts'
import { merge, wide } from '../support/configs.ts'
import { canCut, joinBehindLinks } from '../support/cut-off.ts'
import type { LinkName } from '../support/cut-off.ts'
import { nodesOf, oneSessionEach, sameLists } from '../support/everywhere.ts'
import { LoadRun } from '../support/load-run.ts'
import { until } from '../support/mailbox.ts'
import { device } from '../support/mqtt.ts'
import { peopleOf } from '../support/places.ts'
import type { Server } from '../support/server.ts'
import { inTurns } from '../support/twin.ts'

const cutMs = Number(process.env.SABETHES_TEST_SECONDS ?? 8) * 1000
const people = peopleOf(Number(process.env.SABETHES_TEST_USERS ?? 12))
/** So long a server that does not reach MongoDB keeps its place (docs/mongodb.md). */
const leaseMs = 15_000
t.setTimeout(2 * cutMs + 600_000)

const config = merge(wide, { store: { timeoutMs: 5000 }, mqtt: { limits: { connectTimeoutMs: 60_000 } } })

async function cutApart (t: Test, cluster: Cluster, links: LinkName[]): Promise<void> {
  const [first, second] = cluster.servers as [Server, Server]
  const cutOff = await joinBehindLinks(t, cluster)
  const third = cutOff.server
  const all = [first, second, third]
  const port = await inTurns(t, all.map(({ mqttPort }) => mqttPort))
  const run = await LoadRun.start(t, { url: `mqtt://127.0.0.1:${port}`, mqttPort: port }, people, { pauseMs: people.length * 20, patienceMs: 120_000, readEach: 5 })
  const linked = async (): Promise<boolean> => (await nodesOf(third)).linked && (await nodesOf(first)).servers.length === 3
  await until(linked, 30_000, 'three servers')
  await run.progress(people.length, 'before the cut')
  cutOff.cut(...links)
  const cutAt = performance.now()
  await until(async () => !(await nodesOf(third)).linked, 20_000, 'the server to miss Redis')
  t.comment(`Redis was missed after ${Math.round(performance.now() - cutAt)} ms`)
  await until(async () => (await nodesOf(first)).servers.length === 2, 20_000, 'the others to miss the server')
  await run.progress(1, 'of the others meanwhile')
  await sleep(Math.max(0, cutMs - (performance.now() - cutAt)))
  cutOff.heal()
  const healedAt = performance.now()
  if (links.includes('mongodb') && cutMs > leaseMs) {
    t.not(await third.ended(), 0, 'a server whose place others have taken ends')
    await third.restart()
    t.comment(`it was started anew, as what watches over it does, after ${Math.round(performance.now() - healedAt)} ms`)
  }
  await until(linked, 30_000, 'all to know each other')
  const knownMs = performance.now() - healedAt
  t.comment(`cut for ${Math.round(healedAt - cutAt)} ms; they knew each other again after ${Math.round(knownMs)} ms`)
  t.ok(knownMs < 15_000, 'soon')
  const isReady = async (): Promise<boolean> => await fetch(`http://127.0.0.1:${third.httpPort}/readyz`).then(({ status }) => status === 200)
  await until(isReady, 30_000, 'the server to be ready')
  t.comment(`it was ready after ${Math.round(performance.now() - healedAt)} ms`)
  // A message from one side to the other, live.
  const [here, there] = [await device(t, first.url, 'here', { options: { connectTimeout: 30_000 } }), await device(t, third.url, 'there', { options: { connectTimeout: 30_000 } })]
  await there.subscribe('im/u/there/inbox')
  await here.client.publishAsync('im/to/u/there', 'across', { qos: 1 })
  t.comment(`acknowledged after ${Math.round(performance.now() - healedAt)} ms`)
  t.match(await there.nextJson('im/u/there/inbox', 60_000), { body: 'across' })
  t.comment(`a message went across ${Math.round(performance.now() - healedAt)} ms after the cut`)
  await Promise.all([here.end(), there.end()])
  await run.progress(people.length, 'after the cut')
  await run.finish(t)
  await oneSessionEach(t, first, run.clients)
  await run.checkHistory(t, third.url, run.conversations.slice(0, 4))
  await sameLists(t, all, people)
}

if (canCut(t)) {
  for (const links of [['redis'], ['redis', 'mongodb']] satisfies LinkName[][]) {
    await t.test(`cut off from ${links.join(' and ')}`, async t => {
      const cluster = await startCluster(t, 2, { config })
      if (cluster !== undefined) await cutApart(t, cluster, links)
    })
  }
}
