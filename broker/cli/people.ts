/** `sabethes people show|set|search`, as a user. */
import { asUser, type UserOptions } from './chat.ts'
import { columns, CommandError, print, printable, type Terminal } from './terminal.ts'

export interface SetOptions extends UserOptions { nickname?: string, avatar?: string, language?: string, timeZone?: string, field?: string[], visible?: string, findable?: string }

export async function show (terminal: Terminal, user: string | undefined, options: UserOptions): Promise<void> {
  await asUser(terminal, options, async chat => {
    const profile = await chat.request('people.get', { user: user ?? options.user }) as Record<string, unknown>
    print(terminal, options.json, profile, lines(profile))
  })
}

export async function set (terminal: Terminal, options: SetOptions): Promise<void> {
  const { nickname, avatar, language, timeZone, visible, findable } = options
  const fields = fieldsOf(options.field)
  await asUser(terminal, options, async chat => {
    const given = { nickname, avatar, language, timeZone, visible, findable, fields }
    const profile = await chat.request('people.set', Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))) as Record<string, unknown>
    print(terminal, options.json, profile, lines(profile))
  })
}

/** All fields anew, of `name=text`; nothing but an empty text: none any more. */
function fieldsOf (given: readonly string[] | undefined): Record<string, string> | undefined {
  if (given === undefined || given.length === 0) return undefined
  const pairs = given.filter(text => text !== '').map((text): [string, string] => {
    const at = text.indexOf('=')
    if (at < 1) throw new CommandError(`--field expects name=text, not '${printable(text)}'`, 2)
    return [text.slice(0, at), text.slice(at + 1)]
  })
  return Object.fromEntries(pairs)
}

function lines ({ fields = {}, ...rest }: Record<string, unknown>): string {
  const rows = [...Object.entries(rest), ...Object.entries(fields as object)] as Array<[string, unknown]>
  return columns(rows.map(([name, value]) => [printable(name), printable(typeof value === 'string' ? value : JSON.stringify(value))]))
}

export async function search (terminal: Terminal, text: string, options: UserOptions): Promise<void> {
  await asUser(terminal, options, async chat => {
    const people: Array<{ user: string, nickname?: string, avatar?: string }> = []
    let next: string | undefined
    do {
      const page = await chat.request('people.search', { text, limit: 50, ...next !== undefined && { after: next } }) as { people: typeof people, next?: string }
      people.push(...page.people)
      next = page.next
    } while (next !== undefined)
    print(terminal, options.json, { people }, people.length === 0 ? `nobody is found by '${printable(text)}'` : columns(people.map(({ user, nickname = '', avatar = '' }) => [user, printable(nickname), printable(avatar)])))
  })
}
