/**
 * Two stores on one database that write the same rows. Each has rows in memory that the other has changed since: what it
 * writes must not undo that. What is stored is read by a third store, which has nothing in memory.
 */
import t from 'tap'
import type { Test } from 'tap'
import type { Faults } from '../../broker/store/mongodb/store.ts'
import { openMongoStore } from '../../broker/store/mongodb/store.ts'
import type { Cursor, Member, SessionRow, Store } from '../../broker/store/store.ts'
import { group, join, message } from '../contract/operations.ts'
import { bench } from '../support/control-host.ts'
import type { Bench } from '../support/control-host.ts'
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
    const [commit, arrive] = gate()
    let holds = false
    const { a, b, at, send } = await two(t, 4, { at: async place => { if (place === 'derived' && holds) await arrive() } })
    holds = true
    const sending = a.commit([message(at, 'alice')])
    await commit.reached
    await send(b, 2)
    await read(b, at, { readSeq: 6 })
    t.equal(await b.hide('alice', at, [7]), 1)
    commit.release()
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

  await t.test('a session that the other one has opened is not changed', async t => {
    const [a, b] = [await open(t), await open(t)]
    const [taken, mine] = ['carol/taken', 'carol/mine']
    for (const session of [taken, mine]) await a.putSession(sessionRow(session, `${session} a`))
    const [was, own] = [await a.session(taken), await a.session(mine)]
    if (was === undefined || own === undefined) throw new Error('no session')
    const subscriptions = [{ filter: 'im/u/carol/inbox', qos: 1 as const }]
    await b.putSession({ ...sessionRow(taken, 'b'), subscriptions })
    t.same(await Promise.all([a.putSession({ ...was, expiresAt: 5 }, was), a.putSession({ ...own, expiresAt: 5 }, own)]), [false, true], 'in one write')
    t.equal(await a.putSession({ ...was, subscriptions: [] }, was), false)
    t.same(await a.session(taken), { ...sessionRow(taken, 'b'), subscriptions })
    t.same(await a.session(mine), { ...own, expiresAt: 5 })
    const { expiresAt: _, ...open_ } = own
    t.equal(await a.putSession(open_, { ...own, expiresAt: 5 }), true)
    t.same(await a.session(mine), own)
    await b.dropSession(taken)
    t.equal(await a.putSession({ ...was, expiresAt: 5 }, was), false)
    t.equal(await a.session(taken), undefined)
  })

  await t.test('what a client subscribes to where its session was is refused', async t => {
    const servers = ['one', 'two'].map(name => bench(t, {
      path: 'none',
      open: () => openMongoStore({ url: server.url, database: server.database, timeoutMs: 20_000, node: { name, onLost: error => { t.fail(error.message) } } })
    }))
    const [a, b] = await Promise.all(servers) as [Bench, Bench]
    const start = { session: 'erin/phone', user: 'erin', clientId: 'phone', cleanStart: false, expirySeconds: 60 }
    const at = (name: string) => [{ filter: `im/u/erin/${name}`, qos: 1 as const }]
    await a.control.openSession(start)
    await a.control.saveSubscriptions('erin/phone', at('inbox'))
    t.match(await b.control.openSession(start), { present: true, subscriptions: at('inbox') })
    await b.control.saveSubscriptions('erin/phone', at('event'))
    await t.rejects(a.control.saveSubscriptions('erin/phone', []), /another server/)
    t.match(await b.store.session('erin/phone'), { subscriptions: [{ filter: 'im/u/erin/event' }] })
  })

  await t.test('a record that both create is one', async t => {
    const stores = [await open(t), await open(t)]
    for (let i = 0; i < 20; i++) {
      const made = await Promise.all(stores.map((store, at) => store.records.create(`secret ${i}`, new Uint8Array([at]))))
      t.same(made[0], made[1])
      t.same([...await stores[0]?.records.get(`secret ${i}`) ?? []], [...made[0] ?? []])
    }
  })

  await t.test('what another one owns is read each time', async t => {
    const at = conv(t)
    const gid = 'owned'
    const a = await open(t)
    const commands: string[] = []
    const b = await openMongoStore({ url: server.url, database: server.database, timeoutMs: 20_000, owns: () => false, onCommand: ({ name, collection }) => { commands.push(`${name} ${collection}`) } })
    t.teardown(() => b.close())
    t.same(await b.heads([at]), [undefined], 'it knows that there is none')
    t.equal(await b.member('alice', at), undefined)
    t.equal(await b.groupSize(gid), 0)
    await a.commit([group(gid), join(gid, 'alice')])
    t.equal(await b.groupSize(gid), 1)
    t.match(await b.groupMember(gid, 'alice'), { role: 'member' })
    await a.commit([join(gid, 'bob'), { op: 'member', gid, user: 'alice', role: 'admin' }])
    t.equal(await b.groupSize(gid), 2)
    t.match(await b.groupMember(gid, 'alice'), { role: 'admin' })
    await a.commit([{ op: 'member.drop', gid, user: 'alice' }])
    t.equal(await b.groupMember(gid, 'alice'), undefined)
    for (let seq = 1; seq <= 3; seq++) {
      await a.commit([message(at, other(at))])
      t.match(await b.heads([at]), [{ seq, n: seq }])
      t.same((await b.messages(at, { limit: 10 })).length, seq)
      t.match(await b.conversations('alice', { limit: 10 }).then(list => list.filter(({ member }) => member.conv === at)), [{ head: { seq } }])
    }
    await read(a, at, { readSeq: 2 })
    t.match(await b.member('alice', at), { readSeq: 2 })
    t.match(await read(b, at, { readSeq: 3 }), [{ read: true, row: { readSeq: 3 } }], 'not held to what it knew before')
    t.same(commands.filter(one => /^(?:insert|delete)/.test(one)), [])
    t.same(commands.filter(one => one.startsWith('update')), ['update conversations'], 'it has written that mark alone')
  })

  await t.test('a reader leaves to the owner what that one is writing', async t => {
    const at = conv(t)
    const [commit, arrive] = gate()
    let holds = false
    const a = await open(t, { at: async place => { if (place === 'derived' && holds) await arrive() } })
    const commands: string[] = []
    const b = await openMongoStore({ url: server.url, database: server.database, timeoutMs: 20_000, owns: conv => conv !== at, onCommand: ({ name, collection }) => { commands.push(`${name} ${collection}`) } })
    t.teardown(() => b.close())
    const mine = `${at}-mine`
    await b.commit([message(mine, 'alice')])
    await a.commit([message(at, other(at))])
    holds = true
    const sending = a.commit([message(at, 'alice'), message(at, other(at))])
    await commit.reached
    commands.length = 0
    t.match(await b.heads([at, mine]), [{ seq: 3, n: 3 }, { seq: 1 }])
    t.match(await b.membersAt([{ user: 'alice', conv: at }, { user: 'alice', conv: mine }]), [{ readSeq: 2, readN: 2, posted: true }, { readSeq: 1 }])
    t.match(await b.conversations('alice', { limit: 500 }).then(list => list.filter(({ member }) => member.conv.startsWith(at))), [{ head: { seq: 3 }, member: { readSeq: 2, posted: true } }, { head: { seq: 1 } }])
    t.same(commands.filter(one => one.startsWith('update')), [])
    commit.release()
    await sending
    t.match(await b.member('alice', at), { readSeq: 2, posted: true })
  })

  await t.test('a reader finds a conversation that is being opened', async t => {
    const at = conv(t)
    const [commit, arrive] = gate()
    const a = await open(t, { at: async place => { if (place === 'derived') await arrive() } })
    const b = await openMongoStore({ url: server.url, database: server.database, timeoutMs: 20_000, owns: () => false })
    t.teardown(() => b.close())
    const sending = a.commit([message(at, other(at))])
    await commit.reached
    t.match(await b.member('alice', at), { readSeq: 0 })
    t.match(await b.member(other(at), at), { readSeq: 1, posted: true })
    commit.release()
    await sending
  })

  await t.test('who sends where the other one has read further has sent', async t => {
    const { a, b, at, send } = await two(t, 1)
    await send(b, 1)
    await a.commit([message(at, 'alice')])
    t.match(await stored(t, at), { readSeq: 3, posted: true })
  })
}

/** A place where somebody waits: `reached` resolves when they do, and `release` lets them go on. */
function gate (): [{ reached: Promise<void>, release: () => void }, () => Promise<void>] {
  let [arrived, release] = [(): void => {}, (): void => {}]
  const reached = new Promise<void>(resolve => { arrived = resolve })
  const held = new Promise<void>(resolve => { release = resolve })
  return [{ reached, release }, async () => {
    arrived()
    await held
  }]
}

function sessionRow (session: string, epoch: string): SessionRow {
  const [user = '', clientId = ''] = session.split('/')
  return { session, user, clientId, subscriptions: [], inflight: [], expirySeconds: 100, createdAt: 1, connection: { epoch, proven: 0 } }
}
