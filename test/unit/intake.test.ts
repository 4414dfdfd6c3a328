/** Publishes are taken in as fast as they are committed: what was not read costs nothing, and no user is read before others. */
import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import fc from 'fast-check'
import t from 'tap'
import { Intake } from '../../broker/gateway/intake.ts'
import { limits, openBench } from '../support/engine-bench.ts'
import { bench, settled, type MemoryClient } from '../support/memory-client.ts'
import { generate } from 'mqtt-packet'

/** Publishes in one chunk, as a socket brings them. */
function burst (client: MemoryClient, texts: readonly string[], first = 1): void {
  client.write(Buffer.concat(texts.map((payload, i) => generate({ cmd: 'publish', topic: 'im/to/u/bob', payload, qos: 1, dup: false, retain: false, messageId: first + i }))))
}

function numbered (name: string, count: number): string[] { return Array.from({ length: count }, (_, i) => `${name}${i}`) }

function bodies (engine: { log (conv: string): Array<{ payload: Uint8Array }> }, conv: string): string[] {
  return engine.log(conv).map(({ payload }) => (JSON.parse(Buffer.from(payload).toString()) as { body: string }).body)
}

async function connected (client: () => MemoryClient, name: string): Promise<MemoryClient> {
  const one = client()
  await one.connect(name)
  return one
}

await t.test('while the engine has enough to commit, each connection is read up to its first publish', async t => {
  const { engine, client } = bench(t)
  const [alice, carol] = [await connected(client, 'alice'), await connected(client, 'carol')]
  engine.holdSubmissions = true
  engine.output([{ kind: 'intake', full: true }])
  burst(alice, numbered('a', 100))
  burst(carol, numbered('c', 3))
  await settled(engine)
  t.strictSame(engine.submitted.map(({ user }) => user), ['alice', 'carol'])
  engine.output([{ kind: 'intake', full: false }])
  await settled(engine)
  t.equal(engine.submitted.length, 103)
  t.notOk(alice.transport.paused)
  while (engine.submitted.length > 0) engine.answer()
  await settled(engine)
  t.strictSame(bodies(engine, 'd:alice:bob'), numbered('a', 100), 'in order')
})

await t.test('who only reads is read: its acknowledgements are not held up', async t => {
  const { engine, client } = bench(t, { inflight: 1 })
  const bob = await connected(client, 'bob')
  await bob.subscribe('im/u/bob/inbox')
  engine.output([{ kind: 'intake', full: true }])
  for (let i = 0; i < 3; i++) engine.commit('d:alice:bob', 'alice', `${i}`)
  for (let i = 0; i < 3; i++) bob.ack(await bob.next())
  t.notOk(bob.transport.paused)
})

await t.test('what comes in pieces while a connection waits is one burst at its turn; more than 16 KiB stays in the socket', async t => {
  const { engine, client } = bench(t)
  const alice = await connected(client, 'alice')
  engine.holdSubmissions = true
  engine.output([{ kind: 'intake', full: true }])
  const text = 'x'.repeat(100)
  burst(alice, [text, text])
  for (let piece = 1; piece <= 3; piece++) burst(alice, Array.from({ length: 10 }, () => text), 10 * piece)
  t.notOk(alice.transport.paused, 'it is read on')
  await settled(engine)
  t.equal(engine.submitted.length, 1)
  engine.output([{ kind: 'intake', full: false }])
  await new Promise<void>(resolve => { setImmediate(resolve) })
  t.equal(engine.submitted.length, 32, 'all of it in one turn of the event loop')

  engine.output([{ kind: 'intake', full: true }])
  burst(alice, [text, text], 100)
  for (let piece = 1; !alice.transport.paused && piece < 100; piece++) burst(alice, Array.from({ length: 10 }, () => text), 100 + 10 * piece)
  t.ok(alice.transport.paused)
  engine.hold('alice/phone', true)
  engine.hold('alice/phone', false)
  t.ok(alice.transport.paused, 'another reason to wait came and went: there is still too much')
  engine.output([{ kind: 'intake', full: false }])
  await settled(engine)
  t.notOk(alice.transport.paused)
})

await t.test('a connection that waits for two reasons is not read', async t => {
  const { engine, client } = bench(t)
  const alice = await connected(client, 'alice')
  engine.holdSubmissions = true
  engine.output([{ kind: 'intake', full: true }])
  burst(alice, numbered('a', 3))
  t.notOk(alice.transport.paused)
  engine.hold('alice/phone', true)
  t.ok(alice.transport.paused, 'its rate is used up')
  engine.hold('alice/phone', false)
  t.notOk(alice.transport.paused, 'only its turn is missing')
  engine.hold('alice/phone', true)
  engine.output([{ kind: 'intake', full: false }])
  t.ok(alice.transport.paused, 'only its rate is missing')
  engine.hold('alice/phone', false)
  t.notOk(alice.transport.paused)
  await settled(engine)
  t.equal(engine.submitted.length, 3)
})

