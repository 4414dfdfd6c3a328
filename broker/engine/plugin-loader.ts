/** Finds the configured plugins, checks them and their options, and puts them in order. Starts nothing. */
import { createRequire } from 'node:module'
import { isAbsolute, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import blockList from '../../plugins/block-list.ts'
import rateLimit from '../../plugins/rate-limit.ts'
import type { Plugin } from '../plugin-api.ts'
import { orderPlugins, PluginError } from './plugin-order.ts'

/** A plugin of the configuration: a built-in one's name, a module's path (`./x.js`, `/srv/x.js`) or a package's name. */
export interface PluginEntry { readonly name: string, readonly enabled?: boolean, readonly options?: Record<string, unknown> }

/** A plugin that can be started. */
export interface LoadedPlugin {
  readonly name: string
  readonly description: string
  /** `built-in`, or the configured path or package. */
  readonly source: string
  readonly plugin: Plugin
  /** Validated, with defaults. */
  readonly options: unknown
}

const builtIns = new Map<string, Plugin>([rateLimit, blockList].map(plugin => [plugin.name, plugin as Plugin]))

/**
 * Loads what is configured and not switched off, in the order in which the gates run. Paths are relative to `baseDir`
 * (the folder of the configuration file). Rejects with `PluginError`.
 */
export async function loadPlugins (entries: readonly PluginEntry[], { baseDir }: { baseDir: string }): Promise<LoadedPlugin[]> {
  const loaded: LoadedPlugin[] = []
  const absent = new Set(builtIns.keys())
  for (const { name, enabled = true, options = {} } of entries) {
    if (!enabled) absent.add(name)
    else loaded.push(await load(name, options, baseDir))
  }
  return orderPlugins(loaded.map(item => ({ ...item, ...places(item.plugin) })), absent)
    .map(({ name, description, source, plugin, options }) => ({ name, description, source, plugin, options }))
}

async function load (source: string, given: Record<string, unknown>, baseDir: string): Promise<LoadedPlugin> {
  const builtIn = builtIns.get(source)
  const plugin = builtIn ?? await importPlugin(source, baseDir)
  const options = plugin.options.safeParse(given)
  if (!options.success) {
    const problems = options.error.issues.map(issue => `${['plugins', source, ...issue.path].join('.')}: ${issue.message}`)
    throw new PluginError(`options of plugin '${plugin.name}': ${problems.join('; ')}`)
  }
  return { name: plugin.name, description: plugin.description, source: builtIn === undefined ? source : 'built-in', plugin, options: options.data }
}

async function importPlugin (source: string, baseDir: string): Promise<Plugin> {
  let module: Record<string, unknown>
  try {
    module = await import(locate(source, baseDir)) as Record<string, unknown>
  } catch (error) {
    throw new PluginError(`plugin '${source}' cannot be loaded: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
  const plugin = module['default']
  const problem = shapeProblem(plugin)
  if (problem !== undefined) throw new PluginError(`plugin '${source}': ${problem}`)
  return plugin as Plugin
}

function locate (source: string, baseDir: string): string {
  if (isAbsolute(source) || /^\.\.?[/\\]/.test(source)) return pathToFileURL(resolve(baseDir, source)).href
  try {
    return pathToFileURL(createRequire(join(resolve(baseDir), 'x.js')).resolve(source)).href
  } catch {
    // Not installed beside the configuration, or for `import` only: Node looks from the server's own folder.
    return source
  }
}

/** What is wrong with a module's default export as a plugin. */
function shapeProblem (value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null) return 'its default export is no plugin (see docs/plugins/README.md)'
  const plugin = value as Record<string, unknown>
  const { name, description, options, timeoutMs, onFailure, start } = plugin
  if (typeof name !== 'string' || !/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name)) return 'name: kebab-case is needed'
  if (typeof description !== 'string' || description === '') return 'description: one line of text is needed'
  if (typeof (options as { safeParse?: unknown } | undefined)?.safeParse !== 'function') return 'options: a zod schema is needed'
  if (typeof timeoutMs !== 'number' || !(timeoutMs > 0 && timeoutMs <= maxTimeoutMs)) return `timeoutMs: milliseconds up to ${maxTimeoutMs} are needed`
  if (onFailure !== 'refuse' && onFailure !== 'pass') return "onFailure: 'refuse' or 'pass' is needed; there is no default"
  if (typeof start !== 'function') return 'start: a function is needed'
  for (const place of ['after', 'before']) {
    const names = plugin[place]
    if (names !== undefined && !(Array.isArray(names) && names.every(item => typeof item === 'string'))) return `${place}: a list of plugin names is needed`
  }
  return undefined
}

const maxTimeoutMs = 60_000

function places (plugin: Plugin): { after?: readonly string[], before?: readonly string[] } {
  return { ...(plugin.after && { after: plugin.after }), ...(plugin.before && { before: plugin.before }) }
}
