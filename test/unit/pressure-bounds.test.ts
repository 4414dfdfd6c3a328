/** What readers and long turns can do to senders that wait for readers, and what not. */
import t from 'tap'
import { bench, settled, type MemoryClient } from '../support/memory-client.ts'
import { acked, still, window } from '../support/pressure.ts'
import type { FakeEngine } from '../support/fake-engine.ts'

const pressing = 2 * window

async function reader (engine: FakeEngine, client: MemoryClient, user = 'bob'): Promise<MemoryClient> {
  await client.connect(user)
  await client.subscribe(`im/u/${user}/inbox`)
  await settled(engine)
  return client
}
const sleep = (ms: number): Promise<void> => new Promise(resolve => { setTimeout(resolve, ms) })

await t.test('an idle server notices soon that a reader has stopped', async t => {
  const { engine, client } = bench(t, { inflight: window })
  const bob = await reader(engine, client())
  const alice = client()
  await alice.connect('alice')
  const count = window + pressing + 20
  let longest = 0
  for (let round = 0; round < 20; round++) {
    for (let i = 0; i < count; i++) alice.publish('im/to/u/bob', 'x')
    const since = performance.now()
    for (let n = 0; n < count;) {
      n += acked(alice).length
      if (n < count) await sleep(1)
    }
    longest = Math.max(longest, performance.now() - since)
    // Then bob takes all that he has missed, and stops again.
    for (let quiet = 0; quiet < 3;) {
      const got = bob.take()
      quiet = got.length === 0 ? quiet + 1 : 0
      for (const one of got) bob.ack(one)
      await settled(engine)
    }
    await sleep(1)
  }
  t.ok(longest < 400, `${Math.round(longest)} ms until the answer`)
})

await t.test('nobody waits for a device that comes back with a backlog', async t => {
  const { engine, client } = still(t)
  for (let i = 0; i < 2000; i++) engine.append('d:alice:bob', 'alice', 'old')
  engine.store('bob/phone', { subscriptions: [{ filter: 'im/u/bob/inbox', qos: 1 }] }, { 'd:alice:bob': { seq: 1, sent: 1 } })
  const bob = client()
  await bob.connect('bob', { clean: false })
  await settled(engine)
  const alice = client()
  await alice.connect('alice')
  alice.publish('im/to/u/bob', 'x')
  await settled(engine)
  acked(alice)
  alice.publish('im/to/u/bob', 'x')
  await settled(engine)
  let sent = 0
  while (acked(alice).length === 0 && sent < 5000) {
    const got = bob.take()
    sent += got.length
    for (const one of got) bob.ack(one)
    await settled(engine)
    await sleep(1)
  }
  t.equal(sent, 0, 'old messages were delivered before the PUBACK')
})

await t.test('mallory cannot keep the senders of a group waiting for ever', async t => {
  const { engine, client, later } = still(t)
  engine.join('one', 'alice', 'carol', 'mallory')
  const mallory = client({ version: 5 })
  await mallory.connect('mallory', { properties: { receiveMaximum: 1 } })
  await mallory.subscribe('im/g/one')
  const carol = client()
  await carol.connect('carol')
  const alice = client()
  await alice.connect('alice')
  // She sends more than her rate, too: the engine holds her connection almost always.
  engine.hold('mallory/phone', true)
  const answers: number[] = []
  let waits = 0
  for (let step = 0; step < 200; step++) {
    later(300)
    carol.publish('im/to/g/one', 'an ordinary conversation')
    if (step === 150) alice.publish('im/to/g/one', 'x')
    await settled(engine)
    if (step % 3 === 2) {
      // One acknowledgement in 900 ms, read in the moment in which she is not held.
      for (const one of mallory.take()) mallory.ack(one)
      engine.hold('mallory/phone', false)
      engine.hold('mallory/phone', true)
      await settled(engine)
    }
    await sleep(12)
    answers.push(...acked(alice))
    if (step > 150 && answers.length === 0) waits++
  }
  t.same(answers, [1], `alice's PUBACK has not come in ${waits * 0.3} s; carol has ${acked(carol).length} of 200`)
})
