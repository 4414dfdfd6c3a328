/** Reaches the server of the configured data folder, running or not. */
import { resolve } from 'node:path'
import type { Config } from '../config/schema.ts'
import type { ControlTarget } from '../http/control-target.ts'
import type { OfflineOptions } from './server-module.ts'
import { CommandError, type Terminal } from './terminal.ts'

/** The data folder, absolute. */
export function dataFolder (terminal: Terminal, config: Config): string { return resolve(terminal.folder, config.store.path) }

/** The running server's control channel; `CommandError` when none runs. */
export async function running (terminal: Terminal, config: Config): Promise<ControlTarget> {
  const target = await findRunning(terminal, config)
  if (target === undefined) throw new CommandError(`no server runs on ${dataFolder(terminal, config)}: start one with 'sabethes', or name its data folder with --data`)
  return target
}

export async function findRunning (terminal: Terminal, config: Config): Promise<ControlTarget | undefined> {
  const { connectControl } = await import('../http/control-client.ts')
  return await connectControl(dataFolder(terminal, config))
}

/** Runs `job` on the running server (`isLive`), or on the store itself when none runs. */
export async function withTarget<T> (terminal: Terminal, config: Config, job: (target: ControlTarget, isLive: boolean) => Promise<T>, options?: OfflineOptions): Promise<T> {
  const live = await findRunning(terminal, config)
  if (live !== undefined) return await job(live, true)
  const { openOffline } = await terminal.loadServer()
  const target = await openOffline({ ...config, store: { ...config.store, path: dataFolder(terminal, config) } }, options)
  try {
    return await job(target, false)
  } finally {
    await target.close()
  }
}
