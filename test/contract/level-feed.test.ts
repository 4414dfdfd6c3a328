/** The feed of the embedded store: what it costs, and what becomes of it when writes fail or rows are damaged. */
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import t from 'tap'
import type { Test } from 'tap'
import type { Database } from '../../broker/store/level/database.ts'
import { LevelFeed } from '../../broker/store/level/feed.ts'
import { inspectLevelDeep } from '../../broker/store/level/deep-inspection.ts'
import { decodeFeedRow, encodeFeedRow } from '../../broker/store/level/feed-codec.ts'
import { key } from '../../broker/store/level/keys.ts'
import { openLevelStore, restoreLevelBackup } from '../../broker/store/level/store.ts'
import type { LevelStoreOptions } from '../../broker/store/level/store.ts'
import type { Store } from '../../broker/store/store.ts'
import { drain, short } from './feed-contract.ts'
import { direct, message } from './operations.ts'

const now = { from: 'now', createdAt: 1 } as const

async function opened (t: Test, options: Partial<LevelStoreOptions> = {}): Promise<{ store: Store, path: string }> {
  const path = options.path ?? join(t.testdir(), 'store')
  const store = await openLevelStore({ ...options, path })
  t.teardown(() => store.close())
  return { store, path }
}

async function change (path: string, job: (db: ClassicLevel<string, string>) => Promise<void>): Promise<void> {
  const db = new ClassicLevel<string, string>(join(path, 'db'))
  await job(db)
  await db.close()
}

await t.test('a commit writes one row more while somebody reads, and none otherwise', async t => {
  const rows: number[] = []
  const { store } = await opened(t, { onSync: count => rows.push(count) })
  const commit = async (): Promise<number | undefined> => {
    rows.length = 0
    await store.commit([message(direct, 'alice'), message(direct, 'bob'), message('d:alice:carol', 'alice')])
    return rows[0]
  }
  await commit()
  const usual = await commit() as number
  await store.feed.register('audit', now)
  t.equal(await commit(), usual + 1)
  t.equal(rows.length, 1, 'in one synced write')
  rows.length = 0
  await store.commit([{ op: 'event', user: 'bob', ts: 1, content: '{"kind":"x"}' }])
  const events = rows[0]
  await store.feed.acknowledge('audit', 2)
  t.equal(rows.length, 1, 'a cursor is not synced')
  await store.feed.remove('audit')
  t.equal(await commit(), usual)
  rows.length = 0
  await store.commit([{ op: 'event', user: 'bob', ts: 1, content: '{"kind":"x"}' }])
  t.equal(rows[0], events, 'nor one for what is no message')
})

await t.test('a commit that fails leaves nothing in the feed, and its positions are given again', async t => {
  let failing = false
  let fail: 'before' | 'after' = 'before'
  const faults = {
    beforeWrite: () => { if (failing && fail === 'before') throw Object.assign(new Error('EIO'), { code: 'EIO' }) },
    afterWrite: () => { if (failing && fail === 'after') throw Object.assign(new Error('EIO'), { code: 'EIO' }) }
  }
  const { store, path } = await opened(t, { faults, retryIntervalMs: 1 })
  await store.feed.register('audit', now)
  await store.commit([message(direct, 'alice')])
  for (fail of ['before', 'after'] as const) {
    failing = true
    await t.rejects(store.commit([message(direct, 'bob', { cid: fail })]))
    failing = false
    for (;;) {
      const [outcome] = await Promise.allSettled([store.commit([message(direct, 'bob', { cid: fail })])])
      if (outcome.status === 'fulfilled') break
      await store.health().catch(() => { /* not yet open anew */ })
    }
  }
  t.same(short(await drain(store, 'audit')), [`${direct} 1`, `${direct} 2`, `${direct} 3`])
  await store.close()
  const again = await opened(t, { path })
  t.equal(await again.store.feed.end(), 3)
  await again.store.commit([message(direct, 'alice')])
  t.same(short(await drain(again.store, 'audit')), [`${direct} 4`])
})

