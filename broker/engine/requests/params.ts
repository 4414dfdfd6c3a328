/** Readers of request parameters: each gives a valid value or throws `Refusal` (`bad_payload`) that names the parameter. */
import { Refusal } from '../../errors.ts'
import { directId, directUsers, groupId, isId } from '../../topics.ts'
import type { Member } from '../../store/store.ts'
import type { Caller, EngineHost } from '../host.ts'

export type Params = Record<string, unknown>

/** Users named in one request. */
export const maxUsers = 1_000
const maxName = 256
const maxMetaBytes = 4_096

/** Own members only: `__proto__` and the like are names as any other. */
function valueOf (params: Params, name: string): unknown { return Object.hasOwn(params, name) ? params[name] ?? undefined : undefined }

function bad (name: string, what: string): Refusal { return new Refusal('bad_payload', `${name}: ${what}`) }

export function optionalId (params: Params, name: string): string | undefined {
  const value = valueOf(params, name)
  if (value === undefined) return undefined
  if (typeof value !== 'string' || !isId(value)) throw bad(name, 'must be an id, 1 to 64 of A-Z a-z 0-9 . _ -')
  return value
}

export function id (params: Params, name: string): string { return optionalId(params, name) ?? missing(name) }

function missing (name: string): never { throw bad(name, 'is missing') }

/** A list of ids; `fallback` when it is absent, otherwise it must be there. */
export function ids (params: Params, name: string, fallback?: readonly string[]): readonly string[] {
  const value = valueOf(params, name)
  if (value === undefined) return fallback ?? missing(name)
  if (!Array.isArray(value)) throw bad(name, 'must be a list of ids')
  if (value.length > maxUsers) throw new Refusal('too_large', `${name}: at most ${maxUsers} in one request`)
  for (const one of value as unknown[]) if (typeof one !== 'string' || !isId(one)) throw bad(name, 'must be a list of ids, each 1 to 64 of A-Z a-z 0-9 . _ -')
  return value as string[]
}

function optionalInteger (params: Params, name: string, min: number, max: number): number | undefined {
  const value = valueOf(params, name)
  if (value === undefined) return undefined
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) throw bad(name, `must be a whole number from ${min} to ${max}`)
  return value
}

/** A message number. */
export function seq (params: Params, name: string): number { return optionalSeq(params, name) ?? missing(name) }

export function optionalSeq (params: Params, name: string): number | undefined { return optionalInteger(params, name, 0, Number.MAX_SAFE_INTEGER) }

export function limit (params: Params, fallback: number, max: number): number { return optionalInteger(params, 'limit', 1, max) ?? fallback }

export function flag (params: Params, name: string, fallback: boolean): boolean {
  const value = valueOf(params, name)
  if (value === undefined) return fallback
  if (typeof value !== 'boolean') throw bad(name, 'must be true or false')
  return value
}

/** Where a page starts: the `next` of the page before. */
export function after (params: Params): { after?: string } {
  const value = valueOf(params, 'after')
  if (value === undefined) return {}
  if (typeof value !== 'string' || value === '' || value.length > 256) throw bad('after', "must be the 'next' of an earlier answer")
  return { after: value }
}

/** A name for people: 1 to 256 characters. */
export function optionalName (params: Params, name: string): string | undefined {
  const value = valueOf(params, name)
  if (value === undefined) return undefined
  if (typeof value !== 'string' || value.trim() === '' || value.length > maxName) throw bad(name, `must be a text of 1 to ${maxName} characters`)
  return value
}

export function oneOf<Value extends string> (params: Params, name: string, values: readonly Value[]): Value {
  const value = valueOf(params, name)
  if (value === undefined) return missing(name)
  const found = values.find(known => known === value)
  if (found === undefined) throw bad(name, `must be one of ${values.join(', ')}`)
  return found
}

/** A small JSON object. */
export function optionalMeta (params: Params): { meta?: Record<string, unknown> } {
  const value = valueOf(params, 'meta')
  if (value === undefined) return {}
  if (typeof value !== 'object' || Array.isArray(value)) throw bad('meta', 'must be an object')
  if (Buffer.byteLength(JSON.stringify(value)) > maxMetaBytes) throw new Refusal('too_large', `meta: at most ${maxMetaBytes} bytes`)
  return { meta: value as Record<string, unknown> }
}

/** A map of conversation id to message number. */
export function seqsByConversation (params: Params, name: string): Map<string, number> {
  const value = valueOf(params, name)
  if (value === undefined) return new Map()
  if (typeof value !== 'object' || Array.isArray(value)) throw bad(name, 'must be an object of conversation id to message number')
  const result = new Map<string, number>()
  for (const [conv, at] of Object.entries(value as object) as Array<[string, unknown]>) {
    if (!isConversation(conv)) throw bad(name, 'has a key that is no conversation id')
    if (typeof at !== 'number' || !Number.isSafeInteger(at) || at < 0) throw bad(name, `${conv} must be a message number`)
    result.set(conv, at)
  }
  return result
}

/** One or more message numbers, as `seq` or `seqs`. */
export function seqs (params: Params, max: number): number[] {
  const single = optionalInteger(params, 'seq', 1, Number.MAX_SAFE_INTEGER)
  if (single !== undefined) return [single]
  const value = valueOf(params, 'seqs')
  if (value === undefined) return missing('seqs')
  if (!Array.isArray(value) || value.length === 0) throw bad('seqs', 'must be a list of message numbers')
  if (value.length > max) throw new Refusal('too_large', `seqs: at most ${max} in one request`)
  for (const one of value as unknown[]) if (typeof one !== 'number' || !Number.isSafeInteger(one) || one < 1) throw bad('seqs', 'must be a list of message numbers')
  return [...new Set(value as number[])]
}

function isConversation (text: string): boolean {
  const parts = text.split(':')
  const [kind, a = '', b = ''] = parts
  if (kind === 'g') return parts.length === 2 && isId(a)
  return kind === 'd' && parts.length === 3 && isId(a) && isId(b) && a <= b
}

/** The conversation that `conv`, `with` (a user) or `gid` names. */
export function conversation (caller: Caller, params: Params): string {
  const conv = valueOf(params, 'conv')
  if (conv !== undefined) {
    if (typeof conv !== 'string' || !isConversation(conv)) throw bad('conv', 'must be a conversation id, d:{user}:{user} or g:{gid}')
    return conv
  }
  const peer = optionalId(params, 'with')
  if (peer !== undefined) return directId(caller.user, peer)
  const gid = optionalId(params, 'gid') ?? optionalId(params, 'group')
  if (gid !== undefined) return groupId(gid)
  throw bad('conv', 'is missing (or give with: a user, or gid: a group)')
}

/** The caller's row in the conversation; the same refusal whether it is not there or not theirs. */
export async function membership (host: EngineHost, caller: Caller, conv: string): Promise<Member> {
  const member = conv.startsWith('d:') && !directUsers(conv).includes(caller.user) ? undefined : await host.store.member(caller.user, conv)
  if (member === undefined) throw new Refusal('not_found', 'there is no such conversation, or you are not in it')
  return member
}
