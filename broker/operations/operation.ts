/**
 * What an operation is. Requests (`{prefix}/rpc/{name}`) and verbs (`{prefix}/to/u/{uid}/{name}`) are entries of one table; each says all
 * that is to be known of it, and is carried out by the rules that it is given.
 */
import type { z } from 'zod'
import { Refusal } from '../errors.ts'
import { reader } from './judge.ts'
import type { Addressee, Caller, Rules, Written } from './rules.ts'

/** Who may ask: anybody who is signed in, or the operator of the server. */
export type Permission = 'user' | 'operator'
/** What it counts as (`requests.perSecond`; `heavy` ones, which read or change much, also as `requests.heavyPerSecond`). */
export type RateClass = 'plain' | 'heavy'

/** Method and path, with parameters in braces. */
export type HttpRoute = `${'GET' | 'POST' | 'PUT' | 'DELETE'} /v1/${string}`

interface Described {
  readonly name: string
  /** For topics.md: what it does and what its answer means, Markdown without a final stop. */
  readonly text: string
  readonly permission: Permission
  readonly rate: RateClass
  /**
   * Its routes over HTTP; what the operator alone may ask has none. Parameters that the path does not name are in the query of GET and DELETE, in the
   * body of the others. GET of what changes something takes none.
   */
  readonly http?: readonly HttpRoute[]
}

/** A request, whatever its parameters are. */
export interface RequestOperation extends Described {
  readonly kind: 'request'
  readonly params: z.ZodObject
  /** Of the result; held by tests, not at run time. */
  readonly result: z.ZodObject
  /** It changes nothing: nobody misses one whose asker has gone. */
  readonly query: boolean
  /** Of a user one at a time: it reads or changes much, or may answer with half a megabyte. */
  readonly long: boolean
  /** Judges the parameters and carries it out. Bytes are an answer that is sent as it is. Rejects with `Refusal`. */
  run (rules: Rules, caller: Caller, given: Record<string, unknown>): Promise<unknown>
}

/** A verb, whatever its parameters are. */
export interface VerbOperation extends Described {
  readonly kind: 'verb'
  readonly params: z.ZodObject
  /** How its payload looks, as in topics.md. */
  readonly payload: string
  /** Judges the payload (parsed JSON, `undefined` when it is none) and carries it out. Rejects with `Refusal`. */
  run (rules: Rules, caller: Caller, target: Addressee, payload: unknown): Promise<void>
}

export type Operation = RequestOperation | VerbOperation

interface RequestDefinition<Params extends z.ZodObject, Result extends z.ZodObject> extends Described {
  params: () => Params
  result: () => Result
  query: boolean
  /** As `heavy` ones are, unless it says otherwise. */
  long?: boolean
  /** In heavy requests, what it is worth beside its own. */
  worth?: (params: z.output<Params>) => number
  run (rules: Rules, caller: Caller, params: z.output<Params>): Promise<z.output<Result> | Written | Uint8Array>
}

/** An entry of the table: a request. */
export function request<Params extends z.ZodObject, Result extends z.ZodObject> (definition: RequestDefinition<Params, Result>): RequestOperation {
  const { name, text, permission, rate, http = [], params, result, query, long = rate === 'heavy', worth, run } = definition
  const [schema, answer] = [once(params), once(result)]
  const read = once(() => reader(schema()))
  return {
    kind: 'request',
    name,
    text,
    permission,
    rate,
    http,
    get params () { return schema() },
    get result () { return answer() },
    query,
    long,
    run: async (rules, caller, given) => {
      checkPermission(permission, caller)
      const judged = read()(given)
      const more = worth?.(judged) ?? 0
      if (more > 0) caller.charge?.(more)
      return await run(rules, caller, judged)
    }
  }
}

interface VerbDefinition<Params extends z.ZodObject> extends Described {
  params: () => Params
  /** The parameter that a payload which is no object stands for. */
  short: keyof z.output<Params> & string
  payload: string
  run (rules: Rules, caller: Caller, target: Addressee, params: z.output<Params>): Promise<void>
}

/** An entry of the table: a verb. */
export function verb<Params extends z.ZodObject> (definition: VerbDefinition<Params>): VerbOperation {
  const { name, text, permission, rate, http = [], params, short, payload, run } = definition
  const schema = once(params)
  const read = once(() => reader(schema(), `; the payload is ${payload.replaceAll('`', '')}`))
  return {
    kind: 'verb',
    name,
    text,
    permission,
    rate,
    http,
    get params () { return schema() },
    payload,
    run: async (rules, caller, target, given) => {
      checkPermission(permission, caller)
      await run(rules, caller, target, read()(isObject(given) ? given : { [short]: given }))
    }
  }
}

/** Schemas are made when they are first asked for: those of results are for documents and tests, and no server waits for any at its start. */
function once<Value> (make: () => Value): () => Value {
  let value: Value | undefined
  return () => (value ??= make())
}

function checkPermission (permission: Permission, caller: Caller): void {
  if (permission === 'operator' && caller.operator !== true) throw new Refusal('forbidden', 'this is for the operator of the server')
}

function isObject (value: unknown): value is Record<string, unknown> { return typeof value === 'object' && value !== null && !Array.isArray(value) }
