/** Puts plugins in order: as configured, unless `after` and `before` say otherwise. */

/** What ordering needs to know of a plugin. */
export interface Placed { readonly name: string, readonly after?: readonly string[], readonly before?: readonly string[] }

/** What is wrong with the plugins of a configuration; `path` is where, below `plugins`. */
export interface PluginProblem { readonly path: readonly PropertyKey[], readonly text: string }

/** A configuration of plugins that cannot be started; the message is for the operator. */
export class PluginError extends Error {
  /** Mistakes in the configuration; none when a plugin that is configured rightly failed to start. */
  readonly problems: readonly PluginProblem[]

  constructor (message: string, { problems, ...options }: ErrorOptions & { problems?: readonly PluginProblem[] } = {}) {
    super(message, options)
    this.name = 'PluginError'
    this.problems = problems ?? [{ path: [], text: message }]
  }
}

/**
 * A stable topological order: of those that may come next, the first configured one comes next.
 * `absent` are names that exist but are switched off: places relative to them mean nothing.
 * Throws `PluginError` for a name used twice, an unknown name and a cycle.
 */
export function orderPlugins<Item extends Placed> (plugins: readonly Item[], absent: Iterable<string> = []): Item[] {
  const byName = new Map<string, Item>()
  for (const plugin of plugins) {
    if (byName.has(plugin.name)) throw new PluginError(`two plugins are named '${plugin.name}'`)
    byName.set(plugin.name, plugin)
  }
  const off = new Set(absent)
  const firsts = new Map<Item, Set<Item>>(plugins.map(plugin => [plugin, new Set()]))
  const find = (plugin: Item, place: 'after' | 'before', name: string): Item | undefined => {
    const other = byName.get(name)
    if (other === undefined && !off.has(name)) {
      throw new PluginError(`plugin '${plugin.name}' must come ${place} '${name}', but there is no plugin of that name`)
    }
    return other
  }
  for (const plugin of plugins) {
    for (const name of plugin.after ?? []) {
      const other = find(plugin, 'after', name)
      if (other !== undefined) firsts.get(plugin)?.add(other)
    }
    for (const name of plugin.before ?? []) {
      const other = find(plugin, 'before', name)
      if (other !== undefined) firsts.get(other)?.add(plugin)
    }
  }

  const ordered = new Set<Item>()
  const waiting = new Set(plugins)
  while (waiting.size > 0) {
    const next = [...waiting].find(plugin => [...(firsts.get(plugin) ?? [])].every(first => ordered.has(first)))
    if (next === undefined) {
      throw new PluginError(`the places of these plugins contradict each other: ${cycle(waiting, firsts).join(' after ')}`)
    }
    waiting.delete(next)
    ordered.add(next)
  }
  return [...ordered]
}

/** The names along one cycle; each of `waiting` waits for another of `waiting`. */
function cycle<Item extends Placed> (waiting: Set<Item>, firsts: Map<Item, Set<Item>>): string[] {
  const path: Item[] = []
  let at = [...waiting][0] as Item
  while (!path.includes(at)) {
    path.push(at)
    at = [...(firsts.get(at) as Set<Item>)].find(first => waiting.has(first)) as Item
  }
  return [...path.slice(path.indexOf(at)), at].map(plugin => plugin.name)
}
