/** The routes of the table, and what their requests become: the payload that the same request has over MQTT. */
import { z } from 'zod'
import { Refusal } from '../../errors.ts'
import { requests, verbs } from '../../operations.ts'
import type { HttpRoute, Operation } from '../../operations/operation.ts'

export interface ApiRoute {
  readonly operation: Operation
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** With parameters in braces. */
  readonly path: string
  /** Names of the path's parameters. */
  readonly named: readonly string[]
  /** Parameters that the query may have. */
  readonly asked: readonly string[]
}

/** The id of every request: the answer to it is known by what it begins with. */
export const rid = 'h'

/** All routes of operations, in the order of the table. */
export function tableRoutes (): ApiRoute[] {
  return [...requests.values(), ...verbs.values()].flatMap(operation => (operation.http ?? []).map(route => routeOf(operation, route)))
}

function routeOf (operation: Operation, route: HttpRoute): ApiRoute {
  const [method = '', path = ''] = route.split(' ')
  const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name)
  const isQuery = operation.kind === 'request' && operation.query
  const inQuery = method === 'DELETE' || (method === 'GET' && isQuery)
  const asked = inQuery ? Object.keys(operation.params.shape).filter(name => !named.includes(name)) : []
  return { operation, method: method as ApiRoute['method'], path, named, asked }
}

/** Whether the body of its requests is read. */
export function takesBody ({ method }: Pick<ApiRoute, 'method'>): boolean { return method === 'POST' || method === 'PUT' }

/** Makes the payload of a request from its path, its query and its body. */
export type PayloadReader = (path: Record<string, string>, query: Record<string, unknown>, body: Buffer) => Buffer

export function payloadReader (route: ApiRoute): PayloadReader {
  const kinds = kindsOf(route.operation)
  // Answers are packed by what HTTP has for that.
  const fixed = 'gzip' in route.operation.params.shape ? { rid, gzip: false } : { rid }
  return (path, query, body) => {
    const members: Record<string, unknown> = {}
    for (const name of route.asked) {
      const value = query[name]
      if (Array.isArray(value)) throw new Refusal('bad_payload', `${name}: is given more than once`)
      if (value !== undefined) members[name] = coerced(value as string, kinds.get(name))
    }
    for (const name of route.named) members[name] = coerced(path[name] as string, kinds.get(name))
    return withMembers(takesBody(route) ? body : Buffer.alloc(0), { ...members, ...fixed })
  }
}

function kindsOf ({ params }: Operation): ReadonlyMap<string, unknown> {
  const { properties = {} } = z.toJSONSchema(params, { unrepresentable: 'any', io: 'input' })
  return new Map(Object.entries(properties).map(([name, schema]) => [name, typeof schema === 'object' ? schema.type : undefined]))
}

/** A text as the value that the schema wants; one that is none stays text, which the schema then refuses in its words. */
function coerced (text: string, kind: unknown): unknown {
  if (kind === 'integer' && /^-?\d{1,16}$/.test(text)) return Number(text)
  if (kind === 'boolean' && (text === 'true' || text === 'false')) return text === 'true'
  return text
}

const [openBrace, closeBrace] = [0x7b, 0x7d]

/**
 * The JSON object of a body, as it was sent, with members behind its own: of two with one name the last one counts. It is not parsed here, so it is
 * looked at once and by the same rules as over MQTT; what is no JSON does not become JSON by this.
 */
function withMembers (body: Buffer, members: Record<string, unknown>): Buffer {
  const added = JSON.stringify(members).slice(1)
  let [from, to] = [0, body.length]
  while (from < to && isSpace(body[from] as number)) from++
  while (to > from && isSpace(body[to - 1] as number)) to--
  if (from === to) return Buffer.from(`{${added}`)
  if (body[from] !== openBrace || body[to - 1] !== closeBrace || to - from < 2) throw new Refusal('bad_payload', 'the body is a JSON object')
  const inner = body.subarray(from + 1, to - 1)
  if (inner.every(isSpace)) return Buffer.from(`{${added}`)
  return Buffer.concat([body.subarray(from, to - 1), Buffer.from(`,${added}`)])
}

/** White space of JSON (RFC 8259, section 2). */
function isSpace (byte: number): boolean { return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09 }
