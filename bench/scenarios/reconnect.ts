/** Everybody comes back at once, as after a restart or a cut: from the first SYN until each client is served. */
import { Meter, median } from '../meter.ts'
import type { Peer } from '../peers/peer.ts'
import { subscribeAndLeave } from './backlog.ts'
import { leaveMessages, returning, Returns } from './returning.ts'
import { generatorLimit, openMany, round } from './scenario.ts'
import type { Scenario, Settings } from './scenario.ts'

/** How often they leave and come back in a round. */
const passes = 5

interface Pass { returns: Returns, allMs: number, fault: string | undefined }

/** One message for each client while they are away, then all of them at once. */
async function comeBack (peer: Peer, port: number, settings: Settings, pass: number): Promise<Pass> {
  const { clients } = settings
  const unsent = await leaveMessages(peer, port, `sender${pass}`, settings)
  const returns = new Returns(clients)
  const from = performance.now()
  await openMany(clients, index => returns.one(peer, port, returning(index), from), clients)
  const allMs = performance.now() - from
  const fault = unsent ?? returns.check(clients)
  await returns.close()
  return { returns, allMs, fault }
}

export const reconnect: Scenario = {
  name: 'reconnect',
  headline: 'all_ready_ms',
  better: 'lower',
  without: { mochi: 'where a SUBSCRIBE has the packet id of a message that waits for the client, it is refused' },
  describe: s => `${s.clients} clients with kept sessions and a message waiting for each connect at once, ${passes} times; from the start until CONNACK, and until SUBACK and message (ready)`,
  async run (peer, running, settings) {
    const { port } = running
    await openMany(settings.clients, index => subscribeAndLeave(port, returning(index), [peer.inbox(returning(index))]))
    const all: Pass[] = []
    const meter = new Meter(running.process, settings)
    for (let pass = 0; pass < passes; pass++) {
      const one = await comeBack(peer, port, settings, pass)
      if (one.fault !== undefined) return round({}, undefined, one.fault)
      all.push(one)
    }
    const usage = meter.read()
    const metrics: Record<string, number> = { all_ready_ms: median(all.map(pass => pass.allMs)) }
    for (const kind of ['connack', 'ready'] as const) {
      const summaries = all.map(pass => pass.returns[kind].summary(kind))
      for (const metric of ['p50_ms', 'p99_ms', 'max_ms']) metrics[`${kind}_${metric}`] = median(summaries.map(summary => summary[`${kind}_${metric}`] as number))
    }
    metrics['clients_per_s'] = settings.clients / (metrics['all_ready_ms'] as number) * 1000
    return round(metrics, usage, undefined, generatorLimit(usage))
  }
}