await t.test('a turn of the event loop takes so many publishes, of each user in turn', async t => {
  const { engine, client } = bench(t, { queuedPublishes: 40 })
  const clients = [await connected(client, 'alice'), await connected(client, 'carol'), await connected(client, 'dave')]
  engine.holdSubmissions = true
  for (const [i, one] of clients.entries()) burst(one, numbered(`${i}`, 100))
  t.equal(engine.submitted.length, 0, 'the turn is not over')
  await new Promise<void>(resolve => { setImmediate(resolve) })
  t.strictSame(engine.submitted.map(({ user }) => user), [...new Array<string>(40).fill('alice'), 'carol', 'dave'], 'what a connection sends first is always taken')
  for (let turn = 0; turn < 50; turn++) await settled(engine)
  const users = engine.submitted.map(({ user }) => user)
  t.equal(users.length, 300)
  const firstHalf = users.slice(0, 150)
  for (const name of ['alice', 'carol', 'dave']) t.ok(firstHalf.filter(user => user === name).length > 30, `${name} had turns`)
  while (engine.submitted.length > 0) engine.answer()
  await settled(engine)
  t.strictSame(bodies(engine, 'd:bob:carol'), numbered('1', 100))
})

await t.test('turns are by user: more connections are no more turns', async t => {
  const intake = new Intake(1)
  const order: string[] = []
  const again = (user: string, left: number): void => {
    intake.wait(user, () => {
      order.push(user)
      intake.take()
      if (left > 1) again(user, left - 1)
    })
  }
  for (let i = 0; i < 5; i++) again('many', 10)
  again('one', 10)
  for (let i = 0; i < 20; i++) intake.turned()
  t.equal(order.filter(user => user === 'one').length, 10)
  t.equal(order.length, 20)
})

await t.test('a connection that breaks while it waits: what it sent is taken in, and then it is over', async t => {
  const { engine, client } = bench(t)
  const alice = await connected(client, 'alice')
  engine.output([{ kind: 'intake', full: true }])
  burst(alice, numbered('a', 100))
  alice.transport.lost()
  await settled(engine)
  t.equal(engine.log('d:alice:bob').length, 1)
  engine.output([{ kind: 'intake', full: false }])
  await settled(engine)
  t.strictSame(bodies(engine, 'd:alice:bob'), numbered('a', 100))
  t.equal(engine.hangUps.length, 1)
})

await t.test('a connection that is closed while it waits is not read on', async t => {
  const { access, engine, client } = bench(t)
  const alice = await connected(client, 'alice')
  engine.output([{ kind: 'intake', full: true }])
  burst(alice, numbered('a', 100))
  access.output([{ kind: 'kick', user: 'alice', code: 'banned' }])
  engine.output([{ kind: 'intake', full: false }])
  await settled(engine)
  t.equal(engine.log('d:alice:bob').length, 1)
})

await t.test('the engine says when it has enough, and when it has not any more', async t => {
  const bench = await openBench(t, { limits: { ...limits, queuedPublishes: 10 } })
  const store = new EventEmitter()
  let fails = true
  bench.before = async () => {
    if (bench.commits.length > 1) return
    await once(store, 'go')
    if (fails) throw new Error('disk')
  }
  const said = (): boolean[] => bench.outputs.flatMap(output => output.kind === 'intake' ? [output.full] : [])
  const refs = Array.from({ length: 10 }, (_, i) => bench.send(`user${i}`, 'im/to/u/bob', 'x'))
  t.strictSame(said(), [])
  refs.push(bench.send('alice', 'im/to/u/bob', 'x'))
  t.strictSame(said(), [true])
  await new Promise<void>(resolve => { setImmediate(resolve) })
  store.emit('go')
  await Promise.all(refs.map(ref => bench.verdict(ref)))
  await new Promise<void>(resolve => { setImmediate(resolve) })
  t.strictSame(said(), [true, false], 'when the commit fails, too')
  fails = false
  await Promise.all(Array.from({ length: 30 }, () => bench.verdict(bench.send('alice', 'im/to/u/bob', 'x'))))
  await new Promise<void>(resolve => { setImmediate(resolve) })
  t.strictSame(said(), [true, false, true, false])
})

