/** What is kept of a person, and what of it may be kept. */
import { Refusal } from '../../../errors.ts'
import type { ProfileChange } from '../../../operations/rules.ts'
import type { EngineLimits } from '../../host.ts'

/** Who finds somebody: by the beginning of id or nickname, by the whole of it, or nobody. */
export type Findable = 'prefix' | 'exact' | 'nobody'
/** Who sees what is not public. */
export type Visibility = 'everybody' | 'contacts' | 'nobody'

/** A setting that is absent is as configured. */
export interface Profile {
  nickname?: string
  avatar?: string
  language?: string
  timeZone?: string
  fields?: Record<string, unknown>
  visible?: Visibility
  findable?: Findable
}

/** Characters by which a name is looked for; a longer one is found by its beginning. */
const maxTermLength = 64

/** The profile after a change. Throws `Refusal` (`bad_payload`, `too_large`). */
export function changed (profile: Profile, change: ProfileChange, limits: Pick<EngineLimits, 'maxProfileFields' | 'maxProfileFieldBytes'>): Profile {
  const next: Profile = { ...profile }
  const put = <Name extends keyof Profile>(name: Name, value: Profile[Name] | undefined, absent: boolean): void => {
    if (value === undefined) return
    if (absent) Reflect.deleteProperty(next, name)
    else next[name] = value
  }
  const { nickname, avatar, language, timeZone, fields, visible, findable } = change
  put('nickname', nickname, nickname === '')
  put('avatar', avatar, avatar === '')
  put('language', language === undefined || language === '' ? language : languageOf(language), language === '')
  put('timeZone', timeZone === undefined || timeZone === '' ? timeZone : timeZoneOf(timeZone), timeZone === '')
  if (fields !== undefined) checkFields(fields, limits)
  put('fields', fields, fields !== undefined && Object.keys(fields).length === 0)
  put('visible', visible as Visibility | undefined, visible === 'default')
  put('findable', findable as Findable | undefined, findable === 'default')
  return next
}

/** As RFC 5646 writes it. Throws `Refusal`. */
function languageOf (text: string): string {
  try {
    return Intl.getCanonicalLocales(text)[0] as string
  } catch (error) {
    throw new Refusal('bad_payload', `language: ${(error as Error).message}; it must be a tag such as de or pt-BR`)
  }
}

function timeZoneOf (text: string): string {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: text }) && text
  } catch (error) {
    throw new Refusal('bad_payload', `timeZone: ${(error as Error).message}; it must be a name such as Europe/Berlin`)
  }
}

function checkFields (fields: Record<string, unknown>, { maxProfileFields, maxProfileFieldBytes }: Pick<EngineLimits, 'maxProfileFields' | 'maxProfileFieldBytes'>): void {
  if (Object.keys(fields).length > maxProfileFields) throw new Refusal('too_large', `fields: at most ${maxProfileFields}`)
  if (Buffer.byteLength(JSON.stringify(fields)) > maxProfileFieldBytes) throw new Refusal('too_large', `fields: at most ${maxProfileFieldBytes} bytes`)
}

/**
 * A name as it is looked for: forms that look alike, upper and lower case, are one (Unicode's NFKC, also of what lower case has made). The sigma at the end
 * of a word is as the others: in a longer name what was looked for does not end there.
 */
export function termOf (text: string): string {
  const folded = text.normalize('NFKC').toLowerCase().normalize('NFKC').replaceAll('ς', 'σ').trim().replaceAll(/\s+/gu, ' ')
  return [...folded].slice(0, maxTermLength).join('')
}

/** By what somebody is found. */
export function termsOf (user: string, { nickname = '' }: Profile): string[] {
  return [...new Set([termOf(user), termOf(nickname)])].filter(term => term !== '')
}
