/** Everybody comes back at once, as after a restart or a cut: from the first SYN until each client is served. */
import { Connection } from '../connection.ts'
import { Publisher, Receiver, faults } from '../load.ts'
import { Latencies, Meter, median } from '../meter.ts'
import type { Peer } from '../peers/peer.ts'
import { publishAll, subscribeAndLeave } from './backlog.ts'
import { generatorLimit, openMany, round } from './scenario.ts'
import type { Scenario, Settings } from './scenario.ts'

/** How often they leave and come back in a round. */
const passes = 5
const timeoutMs = 60_000

/** Of equal length, as the topics of a publisher must be. */
function name (index: number): string { return `c${String(index).padStart(5, '0')}` }

interface Pass { connack: Latencies, ready: Latencies, allMs: number, fault: string | undefined }

/** One message for each client while they are away, then all of them at once. */
async function comeBack (peer: Peer, port: number, settings: Settings, pass: number): Promise<Pass> {
  const { clients, body, payloadBytes } = settings
  // A sender of its own for each pass: counters begin anew.
  const publisher = new Publisher(await Connection.open({ port, user: `sender${pass}` }), {
    topics: Array.from({ length: clients }, (_, index) => peer.toUser(name(index))), stream: 0, body, payloadBytes, window: clients
  })
  const unsent = await publishAll(publisher, clients)
  await publisher.connection.close()
  const [connack, ready] = [new Latencies(clients), new Latencies(clients)]
  const connections: Connection[] = []
  const receivers: Receiver[] = []
  let fault = unsent
  const from = performance.now()
  await openMany(clients, async index => {
    const user = name(index)
    let hasMessage: (came: boolean) => void = () => {}
    const message = new Promise<boolean>(resolve => { hasMessage = resolve })
    const timer = setTimeout(() => { hasMessage(false) }, timeoutMs)
    const connection = await Connection.open({
      port,
      user,
      clean: false,
      timeoutMs,
      prepare: opened => {
        connections.push(opened)
        opened.onLost = reason => { fault ??= `${user}: connection lost: ${reason}` }
        const receiver = new Receiver(opened, peer.systemMark)
        receiver.onMessage = () => { hasMessage(true) }
        receivers.push(receiver)
      }
    })
    connack.add(performance.now() - from)
    if (!connection.sessionPresent) fault ??= `${user}: its session was not kept`
    // Clients subscribe again, whatever the CONNACK says of the session.
    await connection.subscribe([peer.inbox(user)])
    if (await message) ready.add(performance.now() - from)
    clearTimeout(timer)
  }, clients)
  const allMs = performance.now() - from
  const received = receivers.reduce((sum, receiver) => sum + receiver.received, 0)
  fault ??= faults([], receivers) ?? (received === clients ? undefined : `${clients - received} of ${clients} messages never arrived`)
  await Promise.all(connections.map(connection => connection.close()))
  return { connack, ready, allMs, fault }
}

export const reconnect: Scenario = {
  name: 'reconnect',
  headline: 'all_ready_ms',
  better: 'lower',
  without: { mochi: 'where a SUBSCRIBE has the packet id of a message that waits for the client, it is refused' },
  describe: s => `${s.clients} clients with kept sessions and a message waiting for each connect at once, ${passes} times; from the start until CONNACK, and until SUBACK and message (ready)`,
  async run (peer, running, settings) {
    const { port } = running
    await openMany(settings.clients, index => subscribeAndLeave(port, name(index), [peer.inbox(name(index))]))
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
      const summaries = all.map(pass => pass[kind].summary(kind))
      for (const metric of ['p50_ms', 'p99_ms', 'max_ms']) metrics[`${kind}_${metric}`] = median(summaries.map(summary => summary[`${kind}_${metric}`] as number))
    }
    metrics['clients_per_s'] = settings.clients / (metrics['all_ready_ms'] as number) * 1000
    return round(metrics, usage, undefined, generatorLimit(usage))
  }
}
