/** Who was waited for as long as may be is not waited for again before it has caught up (ADR 15, 4); who comes back with a backlog not at all (3). */
import t from 'tap'
import { until } from '../support/mailbox.ts'
import { settled } from '../support/memory-client.ts'
import { acked, still } from '../support/pressure.ts'

for (const how of ['subscribes', 'connects'] as const) {
  await t.test(`who was waited for as long as may be, and ${how} anew, has not caught up`, async t => {
    const { engine, client, later } = still(t)
    engine.join('one', 'alice', 'mallory')
    const options = { clean: false, properties: { receiveMaximum: 1, sessionExpiryInterval: 3600 } }
    let mallory = client({ version: 5 })
    await mallory.connect('mallory', options)
    await mallory.subscribe('im/g/one')
    await settled(engine)
    const alice = client()
    await alice.connect('alice')
    /** One message: she keeps pace, and is as far behind as before. */
    const ackOne = async (): Promise<void> => {
      for (const one of mallory.take()) mallory.ack(one)
      await settled(engine)
    }
    for (let i = 0; i < 300; i++) {
      alice.publish('im/to/g/one', 'x')
      await settled(engine)
    }
    t.ok(acked(alice).length < 300, 'alice waits for her')
    later(2100)
    await until(() => acked(alice).length > 0, 10_000, 'the PUBACKs after two seconds')
    await settled(engine)
    acked(alice)
    await ackOne()
    alice.publish('im/to/g/one', 'x')
    await settled(engine)
    t.equal(acked(alice).length, 1, 'and then not again, although she keeps pace')
    let again = 0
    for (let round = 0; round < 5; round++) {
      if (how === 'subscribes') {
        await mallory.unsubscribe('im/g/one')
        await mallory.subscribe('im/g/one')
      } else {
        mallory.lose()
        await settled(engine)
        mallory = client({ version: 5 })
        await mallory.connect('mallory', options)
      }
      await settled(engine)
      await ackOne()
      alice.publish('im/to/g/one', 'x')
      await settled(engine)
      alice.publish('im/to/g/one', 'x')
      await settled(engine)
      if (acked(alice).length === 2) continue
      again++
      later(2100)
      await until(() => acked(alice).length > 0, 10_000, 'the PUBACKs after two seconds')
      await settled(engine)
      acked(alice)
    }
    t.equal(again, 0, `alice waited for two seconds ${again} more times of 5; mallory has ${engine.cursor('mallory/phone', 'g:one')} of ${engine.log('g:one').length} messages`)
  })
}

for (const held of [false, true]) {
  await t.test(`nobody waits for a device that comes back with a backlog of 500${held ? ', which is only being read from the store' : ''}`, async t => {
    const { engine, client } = still(t)
    for (let i = 0; i < 500; i++) engine.append('d:alice:bob', 'alice', 'old')
    engine.store('bob/phone', { subscriptions: [{ filter: 'im/u/bob/inbox', qos: 1 }] }, { 'd:alice:bob': { seq: 1, sent: 1 } })
    if (held) engine.holding.add('read')
    await client().connect('bob', { clean: false })
    await settled(engine)
    const alice = client()
    await alice.connect('alice')
    for (let i = 0; i < 2; i++) {
      alice.publish('im/to/u/bob', 'x')
      await settled(engine)
      t.equal(acked(alice).length, 1, 'it was never live')
    }
  })
}
