/**
 * Two stores on one database that write the same rows. Each has rows in memory that the other has changed since: what it
 * writes must not undo that. What is stored is read by a third store, which has nothing in memory.
 */
import t from 'tap'
import type { Test } from 'tap'
import type { Faults } from '../../broker/store/mongodb/store.ts'
import { openMongoStore } from '../../broker/store/mongodb/store.ts'
import type { Cursor, Member, SessionRow, Store } from '../../broker/store/store.ts'
import { message } from '../contract/operations.ts'
import { mongodbServer } from '../support/mongodb.ts'
import type { MongodbServer } from '../support/mongodb.ts'

t.setTimeout(300_000)
const server = await mongodbServer(t)
if (server !== undefined) await tests(server)

async function tests (server: MongodbServer): Promise<void> {
  const open = async (t: Test, faults?: Faults): Promise<Store> => {
    const store = await openMongoStore({ url: server.url, database: server.database, timeoutMs: 20_000, ...(faults !== undefined && { faults }) })
    t.teardown(() => store.close())
    return store
  }
  const conv = (t: Test): string => `d:alice:${t.name.replace(/\W/g, '').slice(0, 30)}`
  const other = (conv: string): string => conv.slice('d:alice:'.length)
  /** Two stores; `count` messages to alice, of which `b` knows. */
  const two = async (t: Test, count: number, faults?: Faults): Promise<{ a: Store, b: Store, at: string, send: (store: Store, count: number) => Promise<void> }> => {
    const [a, b, at] = [await open(t, faults), await open(t), conv(t)]
    const send = async (store: Store, count: number): Promise<void> => { await store.commit(Array.from({ length: count }, () => message(at, other(at)))) }
    await send(a, count)
    for (const store of [a, b]) {
      await store.heads([at])
      await store.member('alice', at)
    }
    return { a, b, at, send }
  }
  const read = async (store: Store, conv: string, marks: { readSeq?: number, deliveredSeq?: number }) => await store.advance({ cursors: [], members: [{ user: 'alice', conv, ...marks }], events: [] })
  const stored = async (t: Test, conv: string): Promise<Member | undefined> => await (await open(t)).member('alice', conv)

  await t.test('clear does not move marks back', async t => {
    const { a, b, at, send } = await two(t, 3)
    await send(a, 2)
    await read(a, at, { readSeq: 5, deliveredSeq: 5 })
    await b.clear('alice', at)
    t.match(await stored(t, at), { clearedSeq: 3, readSeq: 5, readN: 5, deliveredSeq: 5, hiddenUnread: 0 })
  })

  await t.test('a clear counts what the other one hid behind it', async t => {
    const { a, b, at, send } = await two(t, 3)
    await send(a, 2)
    t.equal(await a.hide('alice', at, [2, 5]), 2)
    await b.clear('alice', at)
    t.match(await stored(t, at), { clearedSeq: 3, readSeq: 3, hiddenUnread: 1 })
  })

  await t.test('one setting is one setting', async t => {
    const { a, b, at } = await two(t, 1)
    await a.settings('alice', at, { pinned: true })
    await b.settings('alice', at, { muted: true })
    t.match(await stored(t, at), { pinned: true, muted: true })
    await b.settings('alice', at, {})
    t.match(await stored(t, at), { pinned: true, muted: true })
  })

  await t.test('both hide', async t => {
    const { a, b, at } = await two(t, 4)
    t.equal(await a.hide('alice', at, [2]), 1)
    t.equal(await b.hide('alice', at, [3]), 1)
    t.match(await stored(t, at), { hiddenUnread: 2 })
  })

  await t.test('one hides what the other one has read', async t => {
    const { a, b, at } = await two(t, 4)
    await read(b, at, { readSeq: 3 })
    t.equal(await a.hide('alice', at, [1, 4]), 2)
    t.match(await stored(t, at), { readSeq: 3, hiddenUnread: 1 })
  })

  await t.test('one reads what the other one has hidden', async t => {
    const { a, b, at } = await two(t, 5)
    t.equal(await a.hide('alice', at, [1, 3, 4]), 3)
    t.match(await read(b, at, { readSeq: 2 }), [{ read: true, row: { readSeq: 2, readN: 2, hiddenUnread: 2 } }])
    t.match(await stored(t, at), { readSeq: 2, readN: 2, hiddenUnread: 2 })
    t.match(await b.member('alice', at), { readSeq: 2, hiddenUnread: 2 }, 'and it knows')
    await read(b, at, { readSeq: 3 })
    t.match(await stored(t, at), { readSeq: 3, hiddenUnread: 1 })
  })

  await t.test('a mark behind the other one\'s changes nothing', async t => {
    const { a, b, at } = await two(t, 5)
    await read(a, at, { readSeq: 4, deliveredSeq: 4 })
    t.equal(await a.hide('alice', at, [5]), 1)
    t.same(await read(b, at, { readSeq: 2 }), [], 'nothing moved')
    t.match(await b.member('alice', at), { readSeq: 4, hiddenUnread: 1 })
    t.match(await stored(t, at), { readSeq: 4, deliveredSeq: 4, hiddenUnread: 1 })
  })

  await t.test('what was delivered tells nothing of what is hidden', async t => {
    const { a, b, at } = await two(t, 5)
    t.equal(await a.hide('alice', at, [3]), 1)
    t.match(await read(b, at, { deliveredSeq: 5 }), [{ read: false, delivered: true }])
    t.match(await stored(t, at), { deliveredSeq: 5, hiddenUnread: 1 })
  })

  await t.test('a sender\'s mark that is late', async t => {
    let derives = (): void => {}
    const reached = new Promise<void>(resolve => { derives = resolve })
    let release = (): void => {}
    const held = new Promise<void>(resolve => { release = resolve })
    let holds = false
    const { a, b, at, send } = await two(t, 4, {
      at: async place => {
        if (place !== 'derived' || !holds) return
        derives()
        await held
      }
    })
    holds = true
    const sending = a.commit([message(at, 'alice')])
    await reached
    await send(b, 2)
    await read(b, at, { readSeq: 6 })
    t.equal(await b.hide('alice', at, [7]), 1)
    release()
    await sending
    t.match(await stored(t, at), { readSeq: 6, hiddenUnread: 1, posted: true })
  })

  await t.test('a session that was at the other one in between', async t => {
    const [a, b] = [await open(t), await open(t)]
    const stream = 'd:carol:dave'
    const session = 'carol/phone'
    const opened = async (store: Store, epoch: string): Promise<Cursor | undefined> => {
      await store.session(session)
      await store.putSession(sessionRow(session, epoch))
      return (await store.cursors(session, [stream]))[0]
    }
    const move = async (store: Store, seq: number): Promise<unknown> => await store.advance({ cursors: [{ session, stream, seq, sent: seq + 1 }], members: [], events: [] })
    t.equal(await opened(a, 'a1'), undefined)
    await move(a, 10)
    t.same(await opened(b, 'b1'), { seq: 10, sent: 11 })
    await move(b, 50)
    t.same(await opened(a, 'a2'), { seq: 50, sent: 51 })
    await move(a, 60)
    await a.dropSession(session)
    t.equal(await opened(b, 'b2'), undefined)
    await move(b, 70)
    t.match(await a.session(session), { connection: { epoch: 'b2' } })
    t.same(await a.cursors(session, [stream]), [{ seq: 70, sent: 71 }])
    await move(b, 80)
    t.match(await a.session(session), { connection: { epoch: 'b2' } }, 'it is at the other one still')
    t.same(await a.cursors(session, [stream]), [{ seq: 80, sent: 81 }])
  })

  await t.test('a record that both create is one', async t => {
    const stores = [await open(t), await open(t)]
    for (let i = 0; i < 20; i++) {
      const made = await Promise.all(stores.map((store, at) => store.records.create(`secret ${i}`, new Uint8Array([at]))))
      t.same(made[0], made[1])
      t.same([...await stores[0]?.records.get(`secret ${i}`) ?? []], [...made[0] ?? []])
    }
  })

  await t.test('who sends where the other one has read further has sent', async t => {
    const { a, b, at, send } = await two(t, 1)
    await send(b, 1)
    await a.commit([message(at, 'alice')])
    t.match(await stored(t, at), { readSeq: 3, posted: true })
  })
}

function sessionRow (session: string, epoch: string): SessionRow {
  const [user = '', clientId = ''] = session.split('/')
  return { session, user, clientId, subscriptions: [], inflight: [], expirySeconds: 100, createdAt: 1, connection: { epoch, proven: 0 } }
}
