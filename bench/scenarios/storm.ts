/** Many come back within a few seconds, as after a cut of the network, while others chat: when each is served, and what the others feel of it. */
import { Meter } from '../meter.ts'
import { beside, subscribeAndLeave } from './backlog.ts'
import { leaveMessages, returning, Returns } from './returning.ts'
import { openMany, round } from './scenario.ts'
import type { Scenario } from './scenario.ts'

/** Within this time all of them connect, one after the other on schedule. */
const spreadMs = 3000
/** The pairs beside them, and messages a second over all pairs. */
const bystanders = { pairs: 50, rate: 1000 }
/** The generator is late when it sends one of a hundred messages more than this after it was due. */
const lateMs = 5

/** Calls `come(0)` to `come(count - 1)` on schedule; resolves when all that it began is done. */
async function onSchedule (count: number, come: (index: number, due: number) => Promise<void>): Promise<void> {
  const from = performance.now()
  const all: Array<Promise<void>> = []
  await new Promise<void>(resolve => {
    const tick = () => {
      const due = (performance.now() - from) / spreadMs * count
      while (all.length < count && all.length <= due) all.push(come(all.length, from + all.length * spreadMs / count))
      if (all.length === count) resolve()
      else setTimeout(tick, 1)
    }
    tick()
  })
  await Promise.all(all)
}

export const storm: Scenario = {
  name: 'storm',
  headline: 'pairs_with_p99_ms',
  better: 'lower',
  without: { mochi: 'where a SUBSCRIBE has the packet id of a message that waits for the client, it is refused' },
  describe: s => `${s.storm} clients with kept sessions and a message waiting for each connect on schedule within ${spreadMs / 1000} s, beside ${bystanders.pairs} pairs that send ${bystanders.rate} messages/s on schedule: from when each was due to connect until CONNACK, and until SUBACK and message (ready); and the pairs' delivery without and with it`,
  async run (peer, running, settings) {
    const { port } = running
    const clients = settings.storm
    await openMany(clients, index => subscribeAndLeave(port, returning(index), [peer.inbox(returning(index))]))
    const unsent = await leaveMessages(peer, port, 'sender', { ...settings, clients })
    if (unsent !== undefined) return round({}, undefined, unsent)
    const returns = new Returns(clients)
    let usage: ReturnType<Meter['read']> | undefined
    const { alone, during, fault } = await beside(peer, port, settings, bystanders, async () => {
      const meter = new Meter(running.process, settings)
      await onSchedule(clients, (index, due) => returns.one(peer, port, returning(index), due))
      usage = meter.read()
      return undefined
    })
    const wrong = fault ?? returns.check(clients)
    await returns.close()
    const [without, beside_, late] = [alone.delivery.summary('p'), during.delivery.summary('p'), during.late.summary('p')['p_p99_ms'] as number]
    const { connack, ready } = { connack: returns.connack.summary('connack'), ready: returns.ready.summary('ready') }
    const metrics = {
      pairs_without_p50_ms: without['p_p50_ms'] as number,
      pairs_without_p99_ms: without['p_p99_ms'] as number,
      pairs_with_p50_ms: beside_['p_p50_ms'] as number,
      pairs_with_p99_ms: beside_['p_p99_ms'] as number,
      pairs_with_max_ms: beside_['p_max_ms'] as number,
      pairs_messages: during.delivery.count,
      connack_p50_ms: connack['connack_p50_ms'] as number,
      connack_p99_ms: connack['connack_p99_ms'] as number,
      ready_p50_ms: ready['ready_p50_ms'] as number,
      ready_p99_ms: ready['ready_p99_ms'] as number,
      ready_max_ms: ready['ready_max_ms'] as number,
      cpu_us_per_client: (usage?.brokerCpu ?? Number.NaN) * (usage?.seconds ?? Number.NaN) / clients * 1e6,
      send_late_p99_ms: late,
      rss_mb: running.process.rssBytes() / 1e6
    }
    // The generator spins by design: its CPU says nothing here, its lateness does.
    const limit = late > lateMs ? `one of a hundred of the pairs' messages was sent ${late.toFixed(2)} ms late or more` : undefined
    return round(metrics, usage === undefined ? undefined : { ...usage, generatorCpu: Number.NaN }, wrong, limit)
  }
}
