/** What a share does when something goes wrong: the store, a worker that holds the oldest message. */
import t from 'tap'
import { bench, name, settled, type MemoryClient } from '../support/memory-client.ts'

const filter = '$share/w/im/u/bob/inbox'
type Bench = ReturnType<typeof bench>

async function worker (b: Bench, clientId: string, receiveMaximum = 10, subscribed = filter): Promise<MemoryClient> {
  const client = b.client({ version: 5 })
  await client.connect('bob', { clientId, properties: { receiveMaximum } })
  await client.subscribe(subscribed)
  return client
}

await t.test('a worker that holds the oldest message while the others wait is cut off', async t => {
  const b = bench(t, { shareInflight: 4, shareHoldTimeoutMs: 20 })
  const stuck = await worker(b, 'stuck')
  b.engine.commit('d:alice:bob', 'alice')
  await settled(b.engine)
  t.strictSame(stuck.seqs(), ['d:alice:bob#1'])
  const busy = await worker(b, 'busy', 20)
  for (let i = 2; i <= 10; i++) b.engine.commit('d:alice:bob', 'alice')
  await settled(b.engine)
  const first = busy.take()
  t.strictSame(first.map(name), ['d:alice:bob#2', 'd:alice:bob#3', 'd:alice:bob#4'], 'four in all')
  for (const packet of first) busy.ack(packet)
  await settled(b.engine)
  t.strictSame(busy.seqs(), [], 'the others wait')
  t.match(await stuck.packets.take(one => one.cmd === 'disconnect'), { reasonCode: 0x98 })
  const got = []
  while (got.length < 7) {
    const packet = await busy.next()
    got.push(name(packet))
    busy.ack(packet)
  }
  t.strictSame(got, ['d:alice:bob#1', ...[5, 6, 7, 8, 9, 10].map(seq => `d:alice:bob#${seq}`)])
  t.notOk(busy.closed)
})

await t.test('the store fails: the workers come back', async t => {
  const b = bench(t)
  const one = await worker(b, 'one')
  b.engine.commit('d:alice:bob', 'alice')
  await settled(b.engine)
  const two = await worker(b, 'two')
  b.engine.holding.add('read')
  one.lose()
  while (b.engine.held.length === 0) await settled(b.engine)
  b.engine.holding.clear()
  b.engine.next().fail(new Error('the disk is gone'))
  t.match(await two.packets.take(packet => packet.cmd === 'disconnect'), { reasonCode: 0x80 })
  await settled(b.engine)
  t.strictSame(b.engine.live.size, 0, 'the share is closed')
  const back = await worker(b, 'back')
  t.equal(name(await back.next()), 'd:alice:bob#1')
})

await t.test('who comes after the store has failed gets a share that is opened anew', async t => {
  const b = bench(t)
  const one = await worker(b, 'one')
  b.engine.commit('d:alice:bob', 'alice')
  await settled(b.engine)
  const two = await worker(b, 'two')
  // Has its place, and keeps it while its subscription is stored.
  const three = b.client({ version: 5 })
  await three.connect('bob', { clientId: 'three', clean: false, properties: { receiveMaximum: 10, sessionExpiryInterval: 3600 } })
  b.engine.holding.add('read')
  one.lose()
  while (b.engine.held.length === 0) await settled(b.engine)
  b.engine.holding.clear()
  b.engine.holding.add('saveSubscriptions')
  three.ask('subscribe', [filter])
  while (b.engine.held.length < 2) await settled(b.engine)
  b.engine.holding.clear()
  b.engine.next().fail(new Error('one read failed'))
  t.match(await two.packets.take(packet => packet.cmd === 'disconnect'), { reasonCode: 0x80 })
  const four = await worker(b, 'four')
  t.equal(name(await four.next()), 'd:alice:bob#1')
  t.notOk(four.closed)
  b.engine.next().now()
  t.match(await three.packets.take(packet => packet.cmd === 'disconnect'), { reasonCode: 0x80 }, 'it had its place in the one that failed')
  await settled(b.engine)
  b.engine.commit('d:alice:bob', 'alice')
  t.equal(name(await four.next()), 'd:alice:bob#2')
  four.lose()
  await settled(b.engine)
  t.equal(b.engine.live.size, 0)
})

