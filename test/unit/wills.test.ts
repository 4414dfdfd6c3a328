/** Wills that wait: sent when their delay is over or their session, not when the session goes on, and bounded. */
import t from 'tap'
import type { Test } from 'tap'
import { bench, settled } from '../support/memory-client.ts'
import type { Bench } from '../support/memory-client.ts'
import { FakeOrdinary } from '../support/fake-ordinary.ts'
import { MemoryRecords } from '../support/ordinary-records.ts'
import { WaitingWills } from '../../broker/gateway/wills/waiting.ts'

const will = { topic: 'im/to/u/alice', payload: Buffer.from('gone'), qos: 0 as const, retain: false, properties: { willDelayInterval: 1_000 } }

/** Loses the connection of a session with a delayed will. */
async function lose (b: Bench, user: string, clientId = 'phone', more: object = {}): Promise<void> {
  const one = b.client({ version: 5 })
  await one.connect(user, { clean: false, clientId, will, properties: { sessionExpiryInterval: 100 }, ...more })
  one.lose()
  await settled(b.engine)
}
const sent = (b: Bench, user: string): number => b.engine.log(user < 'alice' ? `d:${user}:alice` : `d:alice:${user}`).length

async function scene (t: Test, name: string, run: (t: Test, b: Bench) => Promise<void>, limits = {}): Promise<void> {
  await t.test(name, async t => { await run(t, bench(t, limits)) })
}

await scene(t, 'a session that goes on sends none, one that is begun anew ends the old one', async (t, b) => {
  await lose(b, 'bob')
  t.equal(b.access.wills.size, 1)
  await b.client({ version: 5 }).connect('bob', { clean: false, clientId: 'phone', properties: { sessionExpiryInterval: 100 } })
  t.same([sent(b, 'bob'), b.access.wills.size, b.access.wills.bytes], [0, 0, 0])
  await lose(b, 'carol')
  await b.client({ version: 5 }).connect('carol', { clean: true, clientId: 'phone' })
  await settled(b.engine)
  t.same([sent(b, 'carol'), b.access.wills.size], [1, 0])
})

await scene(t, 'a session that is dropped sends it and frees it', async (t, b) => {
  await lose(b, 'bob')
  b.access.output([{ kind: 'expired', session: 'bob/phone' }])
  await settled(b.engine)
  t.same([sent(b, 'bob'), b.access.wills.size, b.access.wills.bytes], [1, 0, 0])
})

await scene(t, 'the delay ends with the session at the latest', async (t, b) => {
  await lose(b, 'bob')
  const now = b.access.clock.now
  b.access.wills.sweep(now + 99_000)
  await settled(b.engine)
  t.equal(sent(b, 'bob'), 0)
  b.access.wills.sweep(now + 100_001)
  await settled(b.engine)
  t.same([sent(b, 'bob'), b.access.wills.size], [1, 0])
})

await scene(t, 'who is banned sends none, neither one that waits nor that of a connection', async (t, b) => {
  await lose(b, 'bob')
  await lose(b, 'carol')
  const other = b.client({ version: 5 })
  const { properties: _, ...prompt } = will
  await other.connect('bob', { clientId: 'tablet', will: prompt })
  b.access.output([{ kind: 'kick', user: 'bob', code: 'banned' }])
  await settled(b.engine)
  t.same([sent(b, 'bob'), b.access.wills.size], [0, 1], 'those of others stay')
})

await scene(t, 'who is banned while the session is opened sends none either', async (t, b) => {
  const { properties: _, ...prompt } = will
  b.engine.holding.add('openSession')
  for (const version of [4, 5] as const) b.client({ version }).hello('bob', { clientId: `c${version}`, will: prompt })
  const other = b.client({ version: 5 })
  other.hello('carol', { will: prompt })
  await settled(b.engine)
  b.access.output([{ kind: 'kick', user: 'bob', code: 'banned' }])
  b.engine.holding.clear()
  while (b.engine.held.length > 0) b.engine.next().now()
  await settled(b.engine)
  other.lose()
  await settled(b.engine)
  t.same([sent(b, 'bob'), sent(b, 'carol')], [0, 1])
})

