/** Shows the configuration: effective, as a sample file, as variables, as a table of the documentation. */
import { Document, isMap, isScalar, type YAMLMap } from 'yaml'
import { configKeys, configSections, keyOf, type ConfigKey } from './keys.ts'
import type { Config, PluginEntry } from './schema.ts'

const mask = '(secret)'
/** Options of plugins whose values are not for eyes. */
const secretOption = /secret|password|passwd|token|credential|private|api_?key|^key$/i

/** The configuration as it would be written in a file; secrets masked. */
export function plainConfig (config: Config): Record<string, unknown> {
  const root: Record<string, unknown> = {}
  for (const key of configKeys) {
    const parts = key.path.split('.')
    let from: unknown = config
    let to = root
    for (const part of parts.slice(0, -1)) {
      from = (from as Record<string, unknown>)[part]
      to = (to[part] ??= {}) as Record<string, unknown>
    }
    const name = parts.at(-1) as string
    const value = (from as Record<string, unknown>)[name]
    to[name] = key.secret && value !== '' ? mask : key.kind === 'plugins' ? plainPlugins(value as PluginEntry[]) : value
  }
  return root
}

function plainPlugins (entries: readonly PluginEntry[]): Record<string, unknown> {
  return Object.fromEntries(entries.map(({ name, enabled, options }) => [name, { enabled, ...masked(options) }]))
}

function masked (options: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(options).map(([name, value]) => {
    if (secretOption.test(name)) return [name, mask]
    return [name, typeof value === 'object' && value !== null && !Array.isArray(value) ? masked(value as Record<string, unknown>) : value]
  }))
}

/** Adds a comment to each pair, by path. */
function annotate (node: unknown, parent: string, comment: (path: string, node: { key: unknown, value: unknown }, depth: number) => void, depth = 0): void {
  if (!isMap(node)) return
  for (const pair of (node as YAMLMap).items) {
    const path = [...(parent === '' ? [] : [parent]), isScalar(pair.key) ? String(pair.key.value) : ''].join('.')
    comment(path, pair, depth)
    if (configSections.has(path)) annotate(pair.value, path, comment, depth + 1)
  }
}

/** Keys whose value is not the default. */
export function changedKeys (config: Config): string[] {
  const valueAt = (path: string): unknown => path.split('.').reduce<unknown>((at, part) => (at as Record<string, unknown>)[part], config)
  return configKeys.filter(key => JSON.stringify(valueAt(key.path)) !== JSON.stringify(key.default)).map(key => key.path)
}

/** The effective configuration as YAML, each value that is not the default with its origin. Can be read back as a file. */
export function effectiveYaml (config: Config, origins: ReadonlyMap<string, string>): string {
  const document = new Document(plainConfig(config))
  const changed = new Set(changedKeys(config))
  annotate(document.contents, '', (path, { key, value }) => {
    if (!changed.has(path)) return
    const comment = ` ${origins.get(path) ?? 'given'}`
    if (isScalar(value)) value.comment = comment
    else if (isScalar(key)) key.commentBefore = comment
  })
  return document.toString({ lineWidth: 0 })
}

/** The sample file: every key with its text and its default. */
export function sampleYaml (config: Config): string {
  const document = new Document(plainConfig(config))
  annotate(document.contents, '', (path, { key }, depth) => {
    if (!isScalar(key)) return
    const text = keyOf(path)?.description ?? configSections.get(path) ?? ''
    const values = keyOf(path)?.values ?? ''
    key.commentBefore = ` ${wrap(values === '' || values === 'text' || path === 'plugins' ? text : `${text} (${values})`, 118 - depth * 2).join('\n ')}`
    if (depth === 0) key.spaceBefore = true
  })
  document.commentBefore = [
    ' Sabethes: every key with its default. Remove what you do not change.',
    ' Environment variables (`sabethes config env`) beat this file, flags beat both. `sabethes config check` finds mistakes.'
  ].join('\n')
  return document.toString({ lineWidth: 0 })
}

function wrap (text: string, width: number): string[] {
  const lines = ['']
  for (const word of text.split(' ')) {
    const last = lines.at(-1) as string
    if (last.length + word.length + 1 > width) lines.push(word)
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`
  }
  return lines
}

/** A default on one line. */
export function defaultText (key: ConfigKey): string {
  if (key.kind === 'plugins') return (key.default as PluginEntry[]).map(entry => entry.name).join(',')
  return Array.isArray(key.default) ? key.default.join(',') : String(key.default)
}

/** Each variable with its text and default, as lines of a shell. */
export function envText (): string {
  return configKeys.map(key => `# ${key.path}: ${key.description}\n${key.env}=${defaultText(key)}\n`).join('\n')
}

/** The table of `docs/configuration.md`. */
export function markdownTable (): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|')
  const lines: string[] = []
  for (const top of new Set(configKeys.map(key => key.path.split('.')[0] as string))) {
    lines.push(`### ${top}`, '', '| Key | Default | Values | Meaning |', '|---|---|---|---|')
    for (const key of configKeys.filter(key => key.path === top || key.path.startsWith(top + '.'))) {
      const fallback = defaultText(key)
      lines.push(`| \`${key.path}\`<br>\`${key.env}\` | ${fallback === '' ? '(empty)' : `\`${fallback}\``} | ${cell(key.values)} | ${cell(key.description)} |`)
    }
    lines.push('')
  }
  return lines.join('\n')
}
