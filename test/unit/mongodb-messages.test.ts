/** What a page of a log costs with the MongoDB store: how many documents its queries ask for, seen by a collection that counts. */
import t from 'tap'
import type { Connection } from '../../broker/store/mongodb/connection.ts'
import { Messages } from '../../broker/store/mongodb/messages.ts'
import { Rows, defaultCacheSizes } from '../../broker/store/mongodb/rows.ts'

const conv = 'd:a:b'

/** A log of messages of these sizes in bytes, number 1 first. */
function log (sizes: readonly number[]) {
  const limits: number[] = []
  let brought = 0
  const docs = sizes.map((size, i) => ({ s: i + 1, n: i + 1, f: 'a', k: `i${i}`, id: String(i), ts: 1, p: 'x'.repeat(size) }))
  const find = ({ s: { $gt: after, $lt: before } }: { s: { $gt: number, $lt: number } }) => {
    let found = docs.filter(({ s }) => s > after && s < before)
    const cursor = {
      sort: ({ s }: { s: 1 | -1 }) => { if (s < 0) found = found.reverse(); return cursor },
      limit: (count: number) => { limits.push(count); found = found.slice(0, count); return cursor },
      toArray: async () => { brought += found.length; return found }
    }
    return cursor
  }
  const db = { messages: { find } } as unknown as Connection
  const rows = new Rows(db, defaultCacheSizes)
  rows.settle([[conv, { seq: sizes.length, n: sizes.length, ts: 1, purgedSeq: 0, purgedN: 0, oldest: 1, expiring: 0 }]], [])
  return { messages: new Messages(db, rows), limits, brought: () => brought }
}

await t.test('large messages: not the whole log for each page', async t => {
  const { messages, brought } = log(new Array<number>(400).fill(50_000))
  let after = 0
  let pages = 0
  while (after < 400) {
    const page = await messages.messages(conv, { after, limit: 1000, maxBytes: 500_000 })
    t.equal(page.length, Math.min(10, 400 - after))
    after = page.at(-1)?.seq ?? Infinity
    pages++
  }
  t.ok(brought() < 400 * 4, `${brought()} documents for 400 messages in ${pages} pages`)
})

await t.test('small ones behind large ones: a page in few queries', async t => {
  const { messages, limits } = log([...new Array<number>(20).fill(60_000), ...new Array<number>(3000).fill(100)])
  await messages.messages(conv, { limit: 1000, maxBytes: 1_000_000 })
  limits.length = 0
  const page = await messages.messages(conv, { after: 20, limit: 3000, maxBytes: 1_000_000 })
  t.strictSame(page.map(({ seq }) => seq), Array.from({ length: 3000 }, (_, i) => i + 21))
  t.ok(limits.length <= 10, `${limits.join()}`)
  const newest = await messages.messages(conv, { limit: 7, maxBytes: 650, newest: true })
  t.strictSame(newest.map(({ seq }) => seq), [3015, 3016, 3017, 3018, 3019, 3020])
  const one = await messages.messages(conv, { limit: 7, maxBytes: 1 })
  t.strictSame(one.map(({ seq }) => seq), [1], 'at least one')
})
