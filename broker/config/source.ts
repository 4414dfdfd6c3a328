/** Values of the configuration as they were written, with where. */
import type { ConfigProblem } from './problem.ts'
import { configKeys, configSections, keyOf } from './keys.ts'
import { suggest } from './suggestion.ts'

export interface Assignment {
  value: unknown
  /** `sabethes.yaml:3:5`, `SABETHES_HTTP__PORT`, `--http-port`. */
  origin: string
  /** Where a part of the value was written (an item of a list), when that is known. */
  originOf?: (path: readonly PropertyKey[]) => string | undefined
}

/** Later sources replace values of earlier ones, key by key. */
export interface Source { values: Map<string, Assignment>, problems: ConfigProblem[] }

const paths = [...configKeys.map(key => key.path), ...configSections.keys()]

/** "did you mean …" for a path that does not exist, or ''. */
export function didYouMean (path: string): string {
  const cut = path.lastIndexOf('.') + 1
  const parent = path.slice(0, cut)
  const name = path.slice(cut)
  const siblings = paths.filter(known => known.startsWith(parent) && !known.slice(parent.length).includes('.'))
  const sibling = suggest(name, siblings.map(known => known.slice(parent.length)))
  if (sibling !== undefined) return `; did you mean ${parent}${sibling}?`
  const elsewhere = configKeys.filter(key => key.path.toLowerCase().endsWith('.' + name.toLowerCase())).map(key => key.path)
  if (elsewhere.length > 0) return `; did you mean ${elsewhere.slice(0, 3).join(' or ')}?`
  const any = suggest(path, paths)
  return any === undefined ? '' : `; did you mean ${any}?`
}

/** True for `plugins.NAME.option`, the one place where keys are free. */
export function isPluginOption (path: string): boolean { return /^plugins\..+\.[^.]+$/.test(path) }

export function unknownKey (path: string, origin: string): ConfigProblem {
  if (configSections.has(path)) return { origin, key: path, text: 'is a section, not a key' }
  return { origin, text: `unknown key ${path}${didYouMean(path)}` }
}

/** The schema's input from assignments: nested, known keys only. */
export function nested (values: ReadonlyMap<string, Assignment>): Record<string, unknown> {
  const root: Record<string, unknown> = {}
  for (const [path, { value }] of values) {
    if (keyOf(path) === undefined) continue
    const parts = path.split('.')
    let at = root
    for (const part of parts.slice(0, -1)) at = (at[part] ??= {}) as Record<string, unknown>
    at[parts.at(-1) as string] = value
  }
  return root
}
