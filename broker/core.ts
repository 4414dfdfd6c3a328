/** The engine and its store in this thread. */
import type { Logger } from 'pino'
import type { Config } from './config/schema.ts'
import type { Core, CoreEvents, RunningPluginInfo } from './link/core.ts'
import { openEngine, openStore } from './parts.ts'
import type { Store } from './store/store.ts'
import { Topics } from './topics.ts'

/** Rejects when the store or a plugin cannot be opened; nothing is left open then. */
export async function openCore (config: Config, log: Logger, { output, onLost }: CoreEvents): Promise<Core> {
  const store = await openStore(config, log, error => {
    log.fatal({ err: error }, 'the store failed and cannot be opened again: the server ends, so that what watches over it can start it anew')
    onLost(error)
  })
  try {
    return await around(config, log, store, output)
  } catch (error) {
    await store.close()
    throw error
  }
}

async function around (config: Config, log: Logger, store: Store, output: CoreEvents['output']): Promise<Core> {
  const { engine, plugins } = await openEngine(config, { store, topics: new Topics(config.mqtt.prefix), log, output })
  return {
    engine,
    records: store.records,
    nodes: store.nodes,
    accounts: engine.control.accounts.users,
    feed: engine.feed,
    plugins: plugins as RunningPluginInfo[],
    health: () => store.health(),
    backup: (path, progress) => store.backup(path, progress),
    operate: (name, params) => engine.control.operate(name, params),
    purge: retentionSeconds => engine.control.purge(retentionSeconds),
    async close () {
      try {
        await engine.close()
      } finally {
        await store.close()
      }
    }
  }
}
