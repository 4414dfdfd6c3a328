/** A store that is away while connections end: no session may be lost for it. On every store. */
import { pino } from 'pino'
import t from 'tap'
import type { Test } from 'tap'
import { SessionEnds } from '../../broker/engine/sessions/session-ends.ts'
import { openMongoStore } from '../../broker/store/mongodb/store.ts'
import type { SessionRow, Store } from '../../broker/store/store.ts'
import { bench, type Bench, type BenchOptions } from '../support/control-host.ts'
import { mongodbServer } from '../support/mongodb.ts'

const start = (client: string, expirySeconds = 60) => ({ session: `bob/${client}`, user: 'bob', clientId: client, cleanStart: false, expirySeconds })
const inflight = [{ packetId: 7, stream: 'd:alice:bob', seq: 3 }]
const end = (client: string, expirySeconds = 60) => ({ session: `bob/${client}`, expirySeconds, graceful: false, inflight })
const subscriptions = [{ filter: 'im/u/bob/inbox', qos: 1 as const }]

/** The store answers writes of sessions with failures until `back`; `late` ones are stored all the same. */
function away (store: Store, { late = false } = {}): { failed: () => number, back: () => void } {
  const { putSession, dropSession } = store
  let failed = 0
  store.putSession = async row => {
    failed++
    if (late) await putSession.call(store, row)
    throw new Error('the store is away')
  }
  store.dropSession = async () => { failed++; throw new Error('the store is away') }
  return { failed: () => failed, back: () => { Object.assign(store, { putSession: putSession.bind(store), dropSession: dropSession.bind(store) }) } }
}

