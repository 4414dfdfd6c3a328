import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { StoreClosedError, StoreFormatError } from '../../broker/store/errors.ts'
import { StoreLockedError, formatVersion, openLevelStore, restoreLevelBackup } from '../../broker/store/level/store.ts'
import type { LevelStoreOptions } from '../../broker/store/level/store.ts'
import { key } from '../../broker/store/level/keys.ts'
import { Lists } from '../../broker/store/level/lists.ts'
import { Lru } from '../../broker/store/cache/lru.ts'
import { WeightedLru } from '../../broker/store/cache/weighted-lru.ts'
import { message, unread } from './operations.ts'
import type { Opened } from './operations.ts'
import { contract } from './store-contract.ts'

async function open (t: Test, options: Partial<LevelStoreOptions> = {}): Promise<Opened> {
  const folder = t.testdir()
  const path = join(folder, 'store')
  let store = await openLevelStore({ ...options, path })
  t.teardown(() => store.close())
  return {
    store,
    reopen: async () => {
      await store.close()
      store = await openLevelStore({ ...options, path })
      return store
    },
    freshPath: name => join(folder, name)
  }
}

await contract(t, 'level', open)
await contract(t, 'level with tiny caches', t =>
  open(t, { cache: { heads: 2, members: 2, groupMembers: 2, groups: 2, events: 2, cursors: 2, lists: 4, newest: 1_000 }, writeBufferBytes: 64 * 1024 }))
await contract(t, 'level with a segment a commit', t => open(t, { segmentLength: 1 }))

await t.test('each commit is one synced write', async t => {
  const rows: number[] = []
  const { store } = await open(t, { onSync: n => rows.push(n) })
  await store.commit([message('d:a:b', 'a', { cid: '1' }), message('d:a:b', 'a', { cid: '2' }), message('d:a:b', 'a')])
  t.same(rows, [1 + 2 + 1 + 1 + 1 + 2 + 1], 'a run of three messages, two keys, one mark for the purge, one segment, one head, two members, the newest time')
  await store.commit([message('d:a:b', 'b')])
  t.same(rows[1], 4, 'a message, a head, a member, the newest time')
  await store.commit([message('d:a:b', 'a', { cid: '1' })])
  t.equal(rows.length, 2, 'a repeat writes nothing')
  await store.advance({ cursors: [], members: [{ user: 'a', conv: 'd:a:b', readSeq: 4 }], events: [] })
  t.equal(rows.length, 2, 'marks are not synced')
  t.equal(await unread(store, 'a', 'd:a:b'), 0)
})

await t.test('small writes that wait share a sync', async t => {
  const rows: number[] = []
  const { store } = await open(t, { onSync: n => rows.push(n) })
  await Promise.all(Array.from({ length: 50 }, (_, i) => store.putUser({ uid: `u${i}`, createdAt: 1 })))
  t.same(rows, [50])
  const order = [store.putSession(row('a')), store.dropSession('bob/a'), store.putSession(row('b'))]
  await Promise.all(order)
  t.same((await store.sessions({ limit: 9 })).map(s => s.clientId), ['b'], 'and stay in order with what is between them')
  function row (clientId: string) {
    return { session: `bob/${clientId}`, user: 'bob', clientId, subscriptions: [], inflight: [], expirySeconds: 1, createdAt: 1 }
  }
})

await t.test('folders that are refused', async t => {
  const folder = t.testdir({
    other: { 'notes.txt': 'x' },
    newer: { 'sabethes.json': JSON.stringify({ format: formatVersion + 1, kind: 'store' }) },
    broken: { 'sabethes.json': '{' },
    odd: { 'sabethes.json': '{"format":1}' }
  })
  await t.rejects(openLevelStore({ path: join(folder, 'other') }), { name: 'StoreFormatError', message: /not a Sabethes store/ })
  t.notOk(existsSync(join(folder, 'other', 'db')), 'and left alone')
  const newer = openLevelStore({ path: join(folder, 'newer') })
  await t.rejects(newer, { name: 'StoreFormatError', message: new RegExp(`version ${formatVersion + 1}.*version ${formatVersion}.*newer`) })
  await t.rejects(newer, { message: new RegExp(join(folder, 'newer')) })
  await t.rejects(openLevelStore({ path: join(folder, 'broken') }), StoreFormatError)
  await t.rejects(openLevelStore({ path: join(folder, 'odd') }), StoreFormatError)
})

