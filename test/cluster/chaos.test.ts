/**
 * Three servers under load: one is killed and another one joins, Redis dies for a while, MongoDB dies for a while, the killed one comes back.
 * Promised: nothing acknowledged is lost, doubled or out of order on any device, numbers have no gaps, and every server tells the same unread numbers.
 *
 * `SABETHES_TEST_SECONDS`: length of the load (default 18; the bar is 60); a third of it each for Redis and MongoDB to be away. `SABETHES_TEST_USERS`: people, 20 at least (the bar is 60).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Checker } from '../support/checker.ts'
import { startCluster } from '../support/cluster.ts'
import { merge, wide } from '../support/configs.ts'
import { Complaints, Sender, receiver } from '../support/load.ts'
import type { Place } from '../support/load.ts'
import { until } from '../support/mailbox.ts'
import { device } from '../support/mqtt.ts'
import { history } from '../support/places.ts'
import { inTurns } from '../support/twin.ts'

const seconds = Number(process.env.SABETHES_TEST_SECONDS ?? 18)
const awayMs = seconds / 3 * 1000
const people = Array.from({ length: Number(process.env.SABETHES_TEST_USERS ?? 20) }, (_, i) => `u${i}`)
const direct = (a: string, b: string): string => a < b ? `d:${a}:${b}` : `d:${b}:${a}`
t.setTimeout((seconds + 240) * 1000)

const cluster = await startCluster(t, 3, { config: merge(wide, { store: { timeoutMs: 5000 } }) })
if (cluster !== undefined) {
  await t.test(`${people.length} people with two devices, ${seconds} s`, async t => {
    const { servers, redis, mongodb } = cluster
    const [first, second] = servers as [typeof servers[0], typeof servers[0]]
    const fourth = { port: 0 }
    const ports = servers.map(({ mqttPort }) => mqttPort)
    const port = await inTurns(t, ports)
    const url = `mqtt://127.0.0.1:${port}`
    const checker = new Checker()
    const complaints = new Complaints()

    // Direct conversations of the first half, groups of four with the others.
    const places = new Map<string, Place[]>(people.map(user => [user, []]))
    const half = people.length / 2
    for (let i = 0; i + 1 < half; i += 2) {
      const [a, b] = [people[i] as string, people[i + 1] as string]
      checker.conversation(direct(a, b), [a, b])
      places.get(a)?.push({ conv: direct(a, b), topic: `im/to/u/${b}` })
      places.get(b)?.push({ conv: direct(a, b), topic: `im/to/u/${a}` })
    }
    for (let g = 0; g * 2 < half; g++) {
      const members = [0, 1, 2, 3].map(i => people[half + (g * 2 + i) % half] as string)
      const founder = await device(t, url, members[0] as string, { clientId: 'founder' })
      await founder.result('groups.create', { gid: `team${g}`, name: `Team ${g}`, members: members.slice(1) })
      await founder.end()
      checker.conversation(`g:team${g}`, members, 2)
      for (const user of members) places.get(user)?.push({ conv: `g:team${g}`, topic: `im/to/g/team${g}` })
    }
    const wanted = people.filter(user => (places.get(user)?.length ?? 0) > 0)
    for (const user of wanted) for (const name of ['phone', 'tablet']) await receiver(t, url, checker, user, name)
    const senders = wanted.map((user, i) => new Sender(t, { url, mqttPort: port }, checker, complaints, user, places.get(user) as Place[], { withCid: i % 2 === 0, pauseMs: 200 }))
    const failed = Promise.all(senders.map(async sender => { await sender.run() }))
    failed.catch((cause: Error) => { complaints.add(cause.message) })

    const say = (what: string): void => { t.comment(`${what}: ${checker.acknowledgedCount} acknowledged`) }
    await sleep(awayMs / 4)
    await second.kill9()
    say('a server was killed')
    const joined = await cluster.join()
    ports.push(fourth.port = joined.mqttPort)
    say('another one has joined')
    await sleep(awayMs / 4)
    await redis.kill()
    say('Redis is away')
    await sleep(awayMs)
    await redis.restart()
    say('Redis is back')
    await sleep(awayMs / 4)
    await mongodb.kill9()
    say('MongoDB is away')
    await sleep(awayMs)
    await mongodb.restart()
    say('MongoDB is back')
    await second.restart()
    await sleep(awayMs / 4)
    const mark = checker.acknowledgedCount
    await until(() => checker.acknowledgedCount >= mark + 50, 60_000, 'acknowledgements at the end')
    for (const sender of senders) sender.stop()
    await failed
    await until(() => checker.missing() === 0, 60_000, 'the receivers').catch((cause: Error) => { t.comment(cause.message) })

    const findings = checker.findings()
    t.comment(`${checker.sentCount} sent, ${checker.acknowledgedCount} acknowledged`)
    t.equal(checker.acknowledgedCount, checker.sentCount, 'in the end everything is acknowledged')
    t.same(complaints.list, [], 'nobody was refused')
    for (const [kind, list] of Object.entries(findings) as Array<[string, string[]]>) t.same(list.slice(0, 20), [], `${kind}: ${list.length}`)

    const [a, b] = [people[0] as string, people[1] as string]
    const reader = await device(t, first.url, a, { clientId: 'reader' })
    const log = await history(reader, direct(a, b))
    t.ok(log.length > 0)
    t.same(log.map(one => one.seq), log.map((_, i) => i + 1), 'history has no gaps')
    await reader.end()
    for (const user of wanted.slice(0, 4)) {
      const lists = await Promise.all([first, second, joined].map(async server => {
        const looking = await device(t, server.url, user, { clientId: `looks-${server.mqttPort}` })
        const { conversations } = await looking.result<{ conversations: Array<{ conv: string, seq: number, unread: number, readSeq: number }> }>('conversations.list')
        await looking.end()
        return conversations.map(({ conv, seq, unread, readSeq }) => ({ conv, seq, unread, readSeq }))
      }))
      t.same(lists[1], lists[0], `${user}: the same list at the second server`)
      t.same(lists[2], lists[0], `${user}: and at the one that joined`)
    }
  })
}
