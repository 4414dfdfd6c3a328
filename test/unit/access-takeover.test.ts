/** A connection that was taken over by the session's next one has nothing to say any more. */
import t from 'tap'
import { FakeOrdinary } from '../support/fake-ordinary.ts'
import { until } from '../support/mailbox.ts'
import { bench, settled } from '../support/memory-client.ts'

const filters = (subscriptions: Array<{ filter: string }> | undefined): string[] => (subscriptions ?? []).map(one => one.filter).sort()

await t.test('a SUBSCRIBE that was being judged does not overwrite the list of the connection that took over', async t => {
  const { engine, client } = bench(t)
  engine.join('dev', 'bob')
  const old = client()
  await old.connect('bob', { clean: false })
  engine.holding.add('isMember')
  old.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'im/g/dev', qos: 1 }] })
  await settled(engine)
  const next = client()
  await next.connect('bob', { clean: false })
  t.ok(old.closed)
  await next.subscribe('im/u/bob/inbox')
  t.strictSame(filters(engine.sessions.get('bob/phone')?.subscriptions), ['im/u/bob/inbox'])
  engine.holding.clear()
  engine.next().now()
  await settled(engine)
  t.strictSame(filters(engine.sessions.get('bob/phone')?.subscriptions), ['im/u/bob/inbox'], 'nobody was told that the group is subscribed to')
})

await t.test('nor does it make a client for ordinary topics', async t => {
  const ordinary = new FakeOrdinary()
  const { engine, client } = bench(t, {}, ordinary, ['open/#'])
  engine.join('dev', 'bob')
  const old = client()
  await old.connect('bob', { clean: false })
  engine.holding.add('isMember')
  old.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'im/g/dev', qos: 1 }, { topic: 'open/a', qos: 1 }] })
  await settled(engine)
  const next = client()
  await next.connect('bob', { clean: false })
  engine.holding.clear()
  engine.next().now()
  await settled(engine)
  t.equal(ordinary.attached, 0, 'one of the same id would end that of the connection that took over')
})

await t.test('nor one whose list is being stored', async t => {
  const ordinary = new FakeOrdinary()
  const { engine, client } = bench(t, {}, ordinary, ['open/#'])
  const old = client()
  await old.connect('bob', { clean: false })
  engine.holding.add('saveSubscriptions')
  old.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'im/u/bob/inbox', qos: 1 }, { topic: 'open/a', qos: 1 }] })
  await settled(engine)
  old.lose()
  await settled(engine)
  engine.holding.clear()
  engine.next().now()
  await settled(engine)
  t.equal(ordinary.attached, 0)
})

await t.test('connections that fight for a session at several servers are refused, a second late', async t => {
  const { engine, access, client } = bench(t, { takeoversPerSecond: 3 })
  const { openSession } = engine
  let takenOver = true
  engine.openSession = async start => {
    const answer = await openSession.call(engine, start)
    return answer.ok && takenOver ? { ok: true, value: { ...answer.value, takenOver: true } } : answer
  }
  const most = access.limits.takeoversPerSecond
  for (let at = 0; at < most; at++) {
    const one = client({ version: 5 })
    await one.connect('bob', { clean: false })
    // It is at another server by now.
    engine.output([{ kind: 'kick', user: 'bob', session: 'bob/phone', code: 'taken_over' }])
    await settled(engine)
    t.ok(one.closed)
  }
  const before = engine.ends.length
  const late = client({ version: 5 })
  late.hello('bob', { clean: false })
  await settled(engine)
  t.notOk(late.closed, 'it waits')
  const other = client({ version: 5 })
  takenOver = false
  await other.connect('bob', { clean: false, clientId: 'tv' })
  await until(() => late.closed, 5_000, 'the refusal')
  t.match(late.packets.waiting, [{ cmd: 'connack', reasonCode: 0x97 }])
  t.equal(engine.ends.length, before, 'the engine was not asked')
})
