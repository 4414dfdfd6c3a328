import t from 'tap'
import { openLevelStore } from '../../broker/store/level/store.ts'
import { bench } from '../support/control-host.ts'

const start = (client: string, more: { cleanStart?: boolean, expirySeconds?: number, user?: string } = {}) => {
  const user = more.user ?? 'bob'
  return { session: `${user}/${client}`, user, clientId: client, cleanStart: more.cleanStart ?? false, expirySeconds: more.expirySeconds ?? 600 }
}
const end = (client: string, more: { expirySeconds?: number, inflight?: Array<{ packetId: number, stream: string, seq: number }>, proven?: number } = {}) =>
  ({ session: `bob/${client}`, expirySeconds: more.expirySeconds ?? 600, graceful: true, inflight: more.inflight ?? [], proven: more.proven ?? 0 })
const subscriptions = [{ filter: 'im/u/bob/inbox', qos: 1 as const }]
const inflight = [{ packetId: 7, stream: 'd:alice:bob', seq: 3 }]
const none = { present: false, subscriptions: [], inflight: [] }

await t.test('a persistent session is taken up again, also after a restart', async t => {
  let b = await bench(t)
  t.match(await b.control.openSession(start('phone')), none)
  await b.control.saveSubscriptions('bob/phone', subscriptions)
  b.control.advance([{ session: 'bob/phone', persistent: true, user: 'bob', stream: 'd:alice:bob', seq: 2, sent: 4 }])
  await b.control.closeSession(end('phone', { inflight }))
  t.same(await b.store.cursors('bob/phone', ['d:alice:bob']), [{ seq: 2, sent: 4 }], 'its marks are written before it ends')
  b = await b.restart()
  t.match(await b.control.openSession(start('phone')), { present: true, subscriptions, inflight })
  t.match(await b.control.openSession(start('phone', { user: 'eve' })), none, 'the same client id of another user is another session')
})

await t.test('a session knows its last connection, and how far that client had its answers', async t => {
  const b = await bench(t)
  const first = await b.control.openSession(start('phone'))
  t.equal(first.resends?.last, undefined)
  await b.control.closeSession(end('phone', { proven: 3 }))
  const second = await b.control.openSession(start('phone'))
  t.strictSame(second.resends?.last, { epoch: first.resends?.epoch, proven: 3 })
  b.control.prove([{ session: 'bob/phone', epoch: second.resends?.epoch ?? '', proven: 5 }])
  await b.control.closeSession(end('phone'))
  const third = await b.control.openSession(start('phone'))
  t.strictSame(third.resends?.last, { epoch: second.resends?.epoch, proven: 5 }, 'what was told before the end counts')
  t.equal((await b.control.openSession(start('gone', { expirySeconds: 0 }))).resends, undefined)
})

await t.test('that a session is open is on disk before its client hears of it: what it sends again after a power cut is told by that', async t => {
  let synced = 0
  const b = await bench(t, { open: path => openLevelStore({ path, onSync: () => { synced++ } }) })
  for (const what of ['new', 'taken up']) {
    const before = synced
    await b.control.openSession(start('phone', { expirySeconds: 86_400 }))
    t.ok(synced > before, what)
    await b.control.closeSession(end('phone', { expirySeconds: 86_400 }))
  }
})

await t.test('a clean start drops what was stored', async t => {
  const b = await bench(t)
  await b.control.openSession(start('phone'))
  await b.control.saveSubscriptions('bob/phone', subscriptions)
  b.control.advance([{ session: 'bob/phone', persistent: true, user: 'bob', stream: 'd:alice:bob', seq: 2, sent: 4 }])
  await b.control.closeSession(end('phone'))
  t.match(await b.control.openSession(start('phone', { cleanStart: true, expirySeconds: 0 })), none)
  await b.control.closeSession(end('phone', { expirySeconds: 0 }))
  t.equal(await b.store.session('bob/phone'), undefined)
  t.same(await b.store.cursors('bob/phone', ['d:alice:bob']), [undefined])
})

await t.test('sessions expire, counted from their end; an end with 0 ends them', async t => {
  const b = await bench(t)
  await b.control.openSession(start('phone'))
  b.clock.ms += 10_000_000
  t.match(await b.control.openSession(start('phone')), { present: true }, 'not while connected')
  await b.control.closeSession(end('phone', { expirySeconds: 60 }))
  b.clock.ms += 59_000
  t.match(await b.control.openSession(start('phone')), { present: true })
  await b.control.closeSession(end('phone', { expirySeconds: 60 }))
  b.clock.ms += 60_000
  t.match(await b.control.openSession(start('phone')), none)
  await b.control.closeSession(end('phone', { expirySeconds: 0 }))
  t.equal(await b.store.session('bob/phone'), undefined)
})

await t.test('expiry is clamped to the limit', async t => {
  const b = await bench(t, { limits: { maxSessionExpirySeconds: 100 } })
  await b.control.openSession(start('phone', { expirySeconds: 0xFFFFFFFF }))
  await b.control.closeSession(end('phone', { expirySeconds: 0xFFFFFFFF }))
  t.equal((await b.store.session('bob/phone'))?.expiresAt, b.clock.ms + 100_000)
})

await t.test('after a crash a connected session\'s time counts from the start', async t => {
  let b = await bench(t)
  await b.control.openSession(start('phone', { expirySeconds: 60 }))
  await b.control.openSession(start('tv', { expirySeconds: 60 }))
  b = await b.restart(true)
  const startedAt = b.clock.ms
  b.clock.ms += 59_000
  t.match(await b.control.openSession(start('tv', { expirySeconds: 60 })), { present: true })
  b.clock.ms += 2_000
  t.match(await b.control.openSession(start('phone', { expirySeconds: 60 })), none, `from ${startedAt}`)
})

await t.test('timers of a search for expired sessions remove them', async t => {
  const b = await bench(t, { setup: { sweepIntervalMs: 20 } })
  await b.control.openSession(start('phone'))
  await b.control.closeSession(end('phone', { expirySeconds: 60 }))
  await b.control.openSession(start('tv'))
  b.clock.ms += 60_000
  while (await b.store.session('bob/phone') !== undefined) await new Promise(resolve => setTimeout(resolve, 5))
  t.ok(await b.store.session('bob/tv'), 'connected ones stay')
})

await t.test('a user\'s sessions are bounded: the one that ended first goes', async t => {
  const b = await bench(t, { limits: { maxSessionsPerUser: 2 } })
  await b.control.openSession(start('one'))
  await b.control.openSession(start('two'))
  await t.rejects(b.control.openSession(start('three')), { code: 'rate_limited' }, 'all connected')
  t.match(await b.control.openSession(start('once', { expirySeconds: 0, cleanStart: true })), none, 'those that end with their connection are not counted')
  await b.control.closeSession(end('two'))
  b.clock.ms += 1_000
  await b.control.closeSession(end('one'))
  await b.control.openSession(start('three'))
  t.equal(await b.store.session('bob/two'), undefined)
  t.ok(await b.store.session('bob/one'))
  t.match(await b.control.openSession(start('other', { user: 'eve' })), none)
})
