/** `sabethes group create|add|rm|list`, as a user. */
import { asUser, type UserOptions } from './chat.ts'
import { columns, print, printable, type Terminal } from './terminal.ts'

export interface CreateOptions extends UserOptions { name?: string }

export async function create (terminal: Terminal, gid: string, members: string[], options: CreateOptions): Promise<void> {
  await asUser(terminal, options, async chat => {
    const result = await chat.request('groups.create', { gid, name: options.name ?? gid, members })
    print(terminal, options.json, result ?? {}, `created g/${gid}`)
  })
}

export async function change (terminal: Terminal, method: 'add' | 'remove', gid: string, users: string[], options: UserOptions): Promise<void> {
  await asUser(terminal, options, async chat => {
    const result = await chat.request(`groups.${method}`, { gid, users })
    print(terminal, options.json, result ?? {}, `${method === 'add' ? 'added to' : 'removed from'} g/${gid}: ${users.join(' ')}`)
  })
}

export async function list (terminal: Terminal, options: UserOptions): Promise<void> {
  await asUser(terminal, options, async chat => {
    const result = await chat.request('groups.list', {}) as { groups?: Array<{ gid?: string, name?: string, role?: string, members?: unknown }> } | undefined
    const rows = (result?.groups ?? []).map(({ gid = '?', role = '', name = '' }) => [gid, role, printable(name)])
    print(terminal, options.json, result, columns(rows))
  })
}
