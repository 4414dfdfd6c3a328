/** Reaches the server of the configured data folder, running or not. */
import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Config } from '../config/schema.ts'
import type { ControlTarget } from '../http/control-target.ts'
import type { OfflineOptions } from './server-module.ts'
import { CommandError, printable, type Terminal } from './terminal.ts'

/** The data folder, absolute; it need not be there. `CommandError` when it cannot be one. */
export function dataFolder (terminal: Terminal, config: Config): string {
  const path = resolve(terminal.folder, config.store.path)
  const refuse = (why: string, cause?: unknown): never => {
    throw new CommandError(`the data folder ${printable(path)} cannot be used: ${why}; name another one with store.path (--data, SABETHES_STORE__PATH)`, 2, { cause })
  }
  try {
    // Not throwIfNoEntry: from Node 22 on it takes a file in the middle of the path for a folder that is not there.
    if (statSync(path).isDirectory()) return path
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    // What is not there can be made; who may not look may still speak to the server.
    if (code === 'ENOENT' || code === 'EACCES') return path
    return refuse(code === 'ENOTDIR' ? 'a part of the path is a file' : message.replace(/, \w+ '.*$/s, ''), error)
  }
  return refuse('it is a file')
}

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
