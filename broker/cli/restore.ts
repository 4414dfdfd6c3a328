/** `sabethes restore DIR`: puts a backup in the place of the data folder; the server must not run. */
import { existsSync, readdirSync, renameSync } from 'node:fs'
import { resolve } from 'node:path'
import { socketName } from '../http/control-socket.ts'
import { withProgress } from './progress.ts'
import { settings, type CommonOptions } from './settings.ts'
import { dataFolder, findRunning } from './target.ts'
import { CommandError, print, printable, say, type Terminal } from './terminal.ts'

export interface RestoreOptions extends CommonOptions { force?: boolean }

export async function restore (terminal: Terminal, folder: string, options: RestoreOptions): Promise<void> {
  const { config: given } = await settings(terminal, options)
  const data = dataFolder(terminal, given)
  const config = { ...given, store: { ...given.store, path: data } }
  const from = resolve(terminal.folder, folder)
  if (!existsSync(from)) throw new CommandError(`${from} is not there`)
  if (await findRunning(terminal, config) !== undefined) throw new CommandError(`a server runs on ${data}: stop it first`)
  const { openOffline, restoreOffline } = await terminal.loadServer()

  let aside: string | undefined
  if (isInUse(data)) {
    if (options.force !== true) throw new CommandError(`${data} is not empty: --force moves it aside`)
    await refuseLocked(() => openOffline(config))
    aside = `${data}.before-restore-${new Date().toISOString().replace(/[:.]/g, '-')}`
    renameSync(data, aside)
    say(terminal, `moved ${data} to ${aside}`)
  }
  try {
    await withProgress(terminal, 'restore', progress => restoreOffline(config, from, progress))
  } catch (error) {
    if (aside === undefined || isInUse(data)) throw error
    renameSync(aside, data)
    say(terminal, `moved it back to ${data}`)
    throw error
  }
  print(terminal, options.json, { ok: true, path: data, from, aside: aside ?? null }, `restored ${printable(data)} from ${printable(from)}`)
}

/** True when the folder holds anything but the socket of a server that is gone. */
function isInUse (path: string): boolean {
  return existsSync(path) && readdirSync(path).some(name => name !== socketName)
}

/**
 * A server that does not answer yet (or no more) on its control socket still holds the store's lock. Moving files away
 * under it would lose what it acknowledges. Any other trouble of the old store may be the reason for the restore.
 */
async function refuseLocked (open: () => Promise<{ close (): Promise<void> }>): Promise<void> {
  let store: { close (): Promise<void> }
  try {
    store = await open()
  } catch (error) {
    if (error instanceof Error && error.name === 'StoreLockedError') throw error
    return
  }
  await store.close()
}
