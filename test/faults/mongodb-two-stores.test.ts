/**
 * Two processes that both believe to own every conversation of one database: numbers stay unique and without gaps, and what
 * a client sent through both is stored once. `SABETHES_TEST_SECONDS`: length of the load (default 8).
 */
import t from 'tap'
import type { NewMessage, Outcome } from '../../broker/store/store.ts'
import { openMongoStore } from '../../broker/store/mongodb/store.ts'
import { message } from '../contract/operations.ts'
import { mongodbServer } from '../support/mongodb.ts'

const seconds = Number(process.env.SABETHES_TEST_SECONDS ?? 8)
const convs = ['d:a:b', 'd:a:c', 'g:one', 'g:two', 'd:b:c']
t.setTimeout((seconds + 150) * 1000)
const server = await mongodbServer(t)

await t.test(`two stores, ${seconds} s`, { skip: server === undefined, timeout: (seconds + 120) * 1000 }, async t => {
  if (server === undefined) return
  const options = { url: server.url, database: server.database, timeoutMs: 20_000 }
  const stores = [await openMongoStore(options), await openMongoStore(options)]
  for (const store of stores) t.teardown(() => store.close())
  const until = Date.now() + seconds * 1000
  let shared = 0
  const sent: Array<Array<{ op: NewMessage, outcome: Outcome }>> = [[], []]
  await Promise.all(stores.map(async (store, which) => {
    for (let round = 0; Date.now() < until; round++) {
      const ops = Array.from({ length: 1 + Math.floor(Math.random() * 12) }, (_, i) => {
        const conv = convs[Math.floor(Math.random() * convs.length)] as string
        const from = conv.startsWith('g:') ? 'a' : conv.charAt(2)
        const roll = Math.random()
        // A client that sent through both nodes at about the same time, a client with cids, and one without.
        const cid = roll < 0.4 ? `shared-${Math.floor((shared += 0.5))}` : roll < 0.7 ? `own-${which}-${round}-${i}` : undefined
        return message(conv, from, { id: `s${which}-${round}-${i}`, counts: Math.random() < 0.8, ...(cid === undefined ? {} : { cid }) })
      })
      const outcomes = await store.commit(ops)
      for (const [i, op] of ops.entries()) sent[which]?.push({ op, outcome: outcomes[i] as Outcome })
    }
  }))

  const fresh = await openMongoStore(options)
  t.teardown(() => fresh.close())
  let total = 0
  for (const conv of convs) {
    const log = await fresh.messages(conv, { limit: 1e6 })
    total += log.length
    t.same(log.map(m => m.seq), log.map((_, i) => i + 1), `${conv}: numbers without gaps`)
    t.equal(new Set(log.map(m => m.id)).size, log.length, 'no message twice')
    let n = 0
    t.ok(log.every(m => m.n === (n += m.counts ? 1 : 0)), 'n counts')
    const at = new Map(log.map(m => [m.seq, m]))
    for (const mine of sent) {
      const here = mine.filter(({ op }) => op.conv === conv)
      t.ok(here.every(({ outcome }) => at.get(outcome.seq)?.id === outcome.id), 'each answer names the stored message')
      const own = here.filter(({ outcome }) => !outcome.replay).map(({ outcome }) => outcome.seq)
      t.same(own, [...own].sort((a, b) => a - b), 'in the order of arrival')
    }
    const answers = sent.flat().filter(({ op }) => op.conv === conv)
    t.equal(answers.filter(({ outcome }) => !outcome.replay).length, log.length, 'each stored message was answered as new once')
    const byCid = new Map<string, Set<string>>()
    for (const { op, outcome } of answers) {
      if (op.cid === undefined) continue
      const ids = byCid.get(op.cid) ?? new Set()
      byCid.set(op.cid, ids.add(outcome.id))
    }
    t.ok([...byCid.values()].every(ids => ids.size === 1), 'one id for each client message id')
    t.match(await fresh.heads([conv]), [{ seq: log.length, n }])
  }
  t.ok(sent.flat().some(({ outcome }) => outcome.replay), 'and there were repeats')
  t.comment(`${total} messages, ${sent.flat().filter(({ outcome }) => outcome.replay).length} repeats`)
})