await t.test('the will of an ordinary topic: not of who is banned or removed, also while Aedes takes the connection; of who is lost, or has a new password', async t => {
  for (const code of ['banned', 'not_found', 'unauthorized', undefined] as const) {
    const ordinary = new FakeOrdinary()
    const { engine, access, client } = bench(t, {}, ordinary, ['news/#'])
    const bob = client({ version: 5 })
    await bob.connect('bob', { will: { topic: 'news/x', payload: Buffer.from('gone'), qos: 0, retain: false } })
    if (code !== undefined) access.output([{ kind: 'kick', user: 'bob', code }])
    else bob.lose()
    await settled(engine)
    t.same(ordinary.wills, code === 'banned' || code === 'not_found' ? [] : ['bob/phone'], code ?? 'lost')
    t.equal(ordinary.attached, 0, 'a will alone needs no client there')
  }
})

await t.test('a CONNECT that is refused when its session is open already leaves none', async t => {
  const ordinary = new FakeOrdinary()
  ordinary.forgetting = Promise.reject(new Error('the store is away'))
  ordinary.forgetting.catch(() => { /* it is for who waits for it */ })
  const b = bench(t, {}, ordinary, ['news/#'])
  const { properties: _, ...prompt } = will
  const bob = b.client()
  bob.hello('bob', { will: prompt })
  await settled(b.engine)
  t.match(bob.packets.waiting, [{ cmd: 'connack', returnCode: 3 }])
  t.equal(sent(b, 'bob'), 0)
})

await scene(t, 'beyond the limit of a user they are sent at once', async (t, b) => {
  for (const id of ['a', 'b', 'c']) await lose(b, 'bob', id)
  t.same([sent(b, 'bob'), b.access.wills.size], [1, 2])
  await lose(b, 'carol')
  t.same([sent(b, 'carol'), b.access.wills.size], [0, 3])
}, { delayedWillsPerUser: 2 })

await scene(t, 'beyond the bytes of all they are sent at once', async (t, b) => {
  for (const user of ['bob', 'carol', 'dave']) await lose(b, user)
  t.same([sent(b, 'bob'), sent(b, 'carol'), sent(b, 'dave'), b.access.wills.size], [0, 0, 1, 2])
  t.ok(b.access.wills.bytes <= 1_200)
}, { delayedWillBytes: 1_200 })

await t.test('what is kept elsewhere goes when the session goes on, and stays when the server stops', async t => {
  const heard: string[] = []
  const wills = new WaitingWills({ delayedWillsPerUser: 10, delayedWillBytes: 10_000 })
  const add = (session: string): void => { wills.add(session, { user: 'bob', dueMs: 5, bytes: 10, publish: () => { heard.push(`publish ${session}`); return undefined }, discard: () => heard.push(`discard ${session}`) }) }
  add('bob/a')
  add('bob/a')
  t.same(heard, ['discard bob/a'], 'a newer one takes its place')
  wills.goesOn('bob/a')
  wills.goesOn('bob/a')
  add('bob/b')
  wills.close()
  wills.sweep(10)
  t.same(heard, ['discard bob/a', 'discard bob/a'])
  t.same([wills.size, wills.bytes], [0, 0])
})

await t.test('while a session waits for its rate, one will of it is enough', async t => {
  const { engine, client } = bench(t)
  engine.holdSubmissions = true
  const will = { topic: 'im/to/u/alice', payload: Buffer.from('gone'), qos: 0 as const, retain: false }
  const comeAndGo = async (): Promise<void> => {
    const bob = client()
    await bob.connect('bob', { will })
    bob.lose()
    await settled(engine)
  }
  engine.hold('bob/phone', true)
  for (let i = 0; i < 5; i++) await comeAndGo()
  t.equal(engine.submitted.length, 1, 'or each reconnect would leave one')
  engine.hold('bob/phone', false)
  await comeAndGo()
  t.equal(engine.submitted.length, 2)
})

const { properties: _delay, ...prompt } = will
const stored = (t: Test, records: MemoryRecords, ordinary?: FakeOrdinary): Bench => bench(t, {}, ordinary, ['news/#'], undefined, false, undefined, records)