await t.test('a database without or with another version inside is refused', async t => {
  const { ClassicLevel } = await import('classic-level')
  const folder = t.testdir()
  for (const [name, key, value] of [['foreign', 'some', 'row'], ['future', 'v\x00format', '7']] as const) {
    const path = join(folder, name)
    mkdirSync(path)
    writeFileSync(join(path, 'sabethes.json'), JSON.stringify({ format: formatVersion, kind: 'store' }))
    const level = new ClassicLevel(join(path, 'db'))
    await level.put(key, value)
    await level.close()
    await t.rejects(openLevelStore({ path }), StoreFormatError)
    await t.rejects(openLevelStore({ path }), StoreFormatError, 'twice: the lock was given back')
  }
})

await t.test('an open store is locked', async t => {
  const { store, freshPath } = await open(t)
  await store.health()
  await t.rejects(openLevelStore({ path: freshPath('store') }), StoreLockedError)
})

await t.test('backup while in use, and restore', async t => {
  const { store, freshPath } = await open(t)
  await store.commit(Array.from({ length: 5000 }, (_, i) => message('d:a:b', 'a', { cid: `${i}`, ts: i })))
  await store.records.write([{ key: 'bin', value: new Uint8Array([255, 0]) }], true)
  const counts: number[] = []
  const copying = store.backup(freshPath('copy'), done => { counts.push(done) })
  for (let i = 0; i < 20; i++) await store.commit([message('d:a:b', 'a'), message('d:a:c', 'a')])
  await copying
  t.ok(counts.length > 3 && counts.every((n, i) => i === 0 || n > (counts[i - 1] as number)))
  await t.rejects(store.backup(freshPath('copy')), { message: /not empty/ })
  await t.rejects(openLevelStore({ path: freshPath('copy') }), { message: /backup/ })

  const bytes: number[] = []
  let total = 0
  await restoreLevelBackup(freshPath('copy'), freshPath('restored'), (done, of) => {
    bytes.push(done)
    total = of ?? 0
  })
  t.equal(bytes.at(-1), total)
  await t.rejects(restoreLevelBackup(freshPath('copy'), freshPath('restored')), { message: /not empty/ })
  await t.rejects(restoreLevelBackup(freshPath('store'), freshPath('else')), { message: /not a backup/ })
  await t.rejects(restoreLevelBackup(freshPath('nowhere'), freshPath('else')), { message: /not a backup/ })
  const copy = await openLevelStore({ path: freshPath('restored') })
  t.teardown(() => copy.close())
  const [head] = await copy.heads(['d:a:b'])
  t.ok(head !== undefined && head.seq >= 5000, 'what was there when it began')
  t.equal((await copy.messages('d:a:b', { limit: 99999 })).length, head?.seq, 'consistent: as many messages as the head says')
  t.same([...await copy.records.get('bin') ?? []], [255, 0])
  t.match(await copy.commit([message('d:a:b', 'a', { cid: '7' })]), [{ seq: 8, replay: true }])
})

await t.test('a backup that is cut by closing leaves nothing that could be taken for one', async t => {
  const { store, freshPath } = await open(t)
  await store.commit(Array.from({ length: 5000 }, () => message('d:a:b', 'a')))
  let close: Promise<void> | undefined
  // The copy may be done before closing takes effect: then it is whole.
  const cut = await store.backup(freshPath('copy'), () => { close ??= store.close() }).then(() => false, () => true)
  await close
  t.not(close, undefined, 'it was closed in the middle')
  await t.rejects(store.backup(freshPath('other')), StoreClosedError)
  if (cut) return await t.rejects(restoreLevelBackup(freshPath('copy'), freshPath('x')), StoreFormatError)
  await restoreLevelBackup(freshPath('copy'), freshPath('x'))
  const copy = await openLevelStore({ path: freshPath('x') })
  t.equal((await copy.heads(['d:a:b']))[0]?.seq, 5000)
  await copy.close()
})

await t.test('a marker that was half written does not stop the next start', async t => {
  const folder = t.testdir({ store: { '.sabethes.json.new': '{"form' } })
  const path = join(folder, 'store')
  await (await openLevelStore({ path })).close()
  t.same(JSON.parse(readFileSync(join(path, 'sabethes.json'), 'utf8')), { format: formatVersion, kind: 'store' })
  appendFileSync(join(path, '.hidden'), '')
  await (await openLevelStore({ path })).close()
})

