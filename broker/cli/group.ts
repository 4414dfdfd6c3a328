/** `sabethes group create|add|rm|list`, as a user. */
import { asUser, type UserOptions } from './chat.ts'
import { columns, print, printable, type Terminal } from './terminal.ts'

export interface CreateOptions extends UserOptions { name?: string }

export async function create (terminal: Terminal, gid: string, members: string[], options: CreateOptions): Promise<void> {
  await asUser(terminal, options, async chat => {
    const result = await chat.request('groups.create', { gid, name: options.name ?? gid, members })
    print(terminal, options.json, result ?? {}, [`created g/${gid}`, ...outcomes(result)].join('\n'))
  })
}

export async function change (terminal: Terminal, method: 'add' | 'remove', gid: string, users: string[], options: UserOptions): Promise<void> {
  await asUser(terminal, options, async chat => {
    const result = await chat.request(`groups.${method}`, { gid, users })
    const lines = outcomes(result)
    const { [`${method === 'add' ? 'added' : 'removed'}`]: changed = users } = (result ?? {}) as Record<string, string[]>
    if (changed.length > 0 || lines.length === 0) lines.unshift(`${method === 'add' ? 'added to' : 'removed from'} g/${gid}: ${changed.join(' ')}`)
    print(terminal, options.json, result ?? {}, lines.join('\n'))
  })
}

/** Who did not come in at once. */
function outcomes (result: unknown): string[] {
  const { invited = [], refused = [] } = (result ?? {}) as { invited?: string[], refused?: Array<{ user: string, code: string }> }
  return [
    ...(invited.length > 0 ? [`invited: ${invited.join(' ')}`] : []),
    ...(refused.length > 0 ? [`not added: ${refused.map(({ user, code }) => `${user} (${printable(code)})`).join(', ')}`] : [])
  ]
}

export async function list (terminal: Terminal, options: UserOptions): Promise<void> {
  await asUser(terminal, options, async chat => {
    const result = await chat.request('groups.list', {}) as { groups?: Array<{ gid?: string, name?: string, role?: string, members?: unknown }> } | undefined
    const rows = (result?.groups ?? []).map(({ gid = '?', role = '', name = '' }) => [gid, role, printable(name)])
    print(terminal, options.json, result, columns(rows))
  })
}
