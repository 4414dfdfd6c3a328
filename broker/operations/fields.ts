/**
 * Parameters that several operations have, and what they are judged by. Each says one thing when it is wrong, however large it is: lists and maps
 * are judged by one function, as a schema of each item would write a complaint for each.
 */
import { z } from 'zod'
import type { Code } from '../errors.ts'
import { directId, groupId, idPattern, isId } from '../topics.ts'
import type { Caller } from './rules.ts'

/** Users named in one request. */
export const maxUsers = 1_000
const maxName = 256
const maxMetaBytes = 4_096
const maxPasswordBytes = 1_024
/** Users that are worth one more heavy request. */
const chargedUsers = 100

const idText = '1 to 64 of A-Z a-z 0-9 . _ -'

/** What is said of a wrong value; of one that is not there, that it is missing. */
export function says (what: string): { error: (issue: { input: unknown }) => string } {
  return { error: ({ input }) => input === undefined ? 'is missing' : what }
}

export type Problem = string | { code: Code, text: string }

/** A value that one function judges. */
export function judged<Value> (find: (value: unknown) => Problem | undefined): z.ZodCustom<Value, Value> {
  return z.custom<Value>().check(({ value, issues }) => {
    const problem = value === undefined ? 'is missing' : find(value)
    if (problem === undefined) return
    const { code, text } = typeof problem === 'string' ? { code: 'bad_payload' as const, text: problem } : problem
    issues.push({ code: 'custom', input: value, message: text, params: { code } })
  })
}

export function isObject (value: unknown): value is object { return typeof value === 'object' && value !== null && !Array.isArray(value) }

/** A user, a group or a request. */
export function id (): z.ZodString {
  const error = says(`must be an id, ${idText}`)
  return z.string(error).regex(idPattern, error)
}

/** A list of ids. */
export function ids (): z.ZodCustom<string[], string[]> {
  return judged<string[]>(value => {
    if (!Array.isArray(value)) return 'must be a list of ids'
    if (value.length > maxUsers) return { code: 'too_large', text: `at most ${maxUsers} in one request` }
    return value.every(one => typeof one === 'string' && isId(one)) ? undefined : `must be a list of ids, each ${idText}`
  }).meta({ type: 'array', items: { type: 'string', pattern: idPattern.source }, maxItems: maxUsers, description: `at most ${maxUsers}` })
}

/** What many named users are worth, in heavy requests. */
export function worthOf (users: readonly string[]): number { return Math.floor(users.length / chargedUsers) }

export function integer (min: number, max: number): z.ZodInt {
  const error = says(`must be a whole number from ${min} to ${max}`)
  return z.int(error).min(min, error).max(max, error)
}

/** A message number; the first one is 1. */
export function seq (min: 0 | 1 = 0): z.ZodInt { return integer(min, Number.MAX_SAFE_INTEGER) }

/** A list of message numbers. */
export function seqs (max: number): z.ZodCustom<number[], number[]> {
  return judged<number[]>(value => {
    if (!Array.isArray(value) || value.length === 0) return 'must be a list of message numbers'
    if (value.length > max) return { code: 'too_large', text: `at most ${max} in one request` }
    return value.every(one => Number.isSafeInteger(one) && one >= 1) ? undefined : 'must be a list of message numbers'
  }).meta({ type: 'array', items: { type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER }, minItems: 1, maxItems: max })
}

export function limit (fallback: number, max: number): z.ZodDefault<z.ZodInt> { return integer(1, max).default(fallback).describe(`1 to ${max}; ${fallback}`) }

/** Where a page starts: the `next` of the page before. */
export function after (): z.ZodOptional<z.ZodString> {
  const error = says("must be the 'next' of an earlier answer")
  return z.string(error).min(1, error).max(256, error).optional()
}

export function flag (fallback: boolean): z.ZodDefault<z.ZodBoolean> { return z.boolean(says('must be true or false')).default(fallback).describe(String(fallback)) }

export function oneOf<const Values extends readonly [string, ...string[]]> (values: Values): z.ZodEnum<{ [Value in Values[number]]: Value }> {
  const quoted = values.map(value => `\`${value}\``)
  return z.enum(values, says(`must be one of ${values.join(', ')}`)).describe(`${quoted.slice(0, -1).join(', ')} or ${quoted.at(-1)}`)
}

/** A name for people. */
export function name (): z.ZodString {
  const error = says(`must be a text of 1 to ${maxName} characters`)
  return z.string(error).max(maxName, error).regex(/\S/, error).describe(`1 to ${maxName} characters`)
}