await t.test('a share that cannot be opened refuses nobody for ever', async t => {
  const b = bench(t)
  const one = b.client({ version: 5 })
  await one.connect('bob', { clientId: 'one' })
  b.engine.holding.add('saveSubscriptions')
  one.ask('subscribe', [filter])
  while (b.engine.held.length === 0) await settled(b.engine)
  b.engine.holding.clear()
  b.engine.next().fail(new Error('the disk is gone'))
  await one.packets.take(packet => packet.cmd === 'disconnect')
  await settled(b.engine)
  t.equal(b.engine.live.size, 0)
  const two = await worker(b, 'two')
  b.engine.commit('d:alice:bob', 'alice')
  t.equal(name(await two.next()), 'd:alice:bob#1')
})

await t.test('what has expired or may not be seen any more is not given to another', async t => {
  const b = bench(t)
  const one = await worker(b, 'one')
  b.engine.commit('d:alice:bob', 'alice', '', Date.now() + 1000)
  b.engine.commit('d:alice:bob', 'alice')
  b.engine.commit('d:alice:bob', 'alice')
  await settled(b.engine)
  t.strictSame(one.seqs(), ['d:alice:bob#1', 'd:alice:bob#2', 'd:alice:bob#3'])
  b.engine.aheadMs = 2000
  b.engine.hidden.add('d:alice:bob 2')
  const two = await worker(b, 'two')
  one.lose()
  const third = await two.next()
  t.equal(name(third), 'd:alice:bob#3')
  two.ack(third)
  await settled(b.engine)
  b.access.pump.cursors.flush()
  t.equal(b.engine.cursor(`bob/${filter}`, 'd:alice:bob'), 3, 'and the cursor goes on')
})

await t.test('the worker with most room, and among equals the one that has waited longest', async t => {
  const b = bench(t)
  const workers = [await worker(b, 'a', 2), await worker(b, 'b', 4), await worker(b, 'c', 4)]
  const dealt = async (): Promise<string[]> => {
    b.engine.commit('d:alice:bob', 'alice')
    await settled(b.engine)
    return workers.map(one => one.seqs().length).map((count, i) => count > 0 ? 'abc'[i] as string : '').filter(letter => letter !== '')
  }
  const order = []
  for (let i = 0; i < 8; i++) order.push(...await dealt())
  t.equal(order.join(''), 'bcbcabca', 'none is acknowledged')
})

await t.test('notices go to one of them', async t => {
  const b = bench(t)
  const workers = [await worker(b, 'a', 2, '$share/w/im/u/bob/#'), await worker(b, 'b', 2, '$share/w/im/u/bob/#')]
  b.engine.output([{ kind: 'notice', user: 'bob', payload: Buffer.from('{}') }])
  await settled(b.engine)
  t.equal(workers.flatMap(one => one.take()).filter(({ topic }) => topic === 'im/u/bob/notice').length, 1)
})

await t.test('notices need no room', async t => {
  const b = bench(t)
  const workers = [await worker(b, 'a', 1, '$share/w/im/u/bob/#'), await worker(b, 'b', 1, '$share/w/im/u/bob/#')]
  b.engine.commit('d:alice:bob', 'alice')
  b.engine.commit('d:alice:bob', 'alice')
  await settled(b.engine)
  t.strictSame(workers.map(one => one.take().length), [1, 1], 'all are busy')
  const noticed = async (): Promise<number[]> => {
    b.engine.output([{ kind: 'notice', user: 'bob', payload: Buffer.from('{}') }])
    await settled(b.engine)
    return workers.map(one => one.take().length)
  }
  t.strictSame([await noticed(), await noticed()], [[1, 0], [0, 1]], 'in turn')
  const [first, second] = workers as [MemoryClient, MemoryClient]
  first.transport.slow = true
  first.transport.unsentBytes = 100_000
  t.strictSame([await noticed(), await noticed()], [[0, 1], [0, 1]], 'not to one that does not take what it was sent')
  second.transport.slow = true
  second.transport.unsentBytes = 100_000
  t.strictSame(await noticed(), [0, 0])
})
