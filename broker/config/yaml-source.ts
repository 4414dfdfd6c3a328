/** Reads `sabethes.yaml`; every mistake is named with its line and column. */
import { createRequire } from 'node:module'
import type * as Yaml from 'yaml'
import type { Document, Node } from 'yaml'
import { keyOf, configSections } from './keys.ts'
import { unknownKey, type Source } from './source.ts'

/** Loaded with the first file: a start without one need not read its many modules. */
let yaml: typeof Yaml | undefined
function loaded (): typeof Yaml {
  yaml ??= createRequire(import.meta.url)('yaml') as typeof Yaml
  return yaml
}

/** A file that is being read. `positionOf`: where a node of it is written. */
interface YamlFile { source: Source, document: Document, positionOf: (node: unknown) => string }

/** The values of a configuration file's `text`; `name` is shown in front of positions. */
export function yamlSource (text: string, name: string): Source {
  const source: Source = { values: new Map(), problems: [] }
  const lines = new (loaded().LineCounter)()
  const document = loaded().parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const position = (offset: number | undefined): string => {
    if (offset === undefined) return name
    const { line, col } = lines.linePos(offset)
    return `${name}:${line}:${col}`
  }
  const [error] = document.errors
  if (error !== undefined) {
    // The first one only: the parser stumbles over its consequences.
    source.problems.push({ origin: position(error.pos[0]), text: error.message })
    return source
  }

  const positionOf = (node: unknown): string => position(loaded().isNode(node) ? node.range?.[0] : undefined)
  readSection({ source, document, positionOf }, document.contents, '', name)
  return source
}

/** The keys of a section; `at`: where its own name is written. */
function readSection (file: YamlFile, node: unknown, path: string, at: string): void {
  const { source, document, positionOf } = file
  const resolved = loaded().isAlias(node) ? node.resolve(document) : node
  if (isNothing(resolved)) return
  if (!loaded().isMap(resolved)) {
    source.problems.push({ origin: at, ...(path === '' ? {} : { key: path }), text: 'must be a section: keys and values beneath it' })
    return
  }
  for (const { key, value } of resolved.items) {
    const part = loaded().isScalar(key) ? String(key.value) : String(key)
    const child = path === '' ? part : `${path}.${part}`
    if (part.includes('.')) source.problems.push(unknownKey(child, positionOf(key)))
    else readEntry(file, value, child, positionOf(key))
  }
}

function readEntry (file: YamlFile, value: unknown, path: string, origin: string): void {
  const { problems } = file.source
  if (configSections.has(path)) readSection(file, value, path, origin)
  else if (keyOf(path) === undefined) problems.push(unknownKey(path, origin))
  else if (isNothing(value)) problems.push({ origin, key: path, text: 'is empty: give it a value or remove the line' })
  else assign(file, path, value as Node, origin)
}

function isNothing (node: unknown): boolean { return node === null || (loaded().isScalar(node) && node.value === null) }

function assign ({ source, document, positionOf }: YamlFile, path: string, node: Node, origin: string): void {
  let value: unknown
  try {
    value = node.toJS(document, { maxAliasCount: 100 })
  } catch (error) {
    source.problems.push({ origin, key: path, text: (error as Error).message })
    return
  }
  const originOf = (parts: readonly PropertyKey[]): string | undefined => {
    const found = document.getIn([...path.split('.'), ...parts], true)
    return loaded().isNode(found) && found.range ? positionOf(found) : undefined
  }
  source.values.set(path, { value, origin, originOf })
}
