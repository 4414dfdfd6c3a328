/** 20 senders, 10 conversations, two devices for each receiver, five `kill -9` under load. */
import t from 'tap'
import { Checker } from '../support/checker.ts'
import { wide } from '../support/configs.ts'
import { Complaints, Sender, receiver } from '../support/load.ts'
import type { Place } from '../support/load.ts'
import { until } from '../support/mailbox.ts'
import { device } from '../support/mqtt.ts'
import { startServer } from '../support/server.ts'
import { sized } from '../support/store-choice.ts'

const kills = 5
/** Acknowledgements between two kills, at least. */
const load = sized({ level: 100, mongodb: 60 })
const people = Array.from({ length: 20 }, (_, i) => `u${i}`)
const direct = (a: string, b: string): string => a < b ? `d:${a}:${b}` : `d:${b}:${a}`

await t.test('nothing acknowledged is lost, doubled or out of order on any device', async t => {
  const server = await startServer(t, { config: wide })
  const checker = new Checker()
  const complaints = new Complaints()

  // Five direct conversations of the first ten, five groups of four with the last ten.
  const places = new Map<string, Place[]>(people.map(user => [user, []]))
  for (let i = 0; i < 10; i += 2) {
    const [a, b] = [people[i] as string, people[i + 1] as string]
    checker.conversation(direct(a, b), [a, b])
    places.get(a)?.push({ conv: direct(a, b), topic: `im/to/u/${b}` })
    places.get(b)?.push({ conv: direct(a, b), topic: `im/to/u/${a}` })
  }
  for (let g = 0; g < 5; g++) {
    const members = [0, 1, 2, 3].map(i => people[10 + (g * 2 + i) % 10] as string)
    const founder = await device(t, server.url, members[0] as string, { clientId: 'founder' })
    await founder.result('groups.create', { gid: `team${g}`, name: `Team ${g}`, members: members.slice(1) })
    await founder.end()
    checker.conversation(`g:team${g}`, members, 2)
    for (const user of members) places.get(user)?.push({ conv: `g:team${g}`, topic: `im/to/g/team${g}` })
  }

  for (const user of people) for (const name of ['phone', 'tablet']) await receiver(t, server.url, checker, user, name)
  const senders = people.map((user, i) =>
    new Sender(t, server, checker, complaints, user, places.get(user) as Place[], { withCid: i % 2 === 0, pauseMs: 40 }))
  const running = senders.map(async sender => { await sender.run() })
  const failed = Promise.all(running)
  // A sender's failure is reported at the end, by `failed`.
  failed.catch((cause: Error) => { complaints.add(cause.message) })

  for (let kill = 1; kill <= kills; kill++) {
    const mark = checker.acknowledgedCount
    await until(() => checker.acknowledgedCount >= mark + load, 60_000, `${load} acknowledgements before kill ${kill}`)
    await new Promise(resolve => setTimeout(resolve, Math.random() * 300))
    await server.kill9()
    const began = Date.now()
    await server.restart()
    t.comment(`kill ${kill}: ${checker.acknowledgedCount} acknowledged, serving again after ${Date.now() - began} ms`)
  }
  const mark = checker.acknowledgedCount
  await until(() => checker.acknowledgedCount >= mark + load, 60_000, `${load} acknowledgements after the last kill`)
  for (const sender of senders) sender.stop()
  await failed
  await until(() => checker.missing() === 0, 30_000, 'the receivers').catch((cause: Error) => { t.comment(cause.message) })

  const findings = checker.findings()
  t.comment(`${checker.sentCount} sent, ${checker.acknowledgedCount} acknowledged`)
  t.equal(checker.acknowledgedCount, checker.sentCount, 'in the end everything is acknowledged')
  t.same(complaints.list, [], 'nobody was refused')
  for (const [kind, list] of Object.entries(findings) as Array<[string, string[]]>) t.same(list.slice(0, 20), [], `${kind}: ${list.length}`)
  for (const user of people) t.ok(checker.receivedCount(`${user}/phone`) > 0, `${user} received something`)

  // Numbers without gaps: the checker's own view of each log, from outside.
  const [a, b] = [people[0] as string, people[1] as string]
  const reader = await device(t, server.url, a, { clientId: 'reader' })
  let after = 0
  for (;;) {
    const { messages } = await reader.result<{ messages: Array<{ seq: number }> }>('messages.history', { conv: direct(a, b), after, limit: 50 })
    if (messages.length === 0) break
    t.same(messages.map(one => one.seq), messages.map((_, i) => after + i + 1), 'history has no gaps')
    after += messages.length
  }
  t.ok(after > 0)
})

