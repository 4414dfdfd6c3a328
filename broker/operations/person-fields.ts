/** Parameters that say something of a person. An empty text is nothing: what was said before goes. */
import { z } from 'zod'
import { isObject, judged, says } from './fields.ts'

const maxNickname = 64
const maxTag = 64
/** Controls, halves of characters, and what turns the direction of the text around it. */
const unfit = /[\p{Cc}\p{Cs}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u
/** Nothing that can be seen: spaces, and characters that stand between others or for nothing (the empty Braille pattern is a symbol). */
const unseen = /^[\s\p{Default_Ignorable_Code_Point}\u2800]+$/u
const maxAvatar = 1_024
const maxRemark = 64
const maxGroups = 16

/** As others see it, on one line. */
export function nickname (): z.ZodCustom<string, string> { return line(maxNickname) }

/** Where a picture is. */
export function avatar (): z.ZodString {
  const error = says(`must be an http(s) address of at most ${maxAvatar} bytes, or media: and an id`)
  return z.string(error).max(maxAvatar, error).regex(/^(|media:[A-Za-z0-9._-]{1,64}|https?:\/\/[!#-;=?-~]+)$/, error).describe('`https://…` or `media:{id}`')
}

export function languageTag (): z.ZodString {
  const error = says('must be a language tag such as de or pt-BR')
  return z.string(error).max(maxTag, error).regex(/^(|[A-Za-z0-9]{1,8}(-[A-Za-z0-9]{1,8})*)$/, error).describe('`pt-BR`')
}

/** Not an offset, which knows no summer. */
export function timeZone (): z.ZodString {
  const error = says('must be the name of a time zone such as Europe/Berlin')
  return z.string(error).max(maxTag, error).regex(/^(|[A-Za-z][A-Za-z0-9_+-]*(\/[A-Za-z0-9_+-]+)*)$/, error).describe('`Europe/Berlin`')
}

/** What the configuration bounds. */
export function profileFields (): z.ZodCustom<Record<string, unknown>, Record<string, unknown>> {
  return judged<Record<string, unknown>>(value => isObject(value) ? undefined : 'must be an object').meta({ type: 'object', description: 'an object, of your own making' })
}

/** What one calls a contact. */
export function remark (): z.ZodCustom<string, string> { return line(maxRemark) }

/** Names of groups of contacts. */
export function contactGroups (): z.ZodCustom<string[], string[]> {
  return judged<string[]>(value => {
    if (!Array.isArray(value)) return 'must be a list of names'
    if (value.length > maxGroups) return { code: 'too_large', text: `at most ${maxGroups}` }
    return value.every(name => typeof name === 'string' && name !== '' && lineProblem(name, maxRemark) === undefined) ? undefined : `must be a list of names of 1 to ${maxRemark} characters`
  }).meta({ type: 'array', items: { type: 'string', minLength: 1, maxLength: maxRemark }, maxItems: maxGroups, description: `at most ${maxGroups} names` })
}

/** A text of one line, or none. */
function line (max: number): z.ZodCustom<string, string> {
  return judged<string>(value => lineProblem(value, max)).meta({ type: 'string', maxLength: max, description: `at most ${max} characters` })
}

function lineProblem (value: unknown, max: number): string | undefined {
  if (typeof value !== 'string' || value.length > max || unseen.test(value)) return `must be a text of at most ${max} characters`
  return unfit.test(value) ? 'has characters that are no part of a name' : undefined
}
