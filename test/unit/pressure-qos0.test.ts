/** A client that sends at QoS 0 and reads its own conversation; and a turn that was long once. */
import t from 'tap'
import { bench, settled } from '../support/memory-client.ts'

const sleep = (ms: number): Promise<void> => new Promise(resolve => { setTimeout(resolve, ms) })

await t.test('who sends at QoS 0 and reads what it sends does not wait for itself', async t => {
  const { engine, client } = bench(t, { inflight: 64 })
  const alice = client()
  await alice.connect('alice')
  await alice.subscribe('im/u/alice/inbox')
  await settled(engine)
  let got = 0
  let longestPause = 0
  let last = performance.now()
  const since = last
  const count = 4000
  let sent = 0
  while (got < count && performance.now() - since < 30_000) {
    // 40 in each turn, as long as the server reads; what it does not read waits in the socket.
    for (let i = 0; i < 100 && sent < count && !alice.transport.paused; i++, sent++) alice.publish('im/to/u/bob', 'x', 0)
    await new Promise<void>(resolve => { setImmediate(resolve) })
    const packets = alice.take()
    got += packets.length
    // It acknowledges at once.
    for (const one of packets) alice.ack(one)
    if (packets.length > 0) {
      longestPause = Math.max(longestPause, performance.now() - last)
      last = performance.now()
    } else await sleep(1)
  }
  t.ok(longestPause < 200, `${got} messages in ${Math.round(performance.now() - since)} ms, nothing for ${Math.round(longestPause)} ms`)
})

await t.test('a turn that was long once does not make a server that has nothing to do wait for a sleeping reader', async t => {
  const { engine, client } = bench(t, { inflight: 64 })
  const bob = client()
  await bob.connect('bob')
  await bob.subscribe('im/u/bob/inbox')
  await settled(engine)
  const alice = client()
  await alice.connect('alice')
  alice.publish('im/to/u/carol', 'x')
  // Something holds the event loop up once: the collector, a large request, a stopped process.
  for (const until = performance.now() + 1000; performance.now() < until;);
  await settled(engine)
  await sleep(1500)
  const since = performance.now()
  const count = 230
  alice.packets.waiting.splice(0)
  for (let i = 0; i < count; i++) alice.publish('im/to/u/bob', 'x')
  for (let n = 0; n < count;) {
    n += alice.packets.waiting.splice(0).length
    if (n < count) await sleep(1)
  }
  const ms = performance.now() - since
  t.ok(ms < 200, `${Math.round(ms)} ms until the answers`)
})
