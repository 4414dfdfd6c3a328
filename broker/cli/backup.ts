/** `sabethes backup DIR`: a copy of the store, while the server runs or not. */
import { resolve } from 'node:path'
import { withProgress } from './progress.ts'
import { settings, type CommonOptions } from './settings.ts'
import { withTarget } from './target.ts'
import { print, type Terminal } from './terminal.ts'

export async function backup (terminal: Terminal, folder: string, options: CommonOptions): Promise<void> {
  const { config } = await settings(terminal, options)
  const path = resolve(terminal.folder, folder)
  await withProgress(terminal, 'backup', progress => withTarget(terminal, config, target => target.backup(path, progress)))
  print(terminal, options.json, { ok: true, path }, `backed up to ${path}`)
}
