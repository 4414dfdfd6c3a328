/** Moving the content of a store to another backend and back. */
import { join } from 'node:path'
import { MongoClient } from 'mongodb'
import t from 'tap'
import type { Test } from 'tap'
import { openLevelStore } from '../../broker/store/level/store.ts'
import { openLevelSource, openLevelTarget } from '../../broker/store/level/transfer.ts'
import { openMongoStore } from '../../broker/store/mongodb/store.ts'
import { openMongoSource, openMongoTarget } from '../../broker/store/mongodb/transfer.ts'
import { transferKinds } from '../../broker/store/transfer.ts'
import type { Store } from '../../broker/store/store.ts'
import type { TransferSource, TransferTarget } from '../../broker/store/transfer.ts'
import { failing, fillStore, move, seen, start, text, withStore } from '../support/migration.ts'
import { mongodbServer } from '../support/mongodb.ts'

/** What goes on as if nothing had happened: repeats are known, numbers go on, the purge finds what is old. */
async function goesOn (t: Test, store: Store): Promise<void> {
  const [cid, resend, fresh] = await store.commit([
    text('d:alice:bob', 'alice', 99, { cid: 'c 30' }),
    text('g:dev', 'alice', 99, { resend: { session: 'alice/an old device', packetId: 30 % 4 + 1, digest: 'digest 30', dup: true, epoch: 'first', number: 1, proven: 0 } }),
    text('d:alice:bob', 'alice', 100)
  ])
  t.match(cid, { seq: 30, replay: true }, 'a repeat by its cid')
  t.match(resend, { seq: 30, replay: true }, 'a repeat by its packet id')
  t.match(fresh, { seq: 31, replay: false }, 'the next number')
  t.match(await store.feed.read(0, { limit: 9, maxBytes: 1e6 }), [{ position: 1, conv: 'g:old' }, { position: 2, conv: 'd:alice:bob', message: { seq: 31 } }], 'the feed goes on')
  await store.commit([{ op: 'event', user: 'alice', ts: 1, content: '{}', slot: 'read d:alice:bob 0' }])
  const events = await store.events('alice', 0, 100)
  t.equal(events.filter(({ content }) => content === '{"kind":"read","n":30}').length, 0, 'the event of the slot was replaced')
  t.ok(await store.purge(start + 15, 1000) > 0)
  for (const conv of ['d:alice:bob', 'g:dev']) t.equal((await store.messages(conv, { limit: 1 }))[0]?.ts, start + 15, `purged: ${conv}`)
}

await t.test('there and back, interrupted', async t => {
  const server = await mongodbServer(t)
  if (server === undefined) return
  const { url, database } = server
  const folder = t.testdir()
  const [first, back] = [join(folder, 'first'), join(folder, 'back')]
  const before = await withStore(openLevelStore({ path: first }), async store => {
    await fillStore(store)
    return await seen(store)
  })

  const other = join(folder, 'other')
  await withStore(openLevelStore({ path: other }), async () => {})
  const there = (): [Promise<TransferSource>, Promise<TransferTarget>] => [openLevelSource(first), openMongoTarget({ url, database })]
  await t.rejects(move(there(), target => failing(target, 3, false)), { message: 'interrupted' })
  await t.rejects(openMongoStore({ url, database }), { name: 'StoreFormatError' }, 'no server takes a half of it')
  await t.rejects(move([openLevelSource(other), openMongoTarget({ url, database })]),
    /holds an unfinished migration from level:/, 'nor another migration')
  await t.rejects(move(there(), target => failing(target, 5, true)), { message: 'interrupted' })
  // What was written without its checkpoint is written again.
  const client = new MongoClient(url)
  t.teardown(async () => { await client.close() })
  const meta = client.db(database).collection<{ _id: string, checkpoint: string }>('meta')
  const checkpoint = JSON.parse((await meta.findOne({ _id: 'migration' }))?.checkpoint ?? '') as { at?: string }
  delete checkpoint.at
  await meta.updateOne({ _id: 'migration' }, { $set: { checkpoint: JSON.stringify(checkpoint) } })
  const report = await move(there())
  t.equal(report.resumed, true)
  for (const kind of transferKinds) t.ok(report.kinds[kind].rows > 0, `the test has rows of kind ${kind}`)
  await t.rejects(move(there()), /is not empty/, 'a target with content is refused')

  t.same(await withStore(openMongoStore({ url, database }), seen), before, 'readers see the same in MongoDB')

  const home = (): [Promise<TransferSource>, Promise<TransferTarget>] => [openMongoSource({ url, database }), openLevelTarget(back)]
  await t.rejects(move(home(), target => failing(target, 1, false)), { message: 'interrupted' })
  await t.rejects(openLevelStore({ path: back }), { name: 'StoreFormatError' }, 'no server takes a half of it')
  await t.rejects(move(home(), target => failing(target, 6, true)), { message: 'interrupted' })
  const returned = await move(home())
  t.same(returned.kinds, report.kinds, 'the same rows, by their sums')
  t.same(await withStore(openLevelStore({ path: back }), seen), before, 'readers see the same after both moves')
  await t.rejects(move(home()), /is not empty/)

  await withStore(openMongoStore({ url, database }), async store => { await goesOn(t, store) })
  await withStore(openLevelStore({ path: back }), async store => { await goesOn(t, store) })
})

await t.test('a store in use, and a folder with anything else, are refused', async t => {
  const folder = t.testdir({ notes: { 'a.txt': 'x' } })
  const path = join(folder, 'store')
  const store = await openLevelStore({ path })
  t.teardown(async () => { await store.close() })
  await t.rejects(openLevelSource(path), { name: 'StoreLockedError' })
  await t.rejects(openLevelTarget(path), { name: 'StoreLockedError' })
  await t.rejects(openLevelTarget(join(folder, 'notes')), /not a Sabethes store/)
  await t.rejects(openLevelSource(join(folder, 'nothing')), /holds no store/)
})

await t.test('a difference is found, and the target stays unusable', async t => {
  const folder = t.testdir()
  await withStore(openLevelStore({ path: join(folder, 'a') }), fillStore)
  await t.rejects(move([openLevelSource(join(folder, 'a')), openLevelTarget(join(folder, 'b'))], target => ({
    ...failing(target, 0, false),
    write: async (kind, rows, checkpoint) => { await target.write(kind, kind === 'hidden' ? rows.slice(1) : rows, checkpoint) }
  })), /not equal to the source: hidden \(6 rows, 5 in the target\)/)
  await t.rejects(openLevelStore({ path: join(folder, 'b') }), { name: 'StoreFormatError' })
})
