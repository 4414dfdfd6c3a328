/** Mistakes in the plugins of a configuration, told as all others are: with the place where they were written. */
import { ConfigError } from '../config/problem.ts'
import type { Loaded } from '../config/load.ts'
import type { PluginError } from '../engine/plugins/plugin-order.ts'

/** What the server itself checks before it starts; `loadModules` also runs the code of modules. Throws `ConfigError`. */
export async function checkPlugins (loaded: Loaded, baseDir: string, loadModules: boolean): Promise<void> {
  const { loadPlugins } = await import('../engine/plugins/plugin-loader.ts')
  try {
    await loadPlugins(loaded.config.plugins, { baseDir, timeoutMs: loaded.config.pluginLimits.startTimeoutMs, loadModules })
  } catch (error) {
    throw located(error, loaded)
  }
}

/** A `PluginError` as a `ConfigError`; any other error as it is. */
export function located (error: unknown, { locate }: Pick<Loaded, 'locate'>): unknown {
  if (!(error instanceof Error) || error.name !== 'PluginError') return error
  const problems = (error as PluginError).problems
  if (problems.length === 0) return error
  return new ConfigError(problems.map(({ path, text }) => ({ origin: locate('plugins', path), key: ['plugins', ...path].join('.'), text })))
}