await t.test('the checker sees what it should', async t => {
  const at = (seq: number, body: string, id = body, conv = 'c', from = 'a') => ({ seq, body, id, conv, from })
  const fresh = (): Checker => {
    const checker = new Checker()
    checker.conversation('c', ['a', 'b'])
    checker.device('b/1', 'b')
    for (const body of ['m1', 'm2', 'm3']) {
      checker.sent('a', 'c', body)
      checker.acknowledged(body)
    }
    return checker
  }
  const judge = (feed: (checker: Checker) => void): string[] => {
    const checker = fresh()
    feed(checker)
    return Object.entries(checker.findings()).filter(([, list]) => list.length > 0).map(([kind]) => kind)
  }
  const all = (checker: Checker, ...items: Array<ReturnType<typeof at>>): void => { for (const item of items) checker.received('b/1', item) }
  t.same(judge(c => all(c, at(1, 'm1'), at(2, 'm2'), at(3, 'm3'))), [])
  t.same(judge(c => { all(c, at(1, 'm1'), at(2, 'm2')); c.reconnected('b/1'); all(c, at(2, 'm2'), at(3, 'm3')) }), [], 'again after a reconnect')
  t.same(judge(c => all(c, at(1, 'm1'), at(2, 'm2'))), ['lost'])
  t.same(judge(c => all(c, at(1, 'm1'), at(2, 'm2'), at(2, 'm2'), at(3, 'm3'))), ['duplicates'], 'twice in one connection')
  t.same(judge(c => all(c, at(1, 'm1'), at(2, 'm2'), at(3, 'm3'), at(4, 'm3', 'other'))), ['duplicates'], 'one body under two ids')
  t.same(judge(c => { c.mayRepeat('m2'); all(c, at(1, 'm1'), at(2, 'm2'), at(3, 'm3'), at(4, 'm2', 'other')) }), [], 'one that may be stored twice')
  t.same(judge(c => { c.mayRepeat('m2'); all(c, at(1, 'm1'), at(2, 'm2'), at(3, 'm3'), at(4, 'm3', 'other')) }), ['duplicates'], 'another one may not')
  t.match(judge(c => { c.mayRepeat('m1'); all(c, at(1, 'm2'), at(2, 'm1'), at(3, 'm3')) }), ['reordered'], 'nor come late')
  t.match(judge(c => all(c, at(1, 'm1'), at(3, 'm3'), at(2, 'm2'))), ['reordered'])
  t.match(judge(c => all(c, at(1, 'm2'), at(2, 'm1'), at(3, 'm3'))), ['reordered'], "against the sender's order")
  t.ok(judge(c => all(c, at(1, 'm1'), at(2, 'm2'), at(4, 'm3'))).includes('gaps'))
  t.ok(judge(c => all(c, at(1, 'm1'), at(2, 'm2'), at(3, 'm3'), at(4, 'evil'))).includes('wrongRecipient'))
  t.ok(judge(c => { c.device('e/1', 'e'); all(c, at(1, 'm1'), at(2, 'm2'), at(3, 'm3')); c.received('e/1', at(1, 'm1')) }).includes('wrongRecipient'))
})