await t.test('a will is stored while its connection lasts, and goes with a goodbye, with its message and with a ban', async t => {
  const records = new MemoryRecords()
  const ordinary = new FakeOrdinary()
  const b = stored(t, records, ordinary)
  const news = { ...prompt, topic: 'news/x' }
  const ends: Array<[string, typeof prompt, (one: ReturnType<Bench['client']>) => void]> = [
    ['a goodbye', prompt, one => { one.send({ cmd: 'disconnect', reasonCode: 0 }) }],
    ['its message', prompt, one => { one.lose() }],
    ['its message on an ordinary topic', news, one => { one.lose() }],
    ['a ban', prompt, () => { b.access.output([{ kind: 'kick', user: 'bob', code: 'banned' }]) }]
  ]
  for (const [name, will, end] of ends) {
    const bob = b.client({ version: 5 })
    await bob.connect('bob', { will })
    await settled(b.engine)
    t.equal(records.rows.size, 1, name)
    end(bob)
    await settled(b.engine)
    // What is kept of an ordinary one goes with what it leaves behind.
    t.equal(records.rows.size, will === news ? 1 : 0, name)
    records.rows.clear()
  }
  t.same([sent(b, 'bob'), ordinary.wills], [1, ['bob/phone']])
})

await t.test('a will that the store does not take is sent later', async t => {
  const records = new MemoryRecords()
  const b = stored(t, records)
  const bob = b.client()
  await bob.connect('bob', { will: { ...prompt, payload: Buffer.from('fail') } })
  b.engine.holdSubmissions = true
  bob.lose()
  await settled(b.engine)
  const [first] = b.engine.submitted
  b.engine.answer()
  await settled(b.engine)
  t.same([records.rows.size, b.engine.submitted.length], [1, 0], 'the row stays')
  for (let i = 0; b.engine.submitted.length === 0 && i < 100; i++) await new Promise(resolve => setTimeout(resolve, 50))
  t.match(b.engine.submitted, [{ cid: first?.cid, session: 'bob/phone' }], 'as the same message')
  b.engine.output([{ kind: 'verdict', ref: b.engine.submitted.splice(0)[0]?.ref ?? 0, ok: true }])
  await settled(b.engine)
  t.equal(records.rows.size, 0)
})

await t.test('an earlier run left wills: due ones are sent, others wait, those of who is barred go, unreadable rows are no hindrance', async t => {
  const records = new MemoryRecords()
  const ordinary = new FakeOrdinary()
  const first = stored(t, records, ordinary)
  const kept = { clean: false, properties: { sessionExpiryInterval: 100 } }
  for (const user of ['bob', 'carol', 'dave', 'eve']) {
    await first.client({ version: 5 }).connect(user, { ...kept, will: user === 'eve' ? { ...prompt, topic: 'news/x' } : user === 'bob' ? prompt : { ...prompt, properties: { willDelayInterval: 50 } } })
  }
  await settled(first.engine)
  t.equal(records.rows.size, 4)
  const rows = new Map(records.rows)
  const again = new MemoryRecords()
  for (const [key, value] of rows) again.rows.set(key, value)
  again.rows.set('wills/x', Buffer.from('{'))
  const second = stored(t, again, ordinary)
  second.engine.barred.add('dave')
  await second.access.restore()
  await settled(second.engine)
  t.same([sent(second, 'bob'), sent(second, 'carol'), sent(second, 'dave'), second.access.wills.size, ordinary.wills], [1, 0, 0, 1, ['eve/phone']])
  second.access.wills.sweep(second.access.clock.now + 50_001)
  await settled(second.engine)
  t.same([sent(second, 'carol'), sent(second, 'dave')], [1, 0])
})

await t.test('the delay of a will goes on over a second end of the server', async t => {
  const records = new MemoryRecords()
  const first = stored(t, records, new FakeOrdinary())
  await first.client({ version: 5 }).connect('carol', { clean: false, properties: { sessionExpiryInterval: 100 }, will: { ...prompt, properties: { willDelayInterval: 50 } } })
  await settled(first.engine)
  const copy = (from: MemoryRecords): MemoryRecords => {
    const to = new MemoryRecords()
    for (const [key, value] of from.rows) to.rows.set(key, value)
    return to
  }
  const again = copy(records)
  const second = stored(t, again, new FakeOrdinary())
  await second.access.restore()
  await settled(second.engine)
  t.equal(second.access.wills.size, 1)
  const third = stored(t, copy(again), new FakeOrdinary())
  third.engine.aheadMs = 51_000
  await third.access.restore()
  await settled(third.engine)
  t.same([sent(third, 'carol'), third.access.wills.size], [1, 0], 'it waits from the first start on')
})
