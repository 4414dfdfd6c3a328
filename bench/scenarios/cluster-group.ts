/** A group whose members are at one to three servers that work as one: delivery latency at the sender's server and at the others, and what a message costs. */
import { Connection } from '../connection.ts'
import { Publisher, Receiver } from '../load.ts'
import { Latencies } from '../meter.ts'
import type { Peer, RunningCluster, RunningPeer } from '../peers/peer.ts'
import { request } from '../peers/rpc.ts'
import { clusters } from '../peers/sabethes-cluster.ts'
import { databaseWords } from '../peers/sabethes-mongodb.ts'
import { quiet, rest, run, shown, type Measured, type Spent } from './cluster.ts'
import { pacedWindow } from './paced.ts'
import type { Pairs } from './pairs.ts'
import { openMany, round, withoutPlain } from './scenario.ts'
import type { Scenario, Settings } from './scenario.ts'

const [gid, owner] = ['bench', 'sender']
/** Members of one request: a stand-in for MongoDB takes a second for so many. */
const membersPerRequest = 50
/** Members that connect at the same time. */
const atOnce = 10

/** Members in turn at all servers, the sender at the first one. `one_server`: who is at that one. */
async function group (peer: Peer, { ports }: RunningCluster, settings: Settings): Promise<Pairs> {
  const [first = 0] = ports
  const users = Array.from({ length: settings.members }, (_, member) => `m${member}`)
  await makeGroup(first, users)
  let lost: string | undefined
  const watch = (connection: Connection): void => { connection.onLost = reason => { lost ??= `${connection.user}: connection lost: ${reason}` } }
  const receivers = await openMany(users.length, async member => {
    const connection = await Connection.open({ port: ports[member % ports.length] as number, user: users[member] as string, timeoutMs: 60_000, prepare: watch })
    const receiver = new Receiver(connection, peer.systemMark)
    await connection.subscribe(peer.groups([gid]))
    return receiver
  }, atOnce)
  const sender = await Connection.open({ port: first, user: owner, timeoutMs: 60_000, prepare: watch })
  const publisher = new Publisher(sender, { topics: [peer.toGroup(gid)], stream: 0, body: settings.body, payloadBytes: settings.payloadBytes, window: pacedWindow })
  return {
    publishers: [publisher],
    receivers,
    lost: () => lost,
    async close () { await Promise.all([sender, ...receivers.map(({ connection }) => connection)].map(connection => connection.close())) }
  }
}

async function makeGroup (port: number, users: readonly string[]): Promise<void> {
  const connection = await Connection.open({ port, user: owner, clientId: `${owner}-setup`, timeoutMs: 60_000 })
  try {
    await request(connection, 'groups.create', { gid, name: gid, members: [] })
    for (let from = 0; from < users.length; from += membersPerRequest) await request(connection, 'groups.add', { gid, users: users.slice(from, from + membersPerRequest) })
  } finally {
    await connection.close()
  }
}

async function measured (peer: Peer, cluster: RunningCluster, settings: Settings, idle: Spent): Promise<Measured> {
  const pairs = await group(peer, cluster, settings)
  const [here, elsewhere] = [new Latencies(1000), new Latencies(1000)]
  const latencies = pairs.receivers.map((_, member) => member % cluster.ports.length === 0 ? here : elsewhere)
  const { metrics, fault } = await run('group', cluster, { settings, pairs, rate: settings.clusterGroupRate, idle, latencies })
  return { metrics: { ...shown('group_one_server', here), ...shown('group_two_servers', elsewhere), ...metrics }, fault }
}

export const clusterGroup: Scenario = {
  name: 'cluster-group',
  headline: 'group_cpu_us_per_message',
  better: 'lower',
  reference: 'cluster-1',
  extra: clusters,
  without: { ...withoutPlain('it is no cluster'), sabethes: 'it is no cluster' },
  describe: s => `a group of ${s.members} members in turn at all servers, ${s.clusterGroupRate} messages/s; database: ${databaseWords()}`,
  async run (peer, running: RunningPeer, settings) {
    const { cluster } = running
    if (cluster === undefined) throw new Error(`${peer.name} is no cluster`)
    await rest(running)
    const { metrics, fault } = await measured(peer, cluster, settings, await quiet(cluster))
    return round(metrics, undefined, fault)
  }
}
