/**
 * Outputs that come with a gap, twice, late or never, and reads of the store that are older than what was heard: as they are where outputs come
 * from other servers. Over MQTT, and over a sink that is not MQTT.
 */
import t from 'tap'
import type { Test } from 'tap'
import type { Output } from '../../broker/link/port.ts'
import type { Session } from '../../broker/gateway/delivery/session.ts'
import { CollectingClient } from '../support/collecting-client.ts'
import { bench as mqttBench, settled, type Bench, type MemoryClient } from '../support/memory-client.ts'
import { behind } from '../support/pump-world.ts'

/** The filter that brings a log, who writes it, and what it is called. */
const logs = [
  { what: 'a conversation', filter: 'im/u/bob/inbox', log: 'd:alice:bob', from: 'alice' },
  { what: 'a group', filter: 'im/g/+', log: 'g:dev', from: 'alice' },
  { what: 'own messages in a group', filter: 'im/u/bob/inbox', log: 'g:dev', from: 'bob' },
  { what: 'events', filter: 'im/u/bob/event', log: 'e:bob', from: 'bob' }
] as const

type One = Pick<Bench, 'engine' | 'access'> & {
  client (): MemoryClient | CollectingClient
  /** What happens once a second. */
  sweep (): void
  /** The device acknowledges all it got, and the cursors are reported. */
  take (device: MemoryClient | CollectingClient): string[]
  /** Time goes on, milliseconds. */
  pass (ms: number): void
}

const lateMs = 60_000

for (const kind of ['mqtt', 'collecting'] as const) await t.test(kind, async t => { await disorder(t, kind) })

