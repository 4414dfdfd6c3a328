/** `sabethes plugin list`: the order in which plugins run. */
import { settings, type CommonOptions } from './settings.ts'
import { withTarget } from './target.ts'
import { columns, print, type Terminal } from './terminal.ts'

export interface PluginOptions extends CommonOptions { load?: boolean }

export async function list (terminal: Terminal, options: PluginOptions): Promise<void> {
  const { config } = await settings(terminal, options)
  const plugins = await withTarget(terminal, config, target => target.plugins(), { loadModules: options.load === true })
  let place = 0
  const rows = plugins.map(({ name, description, enabled, timeoutMs, onFailure, loaded }) => loaded === false
    ? ['?', name, 'not loaded', description]
    : [enabled ? String(++place) : '-', name, enabled ? `${timeoutMs} ms, then ${onFailure}` : 'off', description])
  print(terminal, options.json, plugins, columns(rows))
}
