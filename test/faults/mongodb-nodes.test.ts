/** Processes that share a database, with short times: who is given up and when, and what becomes of the sessions that it left. */
import { setTimeout as sleep } from 'node:timers/promises'
import { MongoClient } from 'mongodb'
import t from 'tap'
import type { Test } from 'tap'
import type { NodeOptions } from '../../broker/store/mongodb/nodes.ts'
import { openMongoStore } from '../../broker/store/mongodb/store.ts'
import type { Store } from '../../broker/store/store.ts'
import { bench } from '../support/control-host.ts'
import { until } from '../support/mailbox.ts'
import { mongodbServer } from '../support/mongodb.ts'
import type { MongodbServer } from '../support/mongodb.ts'

t.setTimeout(120_000)
const server = await mongodbServer(t)

/** One that does not renew its row while a test lasts: as good as dead. */
const silent = { renewMs: 600_000 }
const watchful = { renewMs: 50, leaseMs: 700 }

function opener (t: Test, name: string, { url, database }: MongodbServer) {
  const open = async (node: Partial<NodeOptions>): Promise<Store> => await openMongoStore({
    url,
    database: `${database}_${name}`,
    timeoutMs: 5_000,
    node: { name: 'one', onLost: error => { t.fail(error.message) }, ...node }
  })
  return async (node: Partial<NodeOptions>): Promise<Store & { readonly self: string }> => {
    const store = await open(node)
    t.teardown(() => store.close())
    return Object.assign(store, { self: store.nodes.self as string })
  }
}

await t.test('who is over', { skip: server === undefined }, async t => {
  if (server === undefined) return
  const open = opener(t, 'over', server)
  const [left, right] = [await open({ name: 'left', ...watchful }), await open({ name: 'right', ...watchful })]
  t.same(await right.nodes.over([left.self, right.self, 'never']), ['never'])
  let lost: Error | undefined
  const paused = await open({ name: 'paused', renewMs: 2_000, onLost: error => { lost = error } })
  t.same(await right.nodes.over([paused.self]), [], 'not at once')
  await until(async () => (await right.nodes.over([paused.self])).length > 0, 20_000, 'that one to be given up')
  t.same(await right.nodes.over([left.self, right.self]), [], 'and no other one')
  await until(() => lost !== undefined, 20_000, 'it to hear of that')
  t.match(lost?.message, /another server has given this one up/)

  const first = await open({ name: 'again', ...silent })
  const second = await open({ name: 'again', ...silent })
  t.same(await right.nodes.over([first.self, second.self]), [first.self], 'an earlier start is over with the next one')
  await left.close()
  t.same(await right.nodes.over([left.self]), [left.self], 'who ends is over at once')
  const visitor = await openMongoStore({ url: server.url, database: `${server.database}_over` })
  t.teardown(() => visitor.close())
  t.equal(visitor.nodes.self, undefined, 'who is no server has no row')
  t.same(await visitor.nodes.over([left.self, right.self]), [left.self])
})

await t.test('nobody is given up because the database was away', { skip: server === undefined || server.kind === 'env' }, async t => {
  if (server === undefined) return
  const open = opener(t, 'away', server)
  const leases = { renewMs: 200, leaseMs: 1_500 }
  const [left, right] = [await open({ name: 'left', ...leases }), await open({ name: 'right', ...leases })]
  const client = new MongoClient(server.url)
  t.teardown(() => client.close())
  const renewals = async (): Promise<number[]> => (await client.db(`${server.database}_away`).collection('nodes').find().toArray()).map(({ n }) => n as number)
  await until(async () => (await renewals()).every(n => n > 2), 10_000, 'some renewals')
  await server.kill9()
  await sleep(leases.leaseMs * 2)
  await server.restart()
  const before = Math.max(...await renewals())
  await until(async () => (await renewals()).every(n => n > before + 10), 30_000, 'renewals of both')
  t.same(await right.nodes.over([left.self, right.self]), [])
})

await t.test('sessions of who is connected elsewhere, and of who is over', { skip: server === undefined }, async t => {
  if (server === undefined) return
  const open = opener(t, 'sessions', server)
  const clock = { ms: 1_790_000_000_000 }
  const left = await bench(t, { open: () => open({ name: 'left', ...silent }), clock })
  const start = (client: string) => ({ session: `bob/${client}`, user: 'bob', clientId: client, cleanStart: false, expirySeconds: 60 })
  await left.control.openSession(start('phone'))
  await left.control.openSession(start('tablet'))
  await left.control.closeSession({ session: 'bob/tablet', expirySeconds: 60, graceful: true, inflight: [], proven: 0 })
  clock.ms += 3_600_000
  const right = await bench(t, { open: () => open({ name: 'right', renewMs: 50 }), clock, setup: { sweepIntervalMs: 20 } })
  await until(() => right.outputs.length > 0, 10_000, 'a sweep')
  t.match(right.outputs, [{ kind: 'expired', session: 'bob/tablet' }], 'what ended there expires')
  t.equal((await left.store.session('bob/phone'))?.expiresAt, undefined, 'what is connected there has no end')

  const third = await bench(t, { open: () => open({ name: 'third', ...watchful }), clock, setup: { sweepIntervalMs: 20 } })
  await until(async () => (await left.store.session('bob/phone'))?.expiresAt !== undefined, 20_000, 'an end for what the silent one has')
  t.equal((await left.store.session('bob/phone'))?.expiresAt, clock.ms + 60_000, 'it counts from when it was given up')
  clock.ms += 60_000
  const told = (): unknown[] => [...right.outputs.slice(1), ...third.outputs]
  await until(() => told().length > 0, 10_000, 'its end')
  t.match(told(), [{ kind: 'expired', session: 'bob/phone' }], 'which one of them tells of')
  t.equal(await left.store.session('bob/phone'), undefined)
})

await t.test('a row that has been opened since is neither ended nor dropped', { skip: server === undefined }, async t => {
  if (server === undefined) return
  const open = opener(t, 'rows', server)
  const store = await open({})
  const row = { session: 'bob/phone', user: 'bob', clientId: 'phone', subscriptions: [], inflight: [], expirySeconds: 60, createdAt: 1 }
  const was = { ...row, connection: { epoch: 'one', proven: 0 } }
  const now = { ...row, connection: { epoch: 'two', proven: 0 } }
  await store.putSession({ ...was, expiresAt: 5 })
  t.equal(await store.dropSession('bob/phone', was), false, 'it was connected, and has ended')
  await store.putSession(now, was)
  t.match(await store.session('bob/phone'), { connection: { epoch: 'one' } })
  await store.putSession(now, { ...was, expiresAt: 5 })
  t.match(await store.session('bob/phone'), { connection: { epoch: 'two' }, expiresAt: undefined })
  await store.putSession({ ...was, expiresAt: 7 }, was)
  t.match(await store.session('bob/phone'), { connection: { epoch: 'two' }, expiresAt: undefined })
  t.equal(await store.dropSession('bob/phone', was), false)
  t.equal(await store.dropSession('bob/phone', now), true)
  await store.putSession({ ...was, expiresAt: 7 }, was)
  t.equal(await store.session('bob/phone'), undefined, 'what was dropped does not come back')
})