/** The row when it is as `ready` asks for. */
async function stored (b: Bench, session: string, ready: (row: SessionRow | undefined) => boolean): Promise<SessionRow | undefined> {
  for (;;) {
    const row = await b.store.session(session)
    if (ready(row)) return row
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}

async function cases (t: Test, open?: BenchOptions['open']): Promise<void> {
  const opened = (t: Test, setup: BenchOptions['setup'] = {}) => bench(t, { setup, ...(open !== undefined && { open }) })

  await t.test('a client connected for longer than its expiry comes back after an outage', async t => {
    const b = await opened(t)
    await b.control.openSession(start('phone'))
    await b.control.saveSubscriptions('bob/phone', subscriptions)
    b.clock.ms += 600_000
    const outage = away(b.store)
    await b.control.closeSession(end('phone'))
    outage.back()
    b.clock.ms += 10_000
    t.match(await b.control.openSession(start('phone')), { present: true, subscriptions, inflight })
  })

  await t.test('the end is tried again until the store takes it, with its own time', async t => {
    const b = await opened(t, { endRetryMs: 5 })
    await b.control.openSession(start('phone'))
    b.clock.ms += 600_000
    const endedAt = b.clock.ms
    const outage = away(b.store)
    await b.control.closeSession(end('phone'))
    b.clock.ms += 10_000
    while (outage.failed() < 3) await new Promise(resolve => setTimeout(resolve, 5))
    outage.back()
    t.match(await stored(b, 'bob/phone', row => row?.expiresAt !== undefined), { expiresAt: endedAt + 60_000, inflight })
  })

  await t.test('the sweep and the search for room go by the end that is not stored', async t => {
    const b = await opened(t, { sweepIntervalMs: 20, endRetryMs: 3_600_000 })
    for (const client of ['gone', 'phone']) await b.control.openSession(start(client, client === 'gone' ? 5 : 60))
    b.clock.ms += 600_000
    const endedAt = b.clock.ms
    const outage = away(b.store)
    for (const client of ['gone', 'phone']) await b.control.closeSession(end(client, client === 'gone' ? 5 : 60))
    b.clock.ms += 10_000
    outage.back()
    t.match(await stored(b, 'bob/phone', row => row?.expiresAt !== undefined), { expiresAt: endedAt + 60_000 }, 'the sweep stores it')
    t.equal(await stored(b, 'bob/gone', row => row === undefined), undefined, 'one that has expired goes')
  })

  await t.test('a session that ends for good goes when the store is back', async t => {
    const b = await opened(t, { endRetryMs: 5 })
    await b.control.openSession(start('phone'))
    const outage = away(b.store)
    await b.control.closeSession(end('phone', 0))
    outage.back()
    t.equal(await stored(b, 'bob/phone', row => row === undefined), undefined)
  })

  await t.test('an opening that failed half-way leaves the session as it was', async t => {
    const b = await opened(t, { endRetryMs: 5 })
    for (const late of [false, true]) {
      const client = `phone${late ? '-late' : ''}`
      await b.control.openSession(start(client))
      await b.control.saveSubscriptions(`bob/${client}`, subscriptions)
      await b.control.closeSession(end(client))
      const endedAt = b.clock.ms
      b.clock.ms += 30_000
      const outage = away(b.store, { late })
      await t.rejects(b.control.openSession(start(client)), /away/)
      outage.back()
      t.match(await stored(b, `bob/${client}`, row => row?.expiresAt !== undefined), { expiresAt: endedAt + 60_000, inflight }, late ? 'stored although it failed' : 'not stored')
      t.match(await b.control.openSession(start(client)), { present: true, subscriptions, inflight })
      await b.store.dropSession(`bob/${client}`)
      await b.control.closeSession(end(client))
    }
  })

  await t.test('ends that are kept are bounded; those that are forgotten live a little longer', async t => {
    const b = await opened(t, { maxUnstoredEnds: 2, endRetryMs: 3_600_000 })
    for (const client of ['a', 'b', 'c']) await b.control.openSession(start(client))
    b.clock.ms += 600_000
    const outage = away(b.store)
    for (const client of ['a', 'b', 'c']) {
      await b.control.closeSession(end(client))
      b.clock.ms += 1_000
    }
    outage.back()
    b.clock.ms += 50_000
    for (const client of ['a', 'b', 'c']) t.match(await b.control.openSession(start(client)), { present: true }, client)
  })

  await t.test('a stop tries once more', async t => {
    const b = await opened(t, { endRetryMs: 3_600_000 })
    await b.control.openSession(start('phone'))
    b.clock.ms += 600_000
    const outage = away(b.store)
    await b.control.closeSession(end('phone'))
    outage.back()
    const closed = new Promise<SessionRow | undefined>((resolve, reject) => {
      const { close } = b.store
      b.store.close = async () => {
        await b.store.session('bob/phone').then(resolve, reject)
        await close.call(b.store)
      }
    })
    const again = b.restart()
    t.match(await closed, { expiresAt: b.clock.ms + 60_000 })
    await again
  })

  await t.test('subscriptions of a session that has gone are not said to be kept', async t => {
    const b = await opened(t)
    await b.control.openSession(start('phone'))
    await b.store.dropSession('bob/phone')
    await t.rejects(b.control.saveSubscriptions('bob/phone', subscriptions), /not stored any more/)
  })
}

await t.test('an end that can never be stored does not keep the others from it', async t => {
  const tried: string[] = []
  const ends = new SessionEnds({
    max: 100,
    put: async session => {
      tried.push(session)
      if (session === 'bob/damaged') throw new Error('the row is damaged')
      ends.forget(session)
    },
    log: pino({ level: 'silent' }),
    firstRetryMs: 3_600_000
  }, 0)
  for (const client of ['damaged', 'phone', 'tablet', 'pen']) ends.keep(`bob/${client}`, { user: 'bob', endedAt: 1, expirySeconds: 60, inflight: [] }, new Error('the store is away'))
  await ends.retry()
  t.strictSame(tried, ['bob/damaged'], 'one finds out whether the store is back')
  await ends.retry()
  t.equal(ends.size, 1)
  t.ok(ends.get('bob/damaged'), 'it stays')
  await ends.close()
})

await t.test('embedded', async t => { await cases(t) })

await t.test('mongodb', async t => {
  const server = await mongodbServer(t)
  if (server === undefined) return
  let made = 0
  const names = new Map<string, string>()
  await cases(t, path => {
    // A restart opens the database of its path again.
    if (!names.has(path)) names.set(path, `${server.database}_${++made}`)
    return openMongoStore({ url: server.url, database: names.get(path) as string, timeoutMs: 20_000 })
  })
})
