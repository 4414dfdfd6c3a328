/** What the command line does with a store whose server does not run. */
import { backUpOutside } from './backup-folder.ts'
import type { OfflineOptions } from './cli/server-module.ts'
import type { Config } from './config/schema.ts'
import { Refusal } from './errors.ts'
import type { ControlProgress, ControlTarget } from './http/control-target.ts'
import { createLog } from './log.ts'
import { configuredPlugins, openEngine, openStore } from './parts.ts'
import type { Store } from './store/store.ts'
import { restoreLevelBackup } from './store/level/store.ts'
import { Topics } from './topics.ts'
import { packageVersion } from './version.ts'

/**
 * The store of a server that does not run, as an operator sees it. No plugin runs, and modules of plugins are loaded only when
 * `loadModules` asks for what they say of themselves: who lists users in a folder does not run code that lies there.
 */
export async function openOffline (config: Config, { loadModules = false }: OfflineOptions = {}): Promise<ControlTarget & { close (): Promise<void> }> {
  const { log, close: closeLog } = createLog({ ...config.log, level: 'warn' })
  let store: Store | undefined
  let opened: Awaited<ReturnType<typeof openEngine>>
  try {
    store = await openStore(config, log)
    opened = await openEngine({ ...config, plugins: [] }, { store, topics: new Topics(config.mqtt.prefix), log, output: () => { /* nobody is connected */ } })
  } catch (err) {
    await store?.close()
    closeLog()
    throw err
  }
  const open = store
  const { engine } = opened
  return {
    users: engine.control.accounts.users,
    feed: engine.feed,
    status: async () => ({
      version: packageVersion(),
      pid: process.pid,
      uptimeSeconds: 0,
      mode: config.auth.mode,
      connections: 0,
      retentionSeconds: config.messages.retentionSeconds,
      addresses: { mqtt: config.mqtt.tcp, http: { host: config.http.host, port: config.http.port } },
      store: { driver: config.store.driver, path: config.store.path, healthy: await open.health().then(() => true, () => false) }
    }),
    nodes: () => Promise.reject(new Refusal('unavailable', 'no server runs here')),
    drain: () => Promise.reject(new Refusal('unavailable', 'no server runs here')),
    backup: async (path, progress) => { await backUpOutside(config.store.path, path, () => open.backup(path, progress)) },
    operate: (name, params) => engine.control.operate(name, params),
    purge: async (retentionSeconds = config.messages.retentionSeconds) => ({ messages: await engine.control.purge(retentionSeconds), retentionSeconds }),
    plugins: async () => await configuredPlugins(config, loadModules),
    close: async () => {
      await engine.close()
      await open.close()
      closeLog()
    }
  }
}

/** Copies a backup into the configured data folder, which is absent or empty. */
export async function restoreOffline (config: Config, from: string, progress: ControlProgress): Promise<void> {
  await restoreLevelBackup(from, config.store.path, progress)
}