await t.test('who has sent one message is read on while it is waited: its acknowledgements and pings stand behind no publish', async t => {
  const { engine, client } = bench(t, { inflight: 1 })
  const bob = await connected(client, 'bob')
  await bob.subscribe('im/u/bob/inbox')
  engine.holdSubmissions = true
  engine.output([{ kind: 'intake', full: true }])
  bob.publish('im/to/u/alice', 'one', 1, 100)
  bob.send({ cmd: 'pingreq' })
  await bob.packets.take(one => one.cmd === 'pingresp', 5000, 'pingresp')
  for (let i = 0; i < 3; i++) engine.commit('d:alice:bob', 'alice', `${i}`)
  for (let i = 0; i < 3; i++) bob.ack(await bob.next())
  bob.publish('im/to/u/alice', 'two', 1, 101)
  bob.send({ cmd: 'pingreq' })
  await settled(engine)
  t.equal(engine.submitted.length, 1, 'the second one waits, and what is behind it')
  t.strictSame(bob.kinds(), [])
  engine.output([{ kind: 'intake', full: false }])
  await settled(engine)
  t.equal(engine.submitted.length, 2)
  t.strictSame(bob.kinds(), ['pingresp'])
  t.notOk(bob.transport.paused)
})

await t.test('a publish that waits is taken in when all else lets it: a session whose rate is used up', async t => {
  const { engine, client } = bench(t)
  const alice = await connected(client, 'alice')
  engine.holdSubmissions = true
  engine.output([{ kind: 'intake', full: true }])
  burst(alice, numbered('a', 50))
  engine.hold('alice/phone', true)
  engine.output([{ kind: 'intake', full: false }])
  await settled(engine)
  t.equal(engine.submitted.length, 1)
  engine.hold('alice/phone', false)
  await settled(engine)
  t.equal(engine.submitted.length, 50)
  while (engine.submitted.length > 0) engine.answer()
  await settled(engine)
  t.strictSame(bodies(engine, 'd:alice:bob'), numbered('a', 50))
})

await t.test('a packet that is no good behind one that waits ends the connection, and what came before it is stored', async t => {
  const { engine, client } = bench(t)
  const alice = await connected(client, 'alice')
  engine.output([{ kind: 'intake', full: true }])
  burst(alice, numbered('a', 3))
  alice.write(Buffer.from([0xf0, 0]))
  engine.output([{ kind: 'intake', full: false }])
  await settled(engine)
  t.strictSame(bodies(engine, 'd:alice:bob'), numbered('a', 3))
  t.ok(alice.closed)
})

const share = fc.integer({ min: 1, max: 40 })
const act = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('burst' as const), who: fc.nat(2), count: share, qos: fc.constantFrom(0 as const, 1 as const, 2 as const), cut: fc.nat(200) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('full' as const), full: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('hold' as const), who: fc.nat(2), held: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('answer' as const), count: share }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('turn' as const) }) }
)

await t.test('whatever comes together: each connection is read to its end, and in order', async () => {
  const names = ['alice', 'carol', 'dave']
  await fc.assert(fc.asyncProperty(fc.array(act, { minLength: 5, maxLength: 40 }), async acts => {
    const { access, engine, client } = bench(undefined, { queuedPublishes: 20, pendingPublishes: 30, pendingQos2: 10_000 })
    const clients = await Promise.all(names.map(async name => await connected(client, name)))
    const sent: string[][] = names.map(() => [])
    const pings = names.map(() => 0)
    engine.holdSubmissions = true
    for (const one of acts) {
      if (one.do === 'burst') {
        const [mine, who] = [sent[one.who] as string[], clients[one.who] as MemoryClient]
        const packets = Array.from({ length: one.count }, () => {
          mine.push(`${mine.length}`)
          return generate({ cmd: 'publish', topic: 'im/to/u/bob', payload: `${mine.length - 1}`, qos: one.qos, dup: false, retain: false, messageId: mine.length })
        })
        const bytes = Buffer.concat([...packets, generate({ cmd: 'pingreq' })])
        who.write(bytes.subarray(0, one.cut))
        if (bytes.length > one.cut) who.write(bytes.subarray(one.cut))
        pings[one.who] = (pings[one.who] as number) + 1
      } else if (one.do === 'full') engine.output([{ kind: 'intake', full: one.full }])
      else if (one.do === 'hold') engine.hold(`${names[one.who]}/phone`, one.held)
      else if (one.do === 'answer') engine.answer(one.count)
      else await new Promise<void>(resolve => { setImmediate(resolve) })
    }
    engine.output([{ kind: 'intake', full: false }])
    for (const name of names) engine.hold(`${name}/phone`, false)
    engine.holdSubmissions = false
    for (let quiet = 0; quiet < 20; quiet = engine.submitted.length > 0 ? 0 : quiet + 1) {
      engine.answer()
      await new Promise<void>(resolve => { setImmediate(resolve) })
    }
    for (const [i, name] of names.entries()) {
      assert.deepStrictEqual(bodies(engine, `d:${[name, 'bob'].sort().join(':')}`), sent[i])
      const pongs = (clients[i] as MemoryClient).kinds().filter(kind => kind === 'pingresp').length
      assert.strictEqual(pongs, pings[i])
    }
    await access.close()
  }), { numRuns: 60 })
})
