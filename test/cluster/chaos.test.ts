/**
 * Three servers under load: one is killed and another one joins, Redis dies for a while, MongoDB dies for a while, the killed one comes back.
 * Promised: nothing acknowledged is lost, doubled or out of order on any device, numbers have no gaps, a client id has one session, and every server tells the same unread numbers.
 *
 * `SABETHES_TEST_SECONDS`: length of the load (default 18; the bar is 60); a third of it each for Redis and MongoDB to be away. `SABETHES_TEST_USERS`: people, 20 at least (the bar is 60).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { startCluster } from '../support/cluster.ts'
import { merge, wide } from '../support/configs.ts'
import { nodesOf, oneSessionEach, sameLists } from '../support/everywhere.ts'
import { LoadRun } from '../support/load-run.ts'
import { until } from '../support/mailbox.ts'
import { peopleOf } from '../support/places.ts'
import { RawClient } from '../support/raw-client.ts'
import type { Server } from '../support/server.ts'
import { inTurns } from '../support/twin.ts'

const seconds = Number(process.env.SABETHES_TEST_SECONDS ?? 18)
const awayMs = seconds / 3 * 1000
const people = peopleOf(Number(process.env.SABETHES_TEST_USERS ?? 20))
/** All of them together send fifty messages a second, as far as the database takes them. */
const pauseMs = people.length * 20
t.setTimeout((seconds + 480) * 1000)

// The stand-in for MongoDB reads whole collections: on a busy machine a commit takes seconds, and a hundred sessions that come back at once longer than a CONNACK may.
const config = merge(wide, { store: { timeoutMs: 15_000 }, cluster: { requestTimeoutMs: 4_000 }, mqtt: { limits: { connectTimeoutMs: 60_000 } } })
const cluster = await startCluster(t, 3, { config })
if (cluster !== undefined) {
  await t.test(`${people.length} people with two devices, ${seconds} s`, async t => {
    const { servers, redis, mongodb } = cluster
    const [first, second, third] = servers as [Server, Server, Server]
    const ports = servers.map(({ mqttPort }) => mqttPort)
    const port = await inTurns(t, ports)
    const run = await LoadRun.start(t, { url: `mqtt://127.0.0.1:${port}`, mqttPort: port }, people, { pauseMs, patienceMs: 120_000, readEach: 5 })
    const say = (what: string): void => { t.comment(`${what}: ${run.checker.acknowledgedCount} acknowledged`) }

    await run.progress(people.length, 'before anything happens')
    await sleep(awayMs / 4)
    await second.kill9()
    say('a server was killed')
    const joined = await cluster.join()
    ports.push(joined.mqttPort)
    say('another one has joined')
    await sleep(awayMs / 4)
    await redis.kill()
    say('Redis is away')
    const away = Date.now()
    // Nobody can know of the others meanwhile.
    const twins = await Promise.all([first, third, joined].map(async server => (await RawClient.connect(t, server.mqttPort, { user: 'twin', clientId: 'phone', clean: true, keepaliveSeconds: 0 })).client))
    await sleep(Math.max(0, awayMs - (Date.now() - away)))
    await redis.restart()
    say('Redis is back')
    let left = twins.length
    for (const twin of twins) twin.closed.then(() => { left-- }, () => {})
    await sleep(awayMs / 4)
    await mongodb.kill9()
    say('MongoDB is away')
    await sleep(awayMs)
    await mongodb.restart()
    say('MongoDB is back')
    await second.restart()
    await sleep(awayMs / 4)
    await run.progress(50, 'at the end')
    await run.finish(t)

    t.equal(left, 1, 'of three connections of one client id one is left')
    await until(async () => (await nodesOf(first)).servers.length === 4, 30_000, 'four servers')
    await oneSessionEach(t, first, run.clients + left)
    await run.checkHistory(t, first.url, run.conversations.slice(0, 5))
    const unread = await sameLists(t, [first, second, third, joined], people)
    t.comment(`${unread} messages are unread`)
  })
}
