/** Reads `sabethes.yaml`; every mistake is named with its line and column. */
import { isAlias, isMap, isNode, isScalar, LineCounter, parseDocument, type Document, type Node } from 'yaml'
import { keyOf, configSections } from './keys.ts'
import { unknownKey, type Source } from './source.ts'

/** The values of a configuration file's `text`; `name` is shown in front of positions. */
export function yamlSource (text: string, name: string): Source {
  const source: Source = { values: new Map(), problems: [] }
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
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

  const positionOf = (node: unknown): string => position(isNode(node) ? node.range?.[0] : undefined)
  const visit = (node: unknown, path: string, at: string): void => {
    const resolved = isAlias(node) ? node.resolve(document) : node
    if (resolved === null || (isScalar(resolved) && resolved.value === null)) return
    if (!isMap(resolved)) {
      source.problems.push({ origin: at, ...(path === '' ? {} : { key: path }), text: 'must be a section: keys and values beneath it' })
      return
    }
    for (const { key, value } of resolved.items) {
      const origin = positionOf(key)
      const part = isScalar(key) ? String(key.value) : String(key)
      const child = path === '' ? part : `${path}.${part}`
      if (part.includes('.') || (keyOf(child) === undefined && !configSections.has(child))) {
        source.problems.push(unknownKey(child, origin))
      } else if (configSections.has(child)) {
        visit(value, child, origin)
      } else if (value === null || (isScalar(value) && value.value === null)) {
        source.problems.push({ origin, key: child, text: 'is empty: give it a value or remove the line' })
      } else {
        assign(source, document, child, value as Node, origin, positionOf)
      }
    }
  }
  visit(document.contents, '', name)
  return source
}

function assign (source: Source, document: Document, path: string, node: Node, origin: string, positionOf: (node: unknown) => string): void {
  let value: unknown
  try {
    value = node.toJS(document, { maxAliasCount: 100 })
  } catch (error) {
    source.problems.push({ origin, key: path, text: (error as Error).message })
    return
  }
  const originOf = (parts: readonly PropertyKey[]): string | undefined => {
    const found = document.getIn([...path.split('.'), ...parts], true)
    return isNode(found) && found.range ? positionOf(found) : undefined
  }
  source.values.set(path, { value, origin, originOf })
}
