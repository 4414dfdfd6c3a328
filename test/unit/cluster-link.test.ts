/** What servers say to each other, and what becomes of that which is lost, cannot be read, or comes from a server that speaks another version. */
import { pino } from 'pino'
import t from 'tap'
import type { Test } from 'tap'
import { Link, PeerUnavailableError } from '../../broker/cluster/link.ts'
import { View } from '../../broker/cluster/view.ts'
import { FakeRegistry, info } from '../support/memory-cluster.ts'
import { MemoryNetwork } from '../support/memory-transport.ts'

interface Side { link: Link, registry: FakeRegistry, broken: number[], heard: unknown[], logged: string[], clock: { now: number } }

function side (t: Test, self: string, network: MemoryNetwork, ids: readonly string[], requestTimeoutMs = 5_000, mostWaitMs = 50): Side {
  const registry = new FakeRegistry(new View(ids.map(info)))
  const logged: string[] = []
  const clock = { now: 1_000 }
  const log = pino({ level: 'debug' }, { write: line => { logged.push((JSON.parse(line) as { msg: string }).msg) } })
  const link = new Link({ self, transport: network.transport(self), registry, requestTimeoutMs, mostWaitMs, log, steady: () => clock.now })
  const [broken, heard]: [number[], unknown[]] = [[], []]
  link.onBroken((_node, sinceMs) => { broken.push(sinceMs) })
  link.on('word', body => {
    heard.push(body)
    return `heard ${String(body)}`
  })
  t.teardown(() => { link.close() })
  return { link, registry, broken, heard, logged, clock }
}

function pair (t: Test): { network: MemoryNetwork, a: Side, b: Side } {
  const network = new MemoryNetwork()
  return { network, a: side(t, 'a', network, ['a', 'b']), b: side(t, 'b', network, ['a', 'b']) }
}

/** All that was said in this turn has come. */
async function said (network: MemoryNetwork): Promise<void> {
  await new Promise(resolve => { setImmediate(resolve) })
  await network.settled()
  await new Promise(resolve => { setImmediate(resolve) })
}

await t.test('what is told comes in order, in one frame a turn, and what is asked is answered', async t => {
  const { network, a, b } = pair(t)
  const answer = a.link.ask('b', 'word', 1)
  a.link.tell('b', 'word', 2)
  t.equal(await answer, 'heard 1')
  t.same(b.heard, [1, 2])
  t.equal(network.frames, 2, 'one each way')
  await t.rejects(a.link.ask('b', 'unheard-of', 1), { message: 'knows no unheard-of' })
  t.same([a.broken, b.broken], [[], []])
})

await t.test('what can wait goes with the next frame, in its order, or with the heartbeat', async t => {
  const network = new MemoryNetwork()
  const [a, b] = ['a', 'b'].map(self => side(t, self, network, ['a', 'b'], 5_000, 60_000)) as [Side, Side]
  a.link.tell('b', 'word', 1, { canWait: true })
  await said(network)
  t.same([b.heard, network.frames], [[], 0])
  a.link.tell('b', 'word', 2)
  a.link.tell('b', 'word', 3, { canWait: true })
  await said(network)
  t.same([b.heard, network.frames], [[1, 2, 3], 1])
  a.link.tell('b', 'word', 4, { canWait: true })
  await a.registry.beat()
  await said(network)
  t.same([b.heard, network.frames], [[1, 2, 3, 4], 3])
  t.same([a.broken, b.broken], [[], []])
})

await t.test('what can wait goes by itself soon, and so does its answer', async t => {
  const { network, a, b } = pair(t)
  const alive = setTimeout(() => {}, 20_000)
  t.teardown(() => { clearTimeout(alive) })
  b.link.on('slow', body => body, { canWait: true })
  t.equal(await a.link.ask('b', 'slow', 4, { canWait: true }), 4)
  t.equal(network.frames, 2)
})

await t.test('a lost frame is known with the next one, and by the heartbeat where there is none', async t => {
  const { network, a, b } = pair(t)
  a.link.tell('b', 'word', 1)
  await said(network)
  network.drops = () => true
  a.link.tell('b', 'word', 2)
  await said(network)
  network.drops = () => false
  b.clock.now = 2_000
  t.same(b.broken, [])
  a.link.tell('b', 'word', 3)
  await said(network)
  t.same(b.heard, [1, 3])
  t.same(b.broken, [1_000], 'since the last time when all was heard')
  network.drops = () => true
  a.link.tell('b', 'word', 4)
  await said(network)
  network.drops = () => false
  await a.registry.beat()
  await said(network)
  t.same(b.broken, [1_000, 2_000])
  await a.registry.beat()
  await said(network)
  t.equal(b.broken.length, 2, 'it is said once')
})

