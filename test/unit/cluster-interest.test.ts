/** Who wants to hear what, in memory: it is right as long as Redis would say the same, and what cannot be kept right is looked up afterwards. */
import { setTimeout } from 'node:timers/promises'
import { pino } from 'pino'
import t from 'tap'
import type { Test } from 'tap'
import { Greetings } from '../../broker/cluster/greetings.ts'
import { Interest } from '../../broker/cluster/interest.ts'
import { Link } from '../../broker/cluster/link.ts'
import { View } from '../../broker/cluster/view.ts'
import { FakeRegistry, info } from '../support/memory-cluster.ts'
import { MemoryNetwork } from '../support/memory-transport.ts'

const leaseMs = 5_000

interface Side { interest: Interest, greetings: Greetings, registry: FakeRegistry & { isHeld: boolean }, late: number[], looks: () => number }
interface World { network: MemoryNetwork, clock: { now: number }, a: Side, b: Side, /** what b is in Redis for; undefined: its hash is not whole */ hash: { keys: Set<string> | undefined, before: () => Promise<void> }, beat: () => Promise<void> }

/** Two servers that have greeted each other. a asks, b enters. */
async function world (t: Test, maxKeys?: number): Promise<World> {
  const [network, clock] = [new MemoryNetwork(), { now: 1_000 }]
  const hash: World['hash'] = { keys: new Set(), before: async () => {} }
  const log = pino({ level: 'silent' })
  const side = (self: string): Side => {
    const registry = Object.assign(new FakeRegistry(new View([info(self)])), { isHeld: true })
    const link = new Link({ self, transport: network.transport(self), registry, requestTimeoutMs: 10_000, log, steady: () => clock.now })
    const late: number[] = []
    let looks = 0
    const onError = (error: unknown): void => { throw error }
    const steady = (): number => clock.now
    const greetings = new Greetings({ self, link, registry: registry as never, onLate: sinceMs => { late.push(sinceMs) }, onKnown: node => { interest.trust(node) }, onGreeted: node => { interest.forget(node) }, onError, leaseMs, steady })
    const look = async (_: string, keys: readonly string[]): Promise<ReadonlySet<string> | undefined> => {
      looks++
      const found = hash.keys === undefined ? undefined : new Set(keys.filter(key => hash.keys?.has(key)))
      await hash.before()
      return found
    }
    const interest: Interest = new Interest({ directory: { look }, link, registry, greetings, onError, steady, ...maxKeys !== undefined && { maxKeys } })
    t.teardown(() => { link.close() })
    return { interest, greetings, registry, late, looks: () => looks }
  }
  const [a, b] = [side('a'), side('b')]
  const beat = async (): Promise<void> => {
    for (const { registry } of [a, b]) await registry.beat()
    await Promise.all([a, b].map(({ greetings }) => greetings.settled()))
  }
  for (const { registry } of [a, b]) registry.see(new View([info('a'), info('b')]))
  await beat()
  for (const { late } of [a, b]) late.length = 0
  return { network, clock, a, b, hash, beat }
}

async function wants (side: Side, ...keys: string[]): Promise<string[]> { return [...(await side.interest.wanted(['b'], keys)).get('b') ?? []] }

await t.test('Redis is asked once, and again for what another server has entered or left', async t => {
  const { a, b, hash } = await world(t)
  t.same(await wants(a, 'u:alice', 'u:bob'), [])
  t.same(await wants(a, 'u:alice', 'u:bob'), [])
  t.equal(a.looks(), 1)
  hash.keys?.add('u:alice')
  await b.interest.entered(['u:alice'])
  t.same(await wants(a, 'u:alice', 'u:bob'), ['u:alice'])
  t.same(await wants(a, 'u:alice', 'u:bob'), ['u:alice'])
  t.equal(a.looks(), 2)
  hash.keys?.delete('u:alice')
  b.interest.left(['u:alice'])
  await b.interest.entered(['u:carol'])
  t.same(await wants(a, 'u:alice'), [])
  await b.interest.entered(null)
  await wants(a, 'u:bob')
  t.equal(a.looks(), 4, 'all was forgotten')
  t.same([a.late, b.late], [[], []])
})

