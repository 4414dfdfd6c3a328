/** 20 senders, 10 conversations, two devices for each receiver, five `kill -9` under load. */
import t from 'tap'
import { Checker } from '../support/checker.ts'
import { wide } from '../support/configs.ts'
import { LoadRun } from '../support/load-run.ts'
import { people } from '../support/places.ts'
import { startServer } from '../support/server.ts'
import { sized } from '../support/store-choice.ts'

const kills = 5
/** Acknowledgements between two kills, at least. */
const load = sized({ level: 100, mongodb: 60 })

await t.test('nothing acknowledged is lost, doubled or out of order on any device', async t => {
  const server = await startServer(t, { config: wide })
  const run = await LoadRun.start(t, server, people, { pauseMs: 40 })
  for (let kill = 1; kill <= kills; kill++) {
    await run.progress(load, `before kill ${kill}`)
    await new Promise(resolve => setTimeout(resolve, Math.random() * 300))
    await server.kill9()
    const began = Date.now()
    await server.restart()
    t.comment(`kill ${kill}: ${run.checker.acknowledgedCount} acknowledged, serving again after ${Date.now() - began} ms`)
  }
  await run.progress(load, 'after the last kill')
  await run.finish(t)
  await run.checkHistory(t, server.url, run.conversations.slice(0, 1))
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