/** A password, as `sabethes user passwd` takes it. */
export function password (): z.ZodCustom<string, string> {
  return judged<string>(value => typeof value === 'string' && value !== '' && Buffer.byteLength(value) <= maxPasswordBytes ? undefined : `must be a text of 1 to ${maxPasswordBytes} bytes`).meta({ type: 'string', minLength: 1, maxLength: maxPasswordBytes })
}

/** A text that nobody reads as more than one. */
export function text (max: number): z.ZodString {
  const error = says(`must be a text of 1 to ${max} characters`)
  return z.string(error).min(1, error).max(max, error)
}

/** What kind of device it is. */
export function platform (): z.ZodString {
  const error = says('must be 1 to 32 of a-z 0-9 . _ -')
  return z.string(error).regex(/^[a-z0-9._-]{1,32}$/, error).describe('`phone`, `desktop`, …')
}

/** A small JSON object. */
export function meta (): z.ZodCustom<Record<string, unknown>, Record<string, unknown>> {
  return judged<Record<string, unknown>>(value => {
    if (!isObject(value)) return 'must be an object'
    return Buffer.byteLength(JSON.stringify(value)) > maxMetaBytes ? { code: 'too_large', text: `at most ${maxMetaBytes} bytes` } : undefined
  }).meta({ type: 'object', description: `an object, at most ${maxMetaBytes} bytes` })
}

/** A map of conversation id to message number. */
export function seqsByConversation (): z.ZodCustom<Record<string, number>, Record<string, number>> {
  return judged<Record<string, number>>(value => {
    if (!isObject(value)) return 'must be an object of conversation id to message number'
    for (const conv of Object.keys(value)) {
      if (!isConversation(conv)) return 'has a key that is no conversation id'
      const at = (value as Record<string, unknown>)[conv]
      if (!Number.isSafeInteger(at) || (at as number) < 0) return `${conv} must be a message number`
    }
    return undefined
  }).meta({ type: 'object', propertyNames: { pattern: conversationPattern.source }, additionalProperties: { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER } })
}

const conversationPattern = /^(?:g:[A-Za-z0-9._-]{1,64}|d:([A-Za-z0-9._-]{1,64}):([A-Za-z0-9._-]{1,64}))$/

function isConversation (text: string): boolean {
  const match = conversationPattern.exec(text)
  if (match === null) return false
  const [, a = '', b = ''] = match
  return a <= b
}

/** What `needsOne` said of parameters: those that must be given, and those that may stand instead of one. */
export function choicesOf (params: z.ZodObject): { needed?: string[], instead?: string[] } { return params.meta() as ReturnType<typeof choicesOf> | undefined ?? {} }

/** Parameters of which one must be given: `first`, or one of the others, which topics.md leaves to its text. */
export function needsOne<Params extends z.ZodObject> (params: Params, first: string, others: readonly string[], hint = ''): Params {
  const names = [first, ...others]
  const choices = choicesOf(params)
  return params
    .refine(given => names.some(name => (given as Record<string, unknown>)[name] !== undefined), { path: [first], message: `is missing${hint}`, when: () => true })
    .meta({ needed: [first, ...choices.needed ?? []], instead: [...others, ...choices.instead ?? []] })
}

const conversationShape = () => ({
  conv: judged<string>(value => typeof value === 'string' && isConversation(value) ? undefined : 'must be a conversation id, d:{user}:{user} or g:{gid}').meta({ type: 'string', pattern: conversationPattern.source }).optional(),
  with: id().optional(),
  gid: id().optional(),
  group: id().optional()
})

/** Parameters of what is done in a conversation, which `conversationOf` then tells. */
export function inConversation<Shape extends z.ZodRawShape> (shape: Shape): z.ZodObject<ReturnType<typeof conversationShape> & Shape> {
  return needsOne(z.object({ ...conversationShape(), ...shape }), 'conv', ['with', 'gid', 'group'], ' (or give with: a user, or gid: a group)') as unknown as z.ZodObject<ReturnType<typeof conversationShape> & Shape>
}

/** The conversation that `conv`, `with` (a user), `gid` or `group` names. */
export function conversationOf (caller: Caller, { conv, with: peer, gid, group }: { conv?: string | undefined, with?: string | undefined, gid?: string | undefined, group?: string | undefined }): string {
  return conv ?? (peer === undefined ? groupId((gid ?? group) as string) : directId(caller.user, peer))
}
