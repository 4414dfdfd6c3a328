/** Finds the configured plugins, checks them and their options, and puts them in order. Starts nothing. */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { isAbsolute, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import blockList from '../../../plugins/block-list.ts'
import rateLimit from '../../../plugins/rate-limit.ts'
import type { Plugin } from '../../plugin-api.ts'
import { describeFault } from './plugin-fault.ts'
import { defaultPluginLimits, within } from './plugin-limits.ts'
import { orderPlugins, PluginError, type PluginProblem } from './plugin-order.ts'

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

export interface LoadPluginsOptions { baseDir: string, timeoutMs?: number, loadModules?: boolean }

/**
 * Loads what is configured and not switched off, in the order in which the gates run. Paths are relative to `baseDir`
 * (the folder in which the server was started). `timeoutMs`: how long a module may take to load. Without
 * `loadModules` no code but that of the built-in plugins runs: modules are only found. Rejects with `PluginError`.
 */
export async function loadPlugins (entries: readonly PluginEntry[], { baseDir, timeoutMs = defaultPluginLimits.startTimeoutMs, loadModules = true }: LoadPluginsOptions): Promise<LoadedPlugin[]> {
  const loaded: LoadedPlugin[] = []
  const absent = new Set(builtIns.keys())
  for (const { name, enabled = true, options = {} } of entries) {
    if (!enabled) absent.add(name)
    else if (!loadModules && !builtIns.has(name)) find(name, baseDir)
    else loaded.push(await load(name, options, baseDir, timeoutMs))
  }
  return orderPlugins(loaded.map(item => ({ ...item, ...places(item.plugin) })), absent)
    .map(({ name, description, source, plugin, options }) => ({ name, description, source, plugin, options }))
}

async function load (source: string, given: Record<string, unknown>, baseDir: string, timeoutMs: number): Promise<LoadedPlugin> {
  const builtIn = builtIns.get(source)
  const plugin = builtIn ?? await importPlugin(source, baseDir, timeoutMs)
  return { name: plugin.name, description: plugin.description, source: builtIn === undefined ? source : 'built-in', plugin, options: checkedOptions(plugin, source, given) }
}

/** Validated, with defaults. The schema is the plugin's own, and may do anything. */
function checkedOptions (plugin: Plugin, source: string, given: Record<string, unknown>): unknown {
  let problems: PluginProblem[]
  try {
    const options = plugin.options.safeParse(given)
    if (options.success) return options.data
    problems = options.error.issues.map(issue => ({ path: [source, ...issue.path], text: issue.message }))
  } catch (error) {
    problems = [{ path: [source], text: `they cannot be checked: ${describeFault(error).message}` }]
  }
  const texts = problems.map(({ path, text }) => path.length === 1 ? text : `${['plugins', ...path].join('.')}: ${text}`)
  throw new PluginError(`options of plugin '${plugin.name}': ${texts.join('; ')}`, { problems })
}

async function importPlugin (source: string, baseDir: string, timeoutMs: number): Promise<Plugin> {
  const url = find(source, baseDir)
  let plugin: unknown
  let problem: string | undefined
  try {
    const module = await within(import(url) as Promise<Record<string, unknown>>, timeoutMs, 'the module')
    plugin = module?.['default']
    problem = shapeProblem(plugin)
  } catch (error) {
    throw notLoaded(source, describeFault(error).message, error)
  }
  if (problem !== undefined) throw new PluginError(`plugin '${source}': ${problem}`, { problems: [{ path: [source], text: problem }] })
  return plugin as Plugin
}

/** Where the module is; throws `PluginError` when there is none. Runs nothing of it. */
function find (source: string, baseDir: string): string {
  if (isAbsolute(source) || /^\.\.?[/\\]/.test(source)) {
    const path = resolve(baseDir, source)
    if (!existsSync(path)) throw notLoaded(source, `there is no file ${path}`)
    return pathToFileURL(path).href
  }
  try {
    return pathToFileURL(createRequire(join(resolve(baseDir), 'x.js')).resolve(source)).href
  } catch {
    // Not installed beside the configuration, or for `import` only: Node looks from the server's own folder.
    return besideServer(source)
  }
}

function besideServer (source: string): string {
  try {
    return import.meta.resolve(source)
  } catch (error) {
    throw notLoaded(source, `it is neither a built-in plugin (${[...builtIns.keys()].join(', ')}), a path (./plugin.js) nor an installed package`, error)
  }
}

function notLoaded (source: string, why: string, cause?: unknown): PluginError {
  return new PluginError(`plugin '${source}' cannot be loaded: ${why}`, { cause, problems: [{ path: [source], text: `cannot be loaded: ${why}` }] })
}

/** What is wrong with a module's default export as a plugin. */
function shapeProblem (value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null) return 'its default export is no plugin (see docs/plugins/README.md)'
  const plugin = value as Record<string, unknown>
  return describedProblem(plugin) ?? runningProblem(plugin) ?? placeProblem(plugin)
}

/** What it says of itself. */
function describedProblem ({ name, description, options }: Record<string, unknown>): string | undefined {
  if (typeof name !== 'string' || !/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name)) return 'name: kebab-case is needed'
  if (typeof description !== 'string' || description === '') return 'description: one line of text is needed'
  if (typeof (options as { safeParse?: unknown } | undefined)?.safeParse !== 'function') return 'options: a zod schema is needed'
  return undefined
}

/** How it runs. */
function runningProblem ({ timeoutMs, onFailure, start }: Record<string, unknown>): string | undefined {
  if (typeof timeoutMs !== 'number' || !(timeoutMs > 0 && timeoutMs <= maxTimeoutMs)) return `timeoutMs: milliseconds up to ${maxTimeoutMs} are needed`
  if (onFailure !== 'refuse' && onFailure !== 'pass') return "onFailure: 'refuse' or 'pass' is needed; there is no default"
  if (typeof start !== 'function') return 'start: a function is needed'
  return undefined
}

/** Before and after whom it runs. */
function placeProblem (plugin: Record<string, unknown>): string | undefined {
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
