/**
 * One to three servers that work as one, at the same rates: delivery latency with sender and receiver at one server and at two (every other message, so at
 * the same moments), and what a message costs the servers, Redis, and Redis' commands.
 */
import { Latencies, wait } from '../meter.ts'
import type { Peer, RunningCluster, RunningPeer } from '../peers/peer.ts'
import { clusters } from '../peers/sabethes-cluster.ts'
import { databaseWords } from '../peers/sabethes-mongodb.ts'
import { Pacer } from './pacer.ts'
import { pacedWindow } from './paced.ts'
import { openPairs, settle, type Pairs } from './pairs.ts'
import { round, withoutPlain } from './scenario.ts'
import type { Scenario, Settings } from './scenario.ts'

/** Seconds in which nobody says anything. */
const idleSeconds = 4
const mostRestSeconds = 10

interface Work { servers: number, redis: number, commands: Map<string, number> }

async function workOf ({ servers, redis, commands }: RunningCluster): Promise<Work> {
  return { servers: servers.reduce((sum, server) => sum + server.cpuSeconds(), 0), redis: redis.cpuSeconds(), commands: await commands() }
}

/** What happened between two moments. */
export interface Spent { seconds: number, serversUs: number, redisUs: number, commands: number, byCommand: Map<string, number> }

/** Measures from now until what it returns is called. */
async function spending (cluster: RunningCluster): Promise<() => Promise<Spent>> {
  const [from, at] = [await workOf(cluster), performance.now()]
  return async () => {
    const to = await workOf(cluster)
    const byCommand = new Map([...to.commands].map(([name, calls]) => [name, calls - (from.commands.get(name) ?? 0)] as const).filter(([, calls]) => calls > 0))
    return {
      seconds: (performance.now() - at) / 1000,
      serversUs: (to.servers - from.servers) * 1e6,
      redisUs: (to.redis - from.redis) * 1e6,
      commands: [...byCommand.values()].reduce((sum, calls) => sum + calls, 0),
      byCommand
    }
  }
}

/** For a message. Of Redis' commands without those that idle servers call, too: heartbeats are no message's. */
function costs (name: string, spent: Spent, idle: Spent, messages: number): Record<string, number> {
  const quiet = (calls: number, idleCalls: number): number => (calls - idleCalls * spent.seconds / idle.seconds) / messages
  const of = (command: string): number => quiet(spent.byCommand.get(command) ?? 0, idle.byCommand.get(command) ?? 0)
  return {
    [`${name}_cpu_us_per_message`]: spent.serversUs / messages,
    // Of what is more than idle servers take: it grows with their number, whatever they are sent.
    [`${name}_busy_us_per_message`]: quiet(spent.serversUs, idle.serversUs),
    [`${name}_redis_cpu_us_per_message`]: spent.redisUs / messages,
    [`${name}_redis_commands_per_message`]: quiet(spent.commands, idle.commands),
    [`${name}_publish_per_message`]: of('publish'),
    [`${name}_hmget_per_message`]: of('hmget')
  }
}

export interface Measured { metrics: Record<string, number>, fault: string | undefined }

/** Runs the schedule, and adds up what messages cost from the end of the warm-up on. `receivers`: of which pair's messages each gets, and where their latency goes. */
export async function run (name: string, cluster: RunningCluster, { settings, pairs, rate, idle, latencies }: { settings: Settings, pairs: Pairs, rate: number, idle: Spent, latencies: ReadonlyArray<Latencies | undefined> }): Promise<Measured> {
  const { publishers, receivers } = pairs
  const pacer = new Pacer({ ...pairs, receivers: [] }, rate, true)
  const from = pacer.start + settings.warmUpSeconds * 1000
  const end = from + settings.seconds * 1000
  for (const [i, receiver] of receivers.entries()) {
    receiver.onMessage = () => {
      const due = pacer.dueOf(i % publishers.length, receiver.stamp.counter)
      if (due >= from) latencies[i]?.add(performance.now() - due)
    }
  }
  const { late } = pacer.phase(from)
  const done = pacer.run(() => end)
  await wait(from - performance.now())
  const [sent, spent] = [pacer.sent, await spending(cluster)]
  await done
  const metrics = costs(name, await spent(), idle, pacer.sent - sent)
  const fault = pairs.lost() ?? await settle(publishers, receivers, receivers.length / publishers.length)
  await pairs.close()
  return { metrics: { ...metrics, [`${name}_send_late_p99_ms`]: late.summary('late')['late_p99_ms'] as number }, fault: fault === undefined ? undefined : `${name}: ${fault}` }
}

export function shown (name: string, latencies: Latencies): Record<string, number> {
  if (latencies.count === 0) return {}
  const all = latencies.summary(`${name}_delivery`)
  return Object.fromEntries(['p50', 'p99'].map(rank => [`${name}_delivery_${rank}_ms`, all[`${name}_delivery_${rank}_ms`] as number]))
}

/** Every other pair is at one server, the rest at two where there are two. */
async function direct (peer: Peer, cluster: RunningCluster, settings: Settings, rate: number, idle: Spent): Promise<Measured> {
  const { ports } = cluster
  const server = (pair: number): number => (pair >> 1) % ports.length
  const elsewhere = (pair: number): boolean => pair % 2 === 1 && ports.length > 1
  const portOf = (pair: number, side: 'publisher' | 'receiver'): number => ports[(server(pair) + (side === 'receiver' && elsewhere(pair) ? 1 : 0)) % ports.length] as number
  const pairs = await openPairs(peer, portOf, settings, pacedWindow)
  const [one, two] = [new Latencies(1000), new Latencies(1000)]
  const name = String(rate)
  const { metrics, fault } = await run(name, cluster, { settings, pairs, rate, idle, latencies: pairs.receivers.map((_, pair) => elsewhere(pair) ? two : one) })
  return { metrics: { ...shown(`${name}_one_server`, one), ...shown(`${name}_two_servers`, two), ...metrics }, fault }
}

/** Waits until the database has done what the load before has left to it. */
export async function rest ({ database }: RunningPeer): Promise<void> {
  const own = database?.process
  if (own === undefined) return
  for (let waited = 0; waited < mostRestSeconds; waited++) {
    const from = own.cpuSeconds()
    await wait(1000)
    if (own.cpuSeconds() - from < 0.1) return
  }
}

export async function quiet (cluster: RunningCluster): Promise<Spent> {
  const spent = await spending(cluster)
  await wait(idleSeconds * 1000)
  return await spent()
}

export const cluster: Scenario = {
  name: 'cluster',
  headline: '50_cpu_us_per_message',
  better: 'lower',
  reference: 'cluster-1',
  extra: clusters,
  without: { ...withoutPlain('it is no cluster'), sabethes: 'it is no cluster' },
  describe: s => `${s.pairs} pairs, half of them at one server and half at two, at ${s.clusterRates.join(', ')} messages/s; database: ${databaseWords()}`,
  async run (peer, running: RunningPeer, settings) {
    const { cluster: servers } = running
    if (servers === undefined) throw new Error(`${peer.name} is no cluster`)
    await rest(running)
    const idle = await quiet(servers)
    const all: Record<string, number> = { idle_cpu_ms_per_s: idle.serversUs / 1000 / idle.seconds, idle_redis_commands_per_s: idle.commands / idle.seconds }
    for (const rate of settings.clusterRates) {
      const { metrics, fault } = await direct(peer, servers, settings, rate, idle)
      if (fault !== undefined) return round(all, undefined, fault)
      Object.assign(all, metrics)
      await rest(running)
    }
    return round(all)
  }
}