await t.test('a cache is bounded and keeps what is used', async t => {
  const lru = new Lru<number>(100)
  for (let i = 0; i < 10_000; i++) {
    lru.set(`k${i}`, i)
    if (lru.get('k0') !== 0) t.fail('forgot what is used')
    if (lru.size > 100) t.fail(`${lru.size} entries`)
  }
  t.equal(lru.get('k0'), 0)
  t.equal(lru.get('k9999'), 9999)
  t.equal(lru.get('k5000'), undefined)
  lru.set('k0', 7)
  t.equal(lru.get('k0'), 7)
  lru.clear()
  t.equal(lru.size, 0)
})

await t.test('a cache of weights is bounded by them', async t => {
  const lru = new WeightedLru<string>(1_000, text => text.length)
  let random = 1
  for (let i = 0; i < 5_000; i++) {
    random = (random * 1103515245 + 12345) % 2147483648
    lru.set(`k${random % 50}`, 'x'.repeat(random % 90))
    if (i % 7 === 0) lru.delete(`k${i % 50}`)
    lru.set('used', lru.get('used') ?? 'kept')
    if (lru.weight > 1_000) t.fail(`weighs ${lru.weight}`)
  }
  t.equal(lru.get('used'), 'kept')
  lru.set('heavy', 'x'.repeat(500))
  t.equal(lru.get('heavy'), 'x'.repeat(500))
  lru.set('heavy', 'x'.repeat(501))
  t.equal(lru.get('heavy'), undefined, 'too heavy: not kept, and not the former value either')
  lru.clear()
  t.equal(lru.weight, 0)
  for (let i = 0; i < 9; i++) lru.set(`k${i}`, 'x'.repeat(50))
  for (let i = 0; i < 9; i++) lru.delete(`k${i}`)
  t.equal(lru.weight, 0)
})

await t.test('lists are bounded by their conversations; empty ones count', async t => {
  const lists = new Lists(100)
  const list = (count: number) => ({ members: Array.from({ length: count }, (_, i) => `m${i}`), heads: [] })
  for (let i = 0; i < 1_000; i++) lists.set(`u${i}`, list(0))
  t.ok(Array.from({ length: 1_000 }, (_, i) => lists.get(`u${i}`)).filter(one => one !== undefined).length <= 100)
  lists.set('long', list(51))
  t.equal(lists.get('long'), undefined)
  lists.set('short', list(50))
  t.equal(lists.get('short')?.members.length, 50)
  const page = (names: string[], more: { after?: string, last?: boolean, since?: number } = {}): void => {
    lists.page('pages', names.map(name => key.member('pages', name)), { after: more.after === undefined ? undefined : key.member('pages', more.after), last: more.last === true, since: more.since ?? lists.begin('pages') })
  }
  const known = (): number | undefined => lists.get('pages')?.members.length
  page(['d:a:pages', 'd:b:pages'])
  page(['d:a:pages'])
  page(['d:e:pages'], { after: 'd:d:pages', last: true })
  t.equal(known(), undefined, 'a page is missing')
  page(['d:c:pages', 'd:d:pages'], { after: 'd:b:pages' })
  page(['d:e:pages'], { after: 'd:d:pages', last: true })
  t.equal(known(), 5, 'put together from its pages, whoever read them')
  t.equal(lists.get('pages')?.heads[4], key.head('d:e:pages'))
  lists.forget('pages')
  page(['d:a:pages'])
  page(['d:a:pages', 'd:b:pages', 'd:c:pages'], { last: true })
  t.equal(known(), 3, 'one whole page is the list, whatever shorter ones came before')
  lists.forget('pages')
  page(['d:a:pages'])
  lists.forget('other')
  page(['d:b:pages'], { after: 'd:a:pages', last: true })
  t.equal(known(), 2, 'another user\'s membership changed between')
  lists.forget('pages')
  const since = lists.begin('pages')
  page(['d:a:pages'])
  lists.forget('pages')
  page(['d:b:pages'], { after: 'd:a:pages', last: true })
  page(['d:a:pages', 'd:b:pages'], { last: true, since })
  t.equal(known(), undefined, 'their own did')
  const { changes } = lists
  lists.forget('short')
  t.equal(lists.get('short'), undefined)
  t.ok(lists.changes > changes, 'a reader that began before does not keep its list')
})
