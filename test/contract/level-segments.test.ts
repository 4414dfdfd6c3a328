/** Messages of one conversation in many segments: every way to read and to remove them, against the list of what was written. */
import { join } from 'node:path'
import t from 'tap'
import type { Store } from '../../broker/store/store.ts'
import { openLevelStore } from '../../broker/store/level/store.ts'
import { Database } from '../../broker/store/level/database.ts'
import { key, under } from '../../broker/store/level/keys.ts'
import { message } from './operations.ts'

const conv = 'd:a:b'
/** Conversations whose ids surround it in the order of keys. */
const neighbours = ['d:a:a', 'd:a:b-', 'd:a:c']
const count = 40

async function filled (path: string): Promise<Store> {
  const store = await openLevelStore({ path, segmentLength: 300 })
  for (let i = 1; i <= count; i++) {
    await store.commit([message(conv, 'a', { id: `m${i}`, ts: i }), ...neighbours.map(each => message(each, 'a', { id: `${each} ${i}`, ts: i }))])
  }
  return store
}

/** The `j` rows of the conversation, and the segments in which any message lies. */
async function rows (path: string): Promise<{ named: number[], used: number[] }> {
  const db = new Database({ path, blockCacheBytes: 1 << 20, writeBufferBytes: 1 << 20, create: true, retryIntervalMs: 250 })
  await db.open()
  try {
    const named = (await db.rows(under(key.segments(conv)))).map(([, text]) => Number(text))
    const used = new Set((await db.rows(under(key.messages()))).map(([name]) => name.split('\x00')[1] as string))
    return { named, used: [...used].map(text => parseInt(text.slice(1), 36)) }
  } finally {
    await db.close()
  }
}

await t.test('every range, both ways', async t => {
  const path = join(t.testdir(), 'store')
  const store = await filled(path)
  t.teardown(() => store.close())
  const wrong: unknown[] = []
  const all = Array.from({ length: count }, (_, i) => i + 1)
  for (let after = 0; after <= count; after += 1) {
    for (const before of [after + 1, after + 2, after + 7, count, count + 1, Infinity]) {
      for (const limit of [1, 5, 100]) {
        for (const newest of [false, true]) {
          const inside = all.filter(seq => seq > after && seq < before)
          const expected = newest ? inside.slice(-limit) : inside.slice(0, limit)
          const found = await store.messages(conv, { after, before, limit, newest })
          if (found.map(({ id }) => id).join() !== expected.map(seq => `m${seq}`).join()) wrong.push({ after, before, limit, newest, found })
        }
      }
    }
  }
  t.same(wrong, [])
  const at = await store.messagesAt([-1, 0, ...all, count + 1].map(seq => ({ conv, seq })))
  t.same(at.map(one => one?.id), [undefined, undefined, ...all.map(seq => `m${seq}`), undefined])
  t.same(await store.messagesAt([{ conv: 'd:no:one', seq: 1 }]), [undefined])
})

await t.test('a segment ends by its length, and opening goes on with the newest', async t => {
  const path = join(t.testdir(), 'store')
  await (await filled(path)).close()
  const { named, used } = await rows(path)
  t.ok(named.length > 5 && named.length < count, `${named.length} segments of ${count} commits`)
  t.same(named, used, 'the conversation is in all of them')
  t.same(named, [...named].sort((a, b) => a - b))
  const again = await openLevelStore({ path, segmentLength: 1 << 20 })
  await again.commit([message(conv, 'b', { id: 'later' })])
  await again.close()
  const after = await rows(path)
  t.ok((after.used.at(-1) as number) <= (used.at(-1) as number) + 1)
  t.ok(after.named.includes(after.used.at(-1) as number))
})

await t.test('purged in steps that end within segments, and written to in between', async t => {
  const path = join(t.testdir(), 'store')
  let store = await filled(path)
  t.teardown(() => store.close())
  let written = count
  for (let purged = 0; purged < count;) {
    purged += 7
    await store.purge(purged + 1, 1000)
    await store.commit([message(conv, 'b', { id: `m${++written}`, ts: written })])
    const found = await store.messages(conv, { limit: 100 })
    t.same(found.map(({ id }) => id), Array.from({ length: written - purged }, (_, i) => `m${purged + i + 1}`), `after ${purged}`)
  }
  t.equal(await store.purge(Date.now(), 1000) > 0, true)
  t.same(await store.messages(conv, { limit: 100 }), [])
  await store.close()
  const left = await rows(path)
  t.equal(left.named.length, 1, 'of the segments only the newest is still named')
  t.same(left.used, [], 'nothing else is left')
  store = await openLevelStore({ path, segmentLength: 300 })
  const [out] = await store.commit([message(conv, 'b', { id: 'again' })])
  t.equal(out?.seq, written + 1)
  t.same((await store.messages(conv, { limit: 9 })).map(({ id }) => id), ['again'])
})