async function disorder (t: Test, kind: 'mqtt' | 'collecting'): Promise<void> {
  function bench (t: Test, late = lateMs): One {
    let ahead = 0
    const { engine, access, client } = mqttBench(t, {}, undefined, [], undefined, false, () => performance.now() + ahead, undefined, { lateMs: late })
    const devices: CollectingClient[] = []
    const collecting = (): CollectingClient => {
      const one = new CollectingClient(access, engine)
      devices.push(one)
      return one
    }
    return {
      engine,
      access,
      client: kind === 'mqtt' ? client : collecting,
      sweep: () => {
        access.sessions.sweep(performance.now())
        for (const one of devices) one.sweep()
      },
      take: device => {
        const got = device.take()
        for (const one of got) if (one.qos > 0) device.ack(one as { messageId: number })
        access.pump.cursors.flush()
        return got.map(one => `#${(JSON.parse(one.payload.toString()) as { seq: number }).seq}`)
      },
      pass: ms => {
        ahead += ms
        access.pump.trim()
      }
    }
  }

  /** Bob's device reads a log of which it got and acknowledged the first number. */
  async function reading (t: Test, one: One, filter: string, log: string, from: string): Promise<MemoryClient | CollectingClient> {
    const { engine } = one
    if (log === 'g:dev') engine.join('dev', 'alice', 'bob')
    const bob = one.client()
    await bob.connect('bob', { clean: false })
    await bob.subscribe(filter)
    await settled(engine)
    engine.output([engine.append(log, from)])
    await settled(engine)
    t.strictSame(one.take(bob), ['#1'])
    await settled(engine)
    return bob
  }

  await t.test('a conversation begins with a number that is not its first', async t => {
    const cases = [
      { what: 'the one before it may be unheard of', prevTs: 1_000, wholeMs: 1_000, got: ['#1', '#2', '#3'], asked: 1 },
      { what: 'nothing is known of the one before it', prevTs: undefined, wholeMs: Infinity, got: ['#1', '#2', '#3'], asked: 1 },
      { what: 'the one before it was heard of', prevTs: 1_000, wholeMs: 1_001, got: ['#3'], asked: 0 }
    ]
    for (const { what, prevTs, wholeMs, got, asked } of cases) {
      const one = bench(t)
      const { engine } = one
      const bob = one.client()
      await bob.connect('bob', { clean: false })
      await bob.subscribe('im/u/bob/inbox')
      await settled(engine)
      const before = engine.streamQueries.length
      engine.append('d:alice:bob', 'alice')
      engine.append('d:alice:bob', 'alice')
      engine.output([{ kind: 'whole', upTo: wholeMs }, { ...engine.append('d:alice:bob', 'alice'), ...prevTs !== undefined && { prevTs } } as Output])
      await settled(engine)
      t.strictSame(one.take(bob), got, what)
      t.equal(engine.streamQueries.length - before, asked)
      engine.output([engine.append('d:alice:bob', 'alice')])
      await settled(engine)
      t.strictSame(one.take(bob), ['#4'], 'what follows is live')
    }
  })

  for (const { what, filter, log, from } of logs) {
    await t.test(`${what}: a number is left out`, async t => {
      const one = bench(t)
      const { engine } = one
      const bob = await reading(t, one, filter, log, from)
      engine.append(log, from)
      engine.output([engine.append(log, from)])
      await settled(engine)
      t.strictSame(one.take(bob), ['#2', '#3'], 'it comes from the log, in its place')
      engine.output([engine.append(log, from)])
      await settled(engine)
      t.strictSame(one.take(bob), ['#4'], 'and what follows is live again')
      t.equal(engine.reads.length, 1)
    })

    await t.test(`${what}: a number comes behind the next one`, async t => {
      const one = bench(t)
      const { engine } = one
      const bob = await reading(t, one, filter, log, from)
      const [two, three] = [engine.append(log, from), engine.append(log, from)]
      engine.output([three])
      await settled(engine)
      engine.output([two])
      await settled(engine)
      t.strictSame(one.take(bob), ['#2', '#3'])
      engine.output([two, three])
      await settled(engine)
      t.strictSame(one.take(bob), [], 'nor a third time, when they were acknowledged')
    })

    await t.test(`${what}: a number that was acknowledged is said again`, async t => {
      const one = bench(t)
      const { engine, access } = one
      const bob = await reading(t, one, filter, log, from)
      const two = engine.append(log, from)
      engine.output([two])
      await settled(engine)
      t.strictSame(one.take(bob), ['#2'])
      for (let ms = 0; ms < lateMs; ms += 20_000) {
        engine.output([two])
        await settled(engine)
        t.strictSame(one.take(bob), [], `${ms} ms later`)
        one.pass(20_000)
      }
      engine.output([engine.append(log, from)])
      await settled(engine)
      t.strictSame(one.take(bob), ['#3'])
      t.equal(engine.reads.length + access.pump.recent.bytes, 0, 'nothing was read')
    })

    await t.test(`${what}: a number is said that the store does not know yet, and is not passed over`, async t => {
      const one = bench(t)
      const { engine } = one
      const bob = await reading(t, one, filter, log, from)
      const outputs = [2, 3, 4].map(() => engine.append(log, from))
      // Not even the last one that was acknowledged.
      engine.lag.set(log, 4)
      engine.output(outputs.slice(1, 2))
      await settled(engine)
      t.strictSame(one.take(bob), [])
      const reads = engine.reads.length
      t.ok(reads <= 2, `${reads} reads: the store is not asked all the time`)
      t.equal(engine.cursor('bob/phone', from === 'bob' && log === 'g:dev' ? 'o:dev' : log), 1)
      engine.lag.set(log, 1)
      one.sweep()
      await settled(engine)
      t.strictSame(one.take(bob), ['#2', '#3'])
      const four = outputs[2] as Output
      engine.output([behind(four)])
      await settled(engine)
      t.strictSame(one.take(bob), [])
      engine.lag.clear()
      engine.output([behind(four)])
      await settled(engine)
      t.strictSame(one.take(bob), ['#4'], 'what is said of it meanwhile makes it look again')
    })

    await t.test(`${what}: it is told that outputs may never come`, async t => {
      const one = bench(t)
      const { engine } = one
      const bob = await reading(t, one, filter, log, from)
      const two = engine.append(log, from)
      engine.output([behind(two)])
      await settled(engine)
      t.strictSame(one.take(bob), ['#2'])
      engine.output([behind(two), two])
      await settled(engine)
      t.strictSame(one.take(bob), [], 'it has them already')
      one.pass(lateMs)
      one.pass(lateMs)
      const three = engine.append(log, from)
      engine.output([behind(three), three])
      await settled(engine)
      t.strictSame(one.take(bob), ['#3'], 'also when it is not remembered where it stands')
    })
  }

  await t.test('a conversation begins, and outputs of its first messages may never come', async t => {
    const one = bench(t)
    const { engine } = one
    const bob = one.client()
    await bob.connect('bob', { clean: false })
    await bob.subscribe('im/u/bob/inbox')
    await settled(engine)
    engine.append('d:bob:zoe', 'zoe')
    engine.append('d:bob:zoe', 'zoe')
    engine.output([{ kind: 'behind', log: 'd:bob:zoe', after: 0, upTo: 2, senders: ['zoe'] }])
    await settled(engine)
    t.strictSame(one.take(bob), ['#1', '#2'])
  })

  await t.test('of a conversation that a scan has passed over a number is left out, and an older one said again', async t => {
    const one = bench(t)
    const { engine } = one
    const first = engine.append('d:alice:bob', 'bob')
    const bob = one.client()
    await bob.connect('bob', { clean: false })
    await bob.subscribe('im/u/bob/inbox')
    await settled(engine)
    t.strictSame(one.take(bob), [], 'the page shows that bob has it')
    engine.output([first])
    await settled(engine)
    t.strictSame(one.take(bob), [])
    engine.append('d:alice:bob', 'alice')
    engine.output([engine.append('d:alice:bob', 'alice')])
    await settled(engine)
    t.strictSame(one.take(bob), ['#2', '#3'])
  })

  await t.test('outputs out of order while a page of streams is read', async t => {
    const one = bench(t)
    const { engine } = one
    engine.join('dev', 'alice', 'bob')
    const bob = one.client()
    await bob.connect('bob', { clean: false })
    engine.holding.add('streams')
    await bob.subscribe(['im/u/bob/inbox', 'im/g/dev'])
    for (const log of ['d:alice:bob', 'g:dev']) {
      // The page shows bob's own sending as delivered.
      const [two, three] = [engine.append(log, 'bob'), engine.append(log, 'bob')]
      engine.output([three, two])
    }
    engine.holding.clear()
    for (const held of [...engine.held]) held.now()
    await settled(engine)
    t.strictSame(one.take(bob).sort(), ['#1', '#1', '#2', '#2'])
  })

  await t.test('subscribed anew, and what was acknowledged is said again while its page is read', async t => {
    for (const [filter, log] of [['im/u/bob/inbox', 'd:alice:bob'], ['im/g/+', 'g:dev']] as const) {
      const one = bench(t)
      const { engine } = one
      const bob = await reading(t, one, filter, log, 'alice')
      const two = engine.append(log, 'alice')
      engine.output([two])
      await settled(engine)
      t.strictSame(one.take(bob), ['#2'])
      await bob.unsubscribe(filter)
      engine.holding.add('streams')
      await bob.subscribe(filter)
      engine.output([two, behind(two)])
      engine.holding.clear()
      for (const held of [...engine.held]) held.asked()
      await settled(engine)
      t.strictSame(one.take(bob), [], filter)
    }
  })

  await t.test('a member is added behind the first messages that are for them', async t => {
    const one = bench(t)
    const { engine } = one
    engine.append('g:dev', 'alice')
    const bob = one.client()
    await bob.connect('bob', { clean: false })
    await bob.subscribe('im/g/+')
    await settled(engine)
    const said: Output[] = []
    const { output } = engine
    engine.output = outputs => { said.push(...outputs) }
    engine.join('dev', 'bob')
    engine.output = output
    engine.output([engine.append('g:dev', 'alice'), ...said])
    await settled(engine)
    t.strictSame(one.take(bob), ['#2'])
  })

  await t.test('what was in flight is not in the store that answers', async t => {
    const one = bench(t)
    const { engine } = one
    for (let i = 0; i < 3; i++) engine.append('d:alice:bob', 'alice')
    const inflight = [1, 2, 3].map(seq => ({ packetId: seq, stream: 'd:alice:bob', seq }))
    engine.store('bob/phone', { subscriptions: [{ filter: 'im/u/bob/inbox', qos: 1 }], inflight }, { 'd:alice:bob': { seq: 0, sent: 3 } })
    // The first answer knows nothing of the log yet, the next one everything.
    engine.lag.set('d:alice:bob', 3)
    engine.holding.add('read')
    const bob = one.client()
    bob.hello('bob', { clean: false })
    await settled(engine)
    engine.next().asked()
    engine.lag.clear()
    engine.holding.clear()
    await settled(engine)
    t.strictSame(one.take(bob), ['#1', '#2', '#3'])
  })

  await t.test('at QoS 0 what was left out is not looked for, and nothing comes twice', async t => {
    const one = bench(t)
    const { engine } = one
    const bob = one.client()
    await bob.connect('bob', { clean: false })
    await bob.subscribe('im/u/bob/inbox', 0)
    await settled(engine)
    const outputs = [1, 2, 3, 4].map(() => engine.append('d:alice:bob', 'alice'))
    for (const at of [0, 2, 1, 2, 3]) {
      engine.output([outputs[at] as Output])
      one.access.pump.cursors.flush()
    }
    engine.output(outputs.map(output => behind(output)))
    await settled(engine)
    t.strictSame(one.take(bob), ['#1', '#3', '#4'])
    t.equal(engine.reads.length, 0)
  })

  await t.test('where outputs come once and in order nothing is remembered, and what is repeated leaves nothing in memory where they do not', async t => {
    for (const late of [0, lateMs]) {
      const one = bench(t, late)
      const { engine, access: { pump } } = one
      let session: Session | undefined
      const { add } = pump
      pump.add = added => {
        session = added
        add.call(pump, added)
      }
      const inMemory = (): unknown[] => [session?.passed?.get('d:alice:bob'), session?.streams.size]
      const bob = await reading(t, one, 'im/u/bob/inbox', 'd:alice:bob', 'alice')
      if (late > 0) {
        const again: Output = { kind: 'message', conv: 'd:alice:bob', seq: 1, from: 'alice', payload: Buffer.from('{}') }
        engine.output([behind(again), again])
        await settled(engine)
        t.strictSame(one.take(bob), [])
      }
      t.strictSame(inMemory(), late === 0 ? [undefined, 0] : [1, 0])
      one.pass(lateMs)
      one.pass(lateMs)
      t.strictSame(inMemory(), [undefined, 0], 'and not for ever')
    }
  })
}