await t.test('a damaged row is a gap, wherever it is; a reader without its row begins again', async t => {
  for (const damaged of [1, 3, 5]) {
    const { store, path } = await opened(t, { path: join(t.testdir(), `store${damaged}`) })
    await store.feed.register('audit', now)
    await store.feed.register('other', now)
    for (let i = 0; i < 3; i++) await store.commit([message(direct, 'alice'), message(direct, 'bob')])
    await store.feed.acknowledge('audit', 2)
    await store.close()
    await change(path, async db => {
      await db.put(key.feedRow(damaged), 'altered')
      await db.put(key.feedReader('other'), 'altered')
    })
    const rows: string[] = []
    const again = (await opened(t, { path, onDamage: row => rows.push(row) })).store
    t.ok(rows.includes(key.feedReader('other')), 'it is told')
    await again.commit([message(direct, 'alice')])
    for (const [name, from] of [['audit', 2], ['other', 0]] as const) {
      const all = await drain(again, name)
      const last = all.at(-1)
      t.match(last, { kind: 'message', message: { seq: 7 } }, 'what comes then is there')
      const places = all.reduce((sum, entry) => sum + (entry.kind === 'gap' ? entry.count : 1), 0)
      t.equal(places, (last?.position as number) - from, `every place is accounted for (${name}, ${damaged})`)
      t.equal(all.some(entry => entry.kind === 'gap' && entry.reason === 'missing'), damaged + 1 > from, `a gap where one is (${name}, ${damaged})`)
      const seqs = all.flatMap(entry => entry.kind === 'message' ? [entry.message.seq] : [])
      t.same(seqs, [1, 2, 3, 4, 5, 6, 7].filter(seq => seq > from && seq !== damaged && seq !== damaged + 1))
    }
    await again.feed.trim(0, 100)
    await again.close()
    t.match(await inspectLevelDeep(path), { ok: true, damaged: 0 }, 'and leaves with the others')
  }
})

await t.test('doctor --deep reads it, a backup takes it along', async t => {
  const { store, path } = await opened(t)
  await store.feed.register('audit', now)
  await store.commit([message(direct, 'alice'), message(direct, 'alice')])
  await store.feed.acknowledge('audit', 1)
  const copy = join(t.testdirName, 'copy')
  await store.backup(copy)
  await restoreLevelBackup(copy, join(t.testdirName, 'restored'))
  const { store: restored } = await opened(t, { path: join(t.testdirName, 'restored') })
  t.same(short(await drain(restored, 'audit')), [`${direct} 2`])
  await store.close()
  t.match(await inspectLevelDeep(path), { ok: true })
  await change(path, async db => {
    await db.put(key.feedRow(1), 'altered')
    await db.put(key.feedReader('audit'), 'altered')
  })
  const found = await inspectLevelDeep(path)
  t.equal(found.damaged, 2)
  t.match(found.text, /row 'w 11' is altered/)
  t.match(found.text, /row 'o audit' is altered/)
})

await t.test('a part of the database that cannot be read does not keep the store from opening', async t => {
  const told: string[] = []
  const broken = (letter: string): Database => {
    const keys = ({ gt }: { gt: string }) => ({
      all: async () => {
        if (gt.startsWith(letter)) throw Object.assign(new Error('Corruption: bad block'), { code: 'LEVEL_CORRUPTION' })
        return gt.startsWith('o') ? [key.feedReader('audit')] : ['w\x00!altered']
      }
    })
    return {
      level: async () => ({ keys }),
      last: async () => [key.feedRow(90), '5 10|d:a:b 7+9'],
      getMany: async (names: string[]) => names.map(() => '42 1'),
      reader: { onDamage: (row: string) => { told.push(row) } }
    } as unknown as Database
  }
  const rows = await LevelFeed.open(broken('w'))
  t.match(await rows.readers(), [{ name: 'audit', position: 42 }])
  t.ok(await rows.end() > 42 + 1e9, 'no position is given twice')
  const readers = await LevelFeed.open(broken('o'))
  t.same(await readers.readers(), [])
  t.same(told, ['w', 'o'])
  const whole = await LevelFeed.open(broken('-'))
  t.equal(await whole.end(), 99, 'a key that is none any more is no position')
  const failing = { level: async () => { throw new Error('closed') } } as unknown as Database
  await t.rejects(LevelFeed.open(failing), { message: 'closed' })
})

await t.test('rows as text', t => {
  const row = { first: 12345, ts: 1_790_000_000_000, count: 4, items: [{ conv: 'd:__proto__:..', seq: 9, count: 1 }, { conv: 'g:a-b.c_d', seq: 1_000_000, count: 3 }] }
  t.equal(encodeFeedRow(row), '1790000000000 4|d:__proto__:.. 9 g:a-b.c_d 1000000+2')
  t.same(decodeFeedRow(encodeFeedRow(row), key.feedRow(row.first)), row)
  t.end()
})