await t.test('what is no frame is logged and passed over', async t => {
  const { network, a, b } = pair(t)
  const stranger = network.transport('x')
  for (const text of ['', 'null', '7', '{"v":1', '{"v":1,"f":"a","s":1,"m":7}', '{"v":1,"f":"a","s":1,"m":["word"]}', '{"v":1,"f":7,"s":1}', '{"v":1,"f":"a","s":"1"}', '[]']) {
    await stranger.publish('b', text)
    await network.settled()
    t.equal(b.logged.pop(), 'what came from Redis for this server is no frame of another one: it is passed over', text)
  }
  a.link.tell('b', 'word', 1)
  await said(network)
  t.same(b.heard, [1])
  t.same(b.broken, [], 'nothing of the others was lost by it')
})

await t.test('a server that speaks another version is not understood: what it says is made good from the database, and nothing is open for good', async t => {
  const { network, b } = pair(t)
  const newer = network.transport('a')
  b.clock.now = 2_000
  await newer.publish('b', JSON.stringify({ v: 2, f: 'a', s: 1, m: [['word', 1]] }))
  await network.settled()
  t.same([b.heard, b.broken], [[], [2_000]])
  b.clock.now = 3_000
  await newer.publish('b', JSON.stringify({ v: 2, f: 'a', s: 2, words: 'of another shape' }))
  await network.settled()
  t.same(b.broken, [2_000, 2_000], 'from where the last look began')
  b.clock.now = 4_000
  await newer.publish('b', JSON.stringify({ v: 2, f: 'a', s: 3 }))
  await network.settled()
  t.same(b.broken, [2_000, 2_000, 3_000])
  t.equal(b.link.wholeAt, undefined)
})

await t.test('who is gone, or away, answers nobody', async t => {
  const { network, a } = pair(t)
  await t.rejects(a.link.ask('c', 'word', 1), PeerUnavailableError)
  network.drops = () => true
  const lost = a.link.ask('b', 'word', 1)
  const gone = t.rejects(lost, { name: 'PeerUnavailableError', message: 'server b is gone' })
  a.clock.now = 5_000
  a.registry.see(new View([info('a')]))
  await gone
  t.same(a.broken, [1_000])
  t.equal(a.link.isAlone, true)
  network.drops = () => false
  network.isDown = true
  a.registry.see(new View(['a', 'b'].map(info)))
  await t.rejects(a.link.ask('b', 'word', 1), { message: 'server b cannot be reached' })
})

await t.test('who is asked for what takes long says that it is being done, and is waited for; not for ever', async t => {
  const network = new MemoryNetwork()
  // Timers of links keep no process.
  const alive = setInterval(() => {}, 1_000)
  t.teardown(() => { clearInterval(alive) })
  const [a, b] = ['a', 'b'].map(self => side(t, self, network, ['a', 'b'], 60)) as [Side, Side]
  let finish = (): void => {}
  b.link.on('work', () => new Promise(resolve => { finish = () => { resolve('done') } }), { takesLong: true })
  b.link.on('other work', () => new Promise(() => {}))
  await t.rejects(a.link.ask('b', 'other work', 1), { name: 'PeerUnavailableError' }, 'what does not take long is not waited for')
  const answer = a.link.ask('b', 'work', 1)
  // Words of it come three times in the 60 ms; when six have come it would be over otherwise.
  const until = network.frames + 6
  while (network.frames < until) await new Promise(resolve => { setTimeout(resolve, 5) })
  finish()
  t.equal(await answer, 'done')
  const { frames } = network
  const tired = a.link.ask('b', 'work', 2)
  a.clock.now += 60 * 10
  await t.rejects(tired, { name: 'PeerUnavailableError' })
  t.ok(network.frames > frames + 1, 'it said so all the while')
  network.cut('a', 'b')
  await t.rejects(a.link.ask('b', 'work', 3), { name: 'PeerUnavailableError' }, 'nothing is heard')
})
