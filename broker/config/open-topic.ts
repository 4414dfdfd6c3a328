/** An entry of `mqtt.openTopics`: a filter, or who may read and write what it matches. */
import { z } from 'zod'
import { idPattern } from '../topics.ts'

/** A topic filter as of MQTT 3.1.1 section 4.7. */
function isTopicFilter (filter: string): boolean {
  if (filter === '' || filter.includes('\0') || filter.startsWith('$share/')) return false
  const levels = filter.split('/')
  return levels.every((level, at) => level === '+' || (level === '#' && at === levels.length - 1) || !/[+#]/.test(level))
}

const form = 'a topic filter such as home/#, or { filter: home/#, read: …, write: … }'
const who = 'everybody, nobody or a list of user names'
/** What stands for a name of the connection. */
const placeholder = /\{(\w+)\}/g

const names = z.array(z.string().regex(idPattern, 'must be a user name: 1 to 64 of A-Z a-z 0-9 . _ -')).refine(list => list.length > 0, `must be ${who}`)
const whom = z.union([z.enum(['everybody', 'nobody']), names], `must be ${who}`).optional()
const rule = z.strictObject({ filter: z.string(), read: whom, write: whom }, {
  error: issue => issue.code === 'unrecognized_keys' ? `must be ${form}: there is no ${issue.keys.join(', ')}` : undefined
})

/** Why an entry has not the form of one. */
function formProblem (entry: unknown): string {
  if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) return `must be ${form}`
  const { filter, read } = entry as Record<string, unknown>
  if (typeof filter !== 'string') return 'must have a filter, such as home/#'
  return `must say for ${whom.safeParse(read).success ? 'write' : 'read'} ${who}`
}

/** What is wrong with a filter of an entry, or `undefined`. */
function filterProblem (filter: string): string | undefined {
  if (!isTopicFilter(filter)) return 'must be a topic filter such as home/#'
  for (const [all, name] of filter.matchAll(placeholder)) if (name !== 'user' && name !== 'clientId') return `may have {user} and {clientId} in its filter, there is no ${all}`
  return ambiguity(filter)
}

/** Both names in one level, and nothing that tells where the user's ends: clients choose their client ids, and could name what is another user's. */
function ambiguity (filter: string): string | undefined {
  for (const level of filter.split('/')) {
    const found = [...level.matchAll(placeholder)]
    for (const [at, { 0: second, index }] of found.entries()) {
      const before = found[at - 1]
      if (before === undefined || before[0] === second) continue
      const between = level.slice(before.index + before[0].length, index)
      if (/^[A-Za-z0-9._-]*$/.test(between)) return `must have a character between ${before[0]} and ${second} in one level that no user name has, such as @: bob with the client id x-y would be bob-x with y`
    }
  }
  return undefined
}

export const openTopic = z.union([z.string(), rule], { error: ({ input }) => formProblem(input) }).superRefine((entry, context) => {
  const problem = filterProblem(typeof entry === 'string' ? entry : entry.filter)
  if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
})

export type OpenTopic = z.output<typeof openTopic>

export function filterOf (entry: OpenTopic): string { return typeof entry === 'string' ? entry : entry.filter }

/** True when every user may read or write what the entry's filter matches. */
export function isForEverybody (entry: OpenTopic): boolean {
  return typeof entry === 'string' || [entry.read, entry.write].some(whom => whom === undefined || whom === 'everybody')
}

/** True when nobody may do anything. */
export function isForNobody (entry: OpenTopic): boolean { return typeof entry !== 'string' && entry.read === 'nobody' && entry.write === 'nobody' }

/** For people: `home/#`, `plant/# (read everybody, write alice and bob)`. */
export function openTopicText (entry: OpenTopic): string {
  if (typeof entry === 'string') return entry
  const said = (whom: string | readonly string[] = 'everybody'): string => typeof whom === 'string' ? whom : whom.join(' and ')
  return `${entry.filter} (read ${said(entry.read)}, write ${said(entry.write)})`
}
