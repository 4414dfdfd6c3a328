import t from 'tap'
import type { Publisher, Receiver } from '../../bench/load.ts'
import { Pacer } from '../../bench/scenarios/pacer.ts'

/** Two pairs whose broker answers at once, as long as it has room. */
function twoPairs (room = 100) {
  const sides = [0, 1].map(() => {
    const receiver = { received: 0, stamp: { counter: 0, stream: 0 }, connection: {}, onMessage: undefined as (() => void) | undefined }
    const publisher = {
      acked: 0,
      published: 0,
      room,
      connection: { onRead () {} },
      send () {
        publisher.published++
        publisher.acked++
        publisher.connection.onRead()
        receiver.stamp.counter = publisher.published
        receiver.onMessage?.()
      }
    }
    return { receiver, publisher }
  })
  return {
    publishers: sides.map(side => side.publisher as unknown as Publisher),
    receivers: sides.map(side => side.receiver as unknown as Receiver),
    lost: () => undefined,
    close: async () => {}
  }
}

await t.test('everything due is sent, in turn, and measured in its phase', async t => {
  const pairs = twoPairs()
  const pacer = new Pacer(pairs, 1000)
  const first = pacer.phase(pacer.start + 10)
  const second = pacer.phase(pacer.start + 30)
  await pacer.run(() => pacer.start + 50)
  t.equal(pacer.dueBefore(pacer.start + 50), 50)
  t.equal(pacer.sent, 50)
  t.same(pairs.publishers.map(publisher => publisher.published), [25, 25])
  // Due times are computed from the start: at a phase's edge rounding may put one message to either side.
  for (const name of ['puback', 'delivery', 'late'] as const) {
    t.ok(Math.abs(first[name].count - 20) <= 1, `${name} of the first phase: ${first[name].count}`)
    t.equal(first[name].count + second[name].count, 40, 'the warm-up is not measured')
  }
})

await t.test('a generator that sleeps between messages sends them all, none before it is due', async t => {
  const pairs = twoPairs()
  const pacer = new Pacer(pairs, 200, true)
  const phase = pacer.phase(pacer.start)
  await pacer.run(() => pacer.start + 100)
  t.equal(pacer.sent, 20)
  t.equal(phase.late.count, 20)
  for (const lateMs of Object.values(phase.late.summary('late'))) t.ok(lateMs >= 0)
})

await t.test('latencies count from the due time, not from a late sending', async t => {
  const pairs = twoPairs()
  const pacer = new Pacer(pairs, 1000)
  const phase = pacer.phase(pacer.start)
  const done = pacer.run(() => pacer.start + 40)
  const until = pacer.start + 60
  while (performance.now() < until) { /* the generator is stopped */ }
  await done
  t.equal(pacer.sent, 40)
  t.ok((phase.delivery.summary('delivery')['delivery_max_ms'] as number) >= 59, 'the first one was due 60 ms before')
  t.ok((phase.late.summary('late')['late_max_ms'] as number) >= 59)
})
