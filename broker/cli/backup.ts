/** `sabethes backup DIR`: a copy of the store, while the server runs or not. */
import { existsSync, readdirSync } from 'node:fs'
import { resolve } from 'node:path'
import { withProgress } from './progress.ts'
import { settings, type CommonOptions } from './settings.ts'
import { withTarget } from './target.ts'
import { CommandError, print, printable, type Terminal } from './terminal.ts'

export async function backup (terminal: Terminal, folder: string, options: CommonOptions): Promise<void> {
  const { config } = await settings(terminal, options)
  const path = resolve(terminal.folder, folder)
  if (existsSync(path) && readdirSync(path).length > 0) throw new CommandError(`${path} is not empty: a backup wants a folder of its own`)
  await withProgress(terminal, 'backup', progress => withTarget(terminal, config, target => target.backup(path, progress)))
  print(terminal, options.json, { ok: true, path }, `backed up to ${printable(path)}`)
}
