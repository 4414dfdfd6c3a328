/** Sessions of shared subscriptions, as the engine keeps them. */
import t from 'tap'
import { bench } from '../support/control-host.ts'

const filter = (name: string) => `$share/${name}/im/u/bob/inbox`
const share = (name: string) => ({ session: `bob/${filter(name)}`, user: 'bob', clientId: filter(name), cleanStart: false, expirySeconds: 600, share: true as const })
const device = (client: string) => ({ session: `bob/${client}`, user: 'bob', clientId: client, cleanStart: false, expirySeconds: 600 })
const end = (session: string, more: { expirySeconds?: number, inflight?: Array<{ packetId: number, stream: string, seq: number }>, sent?: Array<{ stream: string, seq: number }>, unwanted?: true } = {}) =>
  ({ session, expirySeconds: 600, graceful: true, inflight: [], ...more })
const inflight = [{ packetId: 0, stream: 'd:alice:bob', seq: 3 }]
const sent = [{ stream: 'd:alice:bob', seq: 9 }]

await t.test('shares and devices are counted apart', async t => {
  const b = await bench(t, { limits: { maxSessionsPerUser: 2, maxSharesPerUser: 2 } })
  for (const name of ['a', 'b']) await b.control.openSession(share(name))
  await t.rejects(b.control.openSession(share('c')), { code: 'rate_limited' }, 'all are open')
  for (const client of ['phone', 'tv']) await b.control.openSession(device(client))
  await t.rejects(b.control.openSession(device('pad')), { code: 'rate_limited' })
  await b.control.closeSession(end(share('b').session))
  await t.rejects(b.control.openSession(device('pad')), { code: 'rate_limited' }, 'no share gives way to a device')
  await b.control.closeSession(end('bob/phone'))
  await b.control.openSession(share('c'))
  t.equal(await b.store.session(share('b').session), undefined, 'the one that nobody has open')
  t.ok(await b.store.session('bob/phone'), 'no device gives way to a share')
})

await t.test('shares that are not kept are counted while they are open', async t => {
  const b = await bench(t, { limits: { maxSessionsPerUser: 2, maxSharesPerUser: 2 } })
  const brief = (name: string) => ({ ...share(name), expirySeconds: 0 })
  for (const name of ['a', 'b']) await b.control.openSession(brief(name))
  await t.rejects(b.control.openSession(brief('c')), { code: 'rate_limited' })
  await b.control.openSession({ ...brief('a'), session: `al/${filter('a')}`, user: 'al' })
  await b.control.closeSession(end(share('b').session, { expirySeconds: 0 }))
  await b.control.openSession(brief('c'))
  await t.rejects(b.control.openSession(brief('b')), { code: 'rate_limited' })
  t.equal(await b.store.session(share('c').session), undefined, 'nothing is stored')
})

await t.test('what is unacknowledged is listed until the next end, and cursors go past it behind the list', async t => {
  let b = await bench(t)
  await b.control.openSession(share('a'))
  b.control.advance([{ session: share('a').session, persistent: true, user: 'bob', stream: 'd:alice:bob', seq: 2, sent: 9 }])
  await b.control.closeSession(end(share('a').session, { inflight, sent }))
  t.match(await b.control.openSession(share('a')), { present: true, inflight }, 'a second connection of the list')
  t.same(await b.store.cursors(share('a').session, ['d:alice:bob']), [{ seq: 9, sent: 9 }])
  b = await b.restart(true)
  t.match(await b.control.openSession(share('a')), { present: true, inflight }, 'after a crash too')
  await b.control.closeSession(end(share('a').session))
  t.match(await b.control.openSession(share('a')), { present: true, inflight: [] })
  await b.control.openSession(device('phone'))
  await b.control.closeSession(end('bob/phone', { inflight }))
  await b.control.openSession(device('phone'))
  b = await b.restart(true)
  t.match(await b.control.openSession(device('phone')), { inflight: [] }, 'a device has cursors that say it')
})

await t.test('an end that the store does not take moves no cursor', async t => {
  const b = await bench(t, { setup: { endRetryMs: 60_000 } })
  await b.control.openSession(share('a'))
  b.control.advance([{ session: share('a').session, persistent: true, user: 'bob', stream: 'd:alice:bob', seq: 2, sent: 9 }])
  const put = b.store.putSession.bind(b.store)
  b.store.putSession = () => Promise.reject(new Error('full'))
  await b.control.closeSession(end(share('a').session, { inflight, sent }))
  b.store.putSession = put
  t.match(await b.control.openSession(share('a')), { present: true, inflight })
  t.same(await b.store.cursors(share('a').session, ['d:alice:bob']), [{ seq: 2, sent: 9 }])
})

await t.test('an unwanted share is over, unless a session that is away subscribes to it', async t => {
  const b = await bench(t)
  await b.control.openSession(device('worker'))
  await b.control.saveSubscriptions('bob/worker', [{ filter: filter('a'), qos: 1 }])
  await b.control.closeSession(end('bob/worker'))
  for (const name of ['a', 'b']) {
    await b.control.openSession(share(name))
    await b.control.closeSession(end(share(name).session, { inflight, sent, unwanted: true }))
  }
  t.ok(await b.store.session(share('a').session))
  t.equal(await b.store.session(share('b').session), undefined)
  t.same(await b.store.cursors(share('b').session, ['d:alice:bob']), [undefined], 'nothing is left of it')
  b.clock.ms += 600_000
  await b.control.openSession(share('a'))
  await b.control.closeSession(end(share('a').session, { unwanted: true }))
  t.equal(await b.store.session(share('a').session), undefined, 'the session has expired')
})

await t.test('an unwanted share whose end the store does not take is over all the same', async t => {
  const b = await bench(t, { setup: { endRetryMs: 60_000 } })
  await b.control.openSession(share('a'))
  const drop = b.store.dropSession.bind(b.store)
  b.store.dropSession = () => Promise.reject(new Error('full'))
  await b.control.closeSession(end(share('a').session, { inflight, unwanted: true }))
  b.store.dropSession = drop
  t.match(await b.control.openSession(share('a')), { present: false, inflight: [] })
})

await t.test('it expires like any session', async t => {
  const b = await bench(t)
  await b.control.openSession(share('a'))
  await b.control.closeSession(end(share('a').session))
  b.clock.ms += 599_000
  t.match(await b.control.openSession(share('a')), { present: true })
  await b.control.closeSession(end(share('a').session))
  b.clock.ms += 600_000
  t.match(await b.control.openSession(share('a')), { present: false })
})

await t.test('one that is open at another server of the database is refused until that is over', async t => {
  const b = await bench(t)
  await b.control.openSession(share('a'))
  await b.control.closeSession(end(share('a').session, { inflight }))
  const row = await b.store.session(share('a').session)
  if (row === undefined) throw new Error('it is not stored')
  const { expiresAt: _, ...open } = row
  await b.store.putSession({ ...open, node: 'other' })
  const over = new Set<string>()
  Object.assign(b.store, { nodes: { self: 'this', over: async (nodes: readonly string[]) => nodes.filter(node => over.has(node)), close: async () => {} } })
  await t.rejects(b.control.openSession(share('a')), { code: 'unavailable' }, 'two would deal what is one\'s')
  over.add('other')
  t.match(await b.control.openSession(share('a')), { present: true, inflight })
})
