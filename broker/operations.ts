/**
 * The table of operations: all that a client may ask for beside sending messages. Each is a file in `operations/` and a line in
 * `operations/list.ts`. It says what is asked and answered, who may, how much it counts for; the rules that carry it out are the engine's.
 * Documents, routes and the command line read the same table.
 */
import * as listed from './operations/list.ts'
import type { Operation, RequestOperation, VerbOperation } from './operations/operation.ts'

const all: readonly Operation[] = Object.values(listed)

function byName<Kind extends Operation> (kind: readonly Kind[]): ReadonlyMap<string, Kind> {
  const sorted = [...kind].sort((a, b) => a.name < b.name ? -1 : 1)
  const map = new Map(sorted.map(operation => [operation.name, operation]))
  if (map.size < kind.length) throw new Error(`two operations have the same name: ${sorted.map(({ name }) => name).join(' ')}`)
  return map
}

/** `{prefix}/rpc/{name}`. */
export const requests: ReadonlyMap<string, RequestOperation> = byName(all.filter(operation => operation.kind === 'request'))
/** `{prefix}/to/u/{uid}/{name}` and `{prefix}/to/g/{gid}/{name}`. */
export const verbs: ReadonlyMap<string, VerbOperation> = byName(all.filter(operation => operation.kind === 'verb'))

/** It changes nothing: nobody misses one whose asker has gone. */
export function isQuery (name: string): boolean { return requests.get(name)?.query === true }
