/** The engine and its store in this thread. */
import type { Logger } from 'pino'
import type { ClusterNode } from './cluster/cluster.ts'
import { Ownership } from './cluster/ownership.ts'
import type { Config } from './config/schema.ts'
import type { ClusterState, Core, CoreEvents, RunningPluginInfo } from './link/core.ts'
import type { Measure } from './link/measures.ts'
import { LoopDelay } from './loop-delay.ts'
import { nodeName } from './node-name.ts'
import { openEngine, openStore } from './parts.ts'
import type { Store } from './store/store.ts'
import { Topics } from './topics.ts'

/** Rejects when the store or a plugin cannot be opened; nothing is left open then. */
export async function openCore (config: Config, log: Logger, { output, onLost }: CoreEvents): Promise<Core> {
  const ownership = new Ownership()
  const store = await openStore(config, log, error => {
    log.fatal({ err: error }, 'the store failed and cannot be opened again: the server ends, so that what watches over it can start it anew')
    onLost(error)
  }, ownership.keeps)
  try {
    return await around(config, log, store, output, ownership)
  } catch (error) {
    await store.close()
    throw error
  }
}

async function around (config: Config, log: Logger, store: Store, output: CoreEvents['output'], ownership: Ownership): Promise<Core> {
  const cluster = await openCluster(config, log, store, ownership)
  try {
    return await behind(cluster, config, log, store, output)
  } catch (error) {
    await cluster?.end()
    throw error
  }
}

async function behind (cluster: ClusterNode | undefined, config: Config, log: Logger, store: Store, output: CoreEvents['output']): Promise<Core> {
  const say: CoreEvents['output'] = cluster === undefined ? output : outputs => { cluster.output(outputs) }
  const { engine, plugins } = await openEngine(config, { store: cluster?.store ?? store, topics: new Topics(config.mqtt.prefix), log, output: say, others: cluster?.others, limitWords: cluster?.limitWords, letsIn: true, ...cluster !== undefined && { now: () => cluster.clock.now() } })
  const loop = new LoopDelay()
  return {
    engine: cluster === undefined ? engine : await cluster.start(engine, output),
    records: store.records,
    nodes: store.nodes,
    accounts: engine.control.accounts.users,
    feed: engine.feed,
    cluster: { notice: (user, payload) => { cluster?.notice(user, payload) }, state: async () => cluster?.state, drain: async () => { await cluster?.drain() } },
    plugins: plugins as RunningPluginInfo[],
    measures: async () => [...await engine.measures(), ...loopMeasures(loop), ...clusterMeasures(cluster?.state)],
    health: () => store.health(),
    backup: (path, progress) => store.backup(path, progress),
    operate: (name, params) => engine.control.operate(name, params),
    purge: retentionSeconds => engine.control.purge(retentionSeconds),
    async close () {
      loop.close()
      try {
        await cluster?.close()
        await engine.close()
      } finally {
        await cluster?.end()
        await store.close()
      }
    }
  }
}

function loopMeasures (loop: LoopDelay): Measure[] {
  return loop.read().map(([quantile, value]) => ({ name: 'sabethes_engine_loop_delay_seconds', labels: { quantile }, value }))
}

function clusterMeasures (state: ClusterState | undefined): Measure[] {
  if (state === undefined) return []
  const own = state.servers.find(({ id }) => id === state.self)
  return [
    { name: 'sabethes_cluster_linked', value: state.linked ? 1 : 0 },
    { name: 'sabethes_cluster_servers', value: state.servers.length },
    ...own?.lagMs === undefined ? [] : [{ name: 'sabethes_cluster_lag_seconds', value: own.lagMs / 1000 } as const],
    ...own?.share === undefined ? [] : [{ name: 'sabethes_cluster_share', value: own.share } as const]
  ]
}

/** Redis' client is loaded by those who use it. */
async function openCluster (config: Config, log: Logger, store: Store, ownership: Ownership): Promise<ClusterNode | undefined> {
  const { self } = store.nodes
  if (config.cluster.redis === '' || self === undefined) return undefined
  const { ClusterNode } = await import('./cluster/cluster.ts')
  const cluster = new ClusterNode({ config, self, name: await nodeName(config.store.path), store, ownership, log: log.child({ part: 'cluster' }) })
  await cluster.ready()
  return cluster
}
