/** Who publishes faster than the server delivers waits for readers that keep pace with the server, and for nobody else. */
import t from 'tap'
import { name, settled, type MemoryClient } from '../support/memory-client.ts'
import { acked, still, window } from '../support/pressure.ts'
import type { FakeEngine } from '../support/fake-engine.ts'

/** Two windows behind: senders wait; one: they go on. */
const pressing = 2 * window
const first = window + pressing

async function reader (engine: FakeEngine, client: MemoryClient, user = 'bob'): Promise<MemoryClient> {
  await client.connect(user)
  await client.subscribe('im/u/+/inbox'.replace('+', user))
  await settled(engine)
  return client
}

/** alice publishes, one message after the other; packet ids of what was acknowledged. */
async function publish (engine: FakeEngine, alice: MemoryClient, count: number, topic = 'im/to/u/bob', qos: 0 | 1 | 2 = 1): Promise<number[]> {
  for (let i = 0; i < count; i++) {
    alice.publish(topic, 'x', qos)
    await settled(engine)
  }
  return acked(alice)
}

await t.test('answers wait, in their order, until the reader is less than a window behind', async t => {
  const { engine, client } = still(t)
  const bob = await reader(engine, client())
  const alice = client()
  await alice.connect('alice')
  // The window, and two more windows that wait.
  t.same(await publish(engine, alice, first), Array.from({ length: first }, (_, i) => i + 1))
  t.same(await publish(engine, alice, 3), [], 'stored, and not acknowledged yet')
  t.equal(engine.log('d:alice:bob').length, window + pressing + 3)
  for (let round = 0; round < 2; round++) {
    for (const one of bob.take()) bob.ack(one)
    await settled(engine)
  }
  t.same(acked(alice), [first + 1, first + 2, first + 3])
  for (let round = 0; round < 4; round++) {
    for (const one of bob.take()) bob.ack(one)
    await settled(engine)
  }
  t.equal(engine.reads.filter(({ stream }) => stream.startsWith('d:')).length, 0, 'nothing was read from the store')
})

await t.test('nobody waits for a reader that does not keep pace', async t => {
  const { engine, client, later } = still(t)
  const bob = await reader(engine, client())
  const alice = client()
  await alice.connect('alice')
  await publish(engine, alice, window)
  later(60_000)
  t.equal((await publish(engine, alice, 2 * pressing)).length, 2 * pressing)
  t.equal(bob.take().length, window)
})

await t.test('a reader that stops keeping pace is not waited for any longer', async t => {
  const { engine, client, later } = still(t)
  await reader(engine, client())
  const alice = client()
  await alice.connect('alice')
  await publish(engine, alice, first)
  t.same(await publish(engine, alice, 1), [])
  later(60_000)
  await alice.packets.take(one => one.cmd === 'puback', 5000, 'the answer')
})

for (const end of ['lose', 'leave'] as const) {
  await t.test(`a reader that has gone is not waited for (${end})`, async t => {
    const { engine, client } = still(t)
    const bob = await reader(engine, client())
    const alice = client()
    await alice.connect('alice')
    await publish(engine, alice, first)
    t.same(await publish(engine, alice, 2), [])
    bob[end]()
    await settled(engine)
    t.same(acked(alice), [first + 1, first + 2])
  })
}

await t.test('others do not wait: other readers, and the sender as a reader', async t => {
  const { engine, client } = still(t)
  await reader(engine, client())
  const carol = await reader(engine, client(), 'carol')
  const alice = await reader(engine, client(), 'alice')
  await publish(engine, alice, first)
  t.same(await publish(engine, alice, 1), [])
  const dave = client()
  await dave.connect('dave')
  t.same(await publish(engine, dave, 3, 'im/to/u/carol'), [1, 2, 3])
  t.equal(carol.take().length, 3)
  // alice's own acknowledgements are read while her answers wait.
  await publish(engine, dave, window + 1, 'im/to/u/alice')
  const got: string[] = []
  for (let round = 0; round < 10; round++) {
    for (const one of alice.take()) {
      got.push(name(one))
      alice.ack(one)
    }
    await settled(engine)
  }
  t.same(got.filter(one => one.startsWith('d:alice:dave')).length, window + 1)
})

await t.test('QoS 2 waits likewise; at QoS 0 nobody waits, and everything is read', async t => {
  const { engine, client } = still(t)
  const bob = await reader(engine, client())
  const alice = client()
  await alice.connect('alice')
  await publish(engine, alice, first)
  t.same(await publish(engine, alice, 1, 'im/to/u/bob', 2), [])
  await publish(engine, alice, 2, 'im/to/u/bob', 0)
  t.equal(engine.log('d:alice:bob').length, first + 3)
  t.notOk(alice.transport.paused)
  for (let round = 0; round < 4; round++) {
    for (const one of bob.take()) bob.ack(one)
    await settled(engine)
  }
  t.same(acked(alice), [first + 1])
})

await t.test('a message that fails is not held back, and what was stored before it is said', async t => {
  const { engine, client } = still(t)
  await reader(engine, client())
  const alice = client()
  await alice.connect('alice')
  await publish(engine, alice, first)
  t.same(await publish(engine, alice, 1), [])
  alice.publish('im/to/u/bob', 'fail')
  await settled(engine)
  t.same(acked(alice), [first + 1])
  t.ok(alice.closed)
})

await t.test('a server that ends says what it knows', async t => {
  const { engine, client, access } = still(t)
  await reader(engine, client())
  const alice = client()
  await alice.connect('alice')
  await publish(engine, alice, first)
  t.same(await publish(engine, alice, 2), [])
  await access.close()
  t.same(acked(alice), [first + 1, first + 2])
})