await t.test('what Redis said before another server entered it is not remembered', async t => {
  const { a, b, hash } = await world(t)
  hash.before = async () => {
    hash.before = async () => {}
    hash.keys?.add('u:alice')
    await b.interest.entered(['u:alice'])
  }
  t.same(await wants(a, 'u:alice'), [], 'it was asked before: b finds what was committed when it looks')
  t.same(await wants(a, 'u:alice'), ['u:alice'])
})

await t.test('nothing is remembered of a hash that is not whole, of a server that does not know this one, and while this one may have been dropped', async t => {
  const { a, hash } = await world(t)
  hash.keys = undefined
  t.same(await wants(a, 'u:alice'), ['u:alice'], 'it may want everything')
  hash.keys = new Set()
  t.same(await wants(a, 'u:alice'), [])
  a.registry.isHeld = false
  hash.keys.add('u:alice')
  t.same(await wants(a, 'u:alice'), ['u:alice'])
  a.registry.see(new View([info('a')]))
  a.registry.isHeld = true
  t.same(await wants(a, 'u:alice'), ['u:alice'])
  t.equal(a.looks(), 4)
})

await t.test('only so many keys are remembered', async t => {
  const { a } = await world(t, 4)
  for (let i = 0; i < 10; i++) await wants(a, `u:${i}`)
  await wants(a, 'u:9')
  t.equal(a.looks(), 10)
  await wants(a, 'u:0')
  t.equal(a.looks(), 11)
})

await t.test('a server that was not told is greeted, and what it said to nobody meanwhile is looked up', async t => {
  const { network, clock, a, b, hash, beat } = await world(t)
  t.same(await wants(a, 'u:alice'), [])
  network.isDown = true
  hash.keys?.add('u:alice')
  clock.now = 2_000
  await b.interest.entered(['u:alice'])
  t.equal(b.greetings.isSettled, false)
  t.same(await wants(a, 'u:alice'), [], 'a goes by what it knew')
  network.isDown = false
  network.drops = (from, to) => from === 'b' && to === 'a'
  const waited = new AbortController()
  const second = await Promise.race([b.interest.entered(['u:bob']).then(() => 'goes on'), setTimeout(5_000, 'waits', { signal: waited.signal })])
  waited.abort()
  t.equal(second, 'goes on')
  t.same(b.late, [])
  network.drops = () => false
  await beat()
  t.equal(b.greetings.isSettled, true)
  t.same([...new Set(b.late)], [2_000])
  t.same(await wants(a, 'u:alice'), ['u:alice'])
})

await t.test('what is entered while a greeting is under way is not taken for told by it', async t => {
  const { network, clock, b, beat } = await world(t)
  network.isDown = true
  clock.now = 2_000
  await b.interest.entered(['u:alice'])
  network.isDown = false
  const greeted = b.greetings.settled()
  b.greetings.told('a', 3_000, false)
  await greeted
  t.equal(b.greetings.isSettled, false)
  await beat()
  t.same([b.late, b.greetings.isSettled], [[2_000], true])
})

await t.test('of a server that is dropped what it wrote afterwards is looked up when its lease is over, and all of it when it comes back', async t => {
  const { clock, a, b, beat } = await world(t)
  const [alone, both] = [new View([info('b')]), new View([info('a'), info('b')])]
  clock.now = 2_000
  b.registry.see(alone)
  t.equal(b.greetings.isSettled, false)
  await b.registry.beat()
  t.same(b.late, [])
  clock.now = 2_000 + leaseMs
  await b.registry.beat()
  t.same([b.late, b.greetings.isSettled], [[2_000], true])
  await b.registry.beat()
  t.same(b.late, [2_000], 'once')
  await wants(a, 'u:alice')
  clock.now = 9_000
  b.registry.see(both)
  await beat()
  t.same(b.late, [2_000, 2_000])
  await wants(a, 'u:alice')
  t.equal(a.looks(), 2, 'a was greeted')
})

await t.test('a server that is dropped before it was told is made good for at once', async t => {
  const { network, clock, b } = await world(t)
  network.isDown = true
  clock.now = 2_000
  await b.interest.entered(['u:alice'])
  clock.now = 3_000
  b.registry.see(new View([info('b')]))
  t.same(b.late, [2_000])
  b.greetings.told('a', 2_500, false)
  t.same(b.late, [2_000, 2_500])
})
