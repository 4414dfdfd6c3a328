/** Workers whose kept subscription finds no place in its share. */
import t from 'tap'
import { bench, name, settled, type Bench, type MemoryClient } from '../support/memory-client.ts'

const filter = '$share/w/im/u/bob/inbox'

async function connect (b: Bench, clientId: string): Promise<MemoryClient> {
  const client = b.client({ version: 5 })
  await client.connect('bob', { clientId, clean: false, properties: { receiveMaximum: 10, sessionExpiryInterval: 3600 } })
  await settled(b.engine)
  return client
}

/** Sessions that subscribe to the share and are away. */
async function away (b: Bench, clientIds: readonly string[]): Promise<void> {
  for (const clientId of clientIds) {
    const client = await connect(b, clientId)
    await client.subscribe(filter)
    client.leave()
    await settled(b.engine)
  }
}

await t.test('a kept worker without a place gets the next one', async t => {
  const b = bench(t, { shareMembers: 1 })
  await away(b, ['one', 'two', 'three', 'four'])
  const workers = []
  for (const clientId of ['one', 'two', 'three', 'four']) workers.push(await connect(b, clientId))
  const [one, two, three, four] = workers as [MemoryClient, MemoryClient, MemoryClient, MemoryClient]
  b.engine.commit('d:alice:bob', 'alice')
  t.equal(name(await one.next()), 'd:alice:bob#1')
  await two.unsubscribe(filter)
  one.lose()
  t.equal(name(await three.next()), 'd:alice:bob#1', 'who waits in the order in which they came; but for who has unsubscribed')
  b.engine.commit('d:alice:bob', 'alice')
  t.equal(name(await three.next()), 'd:alice:bob#2')
  three.leave()
  t.strictSame([name(await four.next()), name(await four.next())], ['d:alice:bob#1', 'd:alice:bob#2'])
  t.strictSame(two.seqs(), [])
  four.leave()
  await settled(b.engine)
  t.notOk(b.engine.live.has(`bob/${filter}`), 'nobody has a place')
})

/** The share is open at another server for the first `times` that it is asked for. */
function elsewhere (b: Bench, times: number): void {
  const openSession = b.engine.openSession.bind(b.engine)
  b.engine.openSession = async start => {
    if (start.share !== true || times === 0) return await openSession(start)
    times--
    return { ok: false, code: 'unavailable', reason: 'it is open at another server' }
  }
}

await t.test('a share that was open at another server is tried again', async t => {
  const b = bench(t)
  await away(b, ['one', 'two'])
  elsewhere(b, 3)
  const [one, two] = [await connect(b, 'one'), await connect(b, 'two')]
  t.notOk(b.engine.live.has(`bob/${filter}`))
  while (!b.engine.live.has(`bob/${filter}`)) await settled(b.engine)
  await settled(b.engine)
  for (let i = 0; i < 2; i++) b.engine.commit('d:alice:bob', 'alice')
  await settled(b.engine)
  t.strictSame([one.seqs(), two.seqs()], [['d:alice:bob#1'], ['d:alice:bob#2']], 'both have a place')
})

for (const how of ['unsubscribes', 'goes'] as const) {
  await t.test(`who ${how} while it tries has no place`, async t => {
    const b = bench(t, { shareMembers: 1 })
    await away(b, ['one'])
    elsewhere(b, 1)
    const one = await connect(b, 'one')
    b.engine.holding.add('openSession')
    while (b.engine.held.length === 0) await settled(b.engine)
    b.engine.holding.clear()
    if (how === 'goes') one.lose()
    else await one.unsubscribe(filter)
    b.engine.next().now()
    await settled(b.engine)
    t.notOk(b.engine.live.has(`bob/${filter}`))
    const two = await connect(b, 'two')
    t.strictSame(await two.subscribe(filter), [1], 'its place is free')
  })
}
