/** `sabethes contact …`, as a user. */
import { asUser, type UserOptions } from './chat.ts'
import { columns, print, printable, type Terminal } from './terminal.ts'

export interface RequestOptions extends UserOptions { text?: string }
export interface SetOptions extends UserOptions { remark?: string, groups?: string[] }
export interface ListOptions extends UserOptions { group?: string }

interface Contact { user: string, since: number, remark?: string, groups?: string[] }
interface Waiting { user: string, ts: number, text?: string }

const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10)

/** What is asked of one other user, and the state that is answered. */
export async function change (terminal: Terminal, method: 'request' | 'accept' | 'refuse' | 'remove', user: string, options: RequestOptions): Promise<void> {
  await asUser(terminal, options, async chat => {
    const result = await chat.request(`contacts.${method}`, { user, ...options.text !== undefined && { text: options.text } }) as { state: string }
    const said = { contact: `${user} is a contact`, asked: `asked ${user}` }
    print(terminal, options.json, result, said[result.state as keyof typeof said] ?? `${user} is no contact`)
  })
}

export async function set (terminal: Terminal, user: string, options: SetOptions): Promise<void> {
  const { remark, groups } = options
  await asUser(terminal, options, async chat => {
    const given = { ...remark !== undefined && { remark }, ...groups !== undefined && { groups: groups.filter(name => name !== '') } }
    const contact = await chat.request('contacts.set', { user, ...given }) as Contact
    print(terminal, options.json, contact, columns([row(contact)]))
  })
}

export async function list (terminal: Terminal, options: ListOptions): Promise<void> {
  const { group } = options
  await asUser(terminal, options, async chat => {
    const contacts: Contact[] = []
    let next: string | undefined
    do {
      const page = await chat.request('contacts.list', { limit: 500, ...group !== undefined && { group }, ...next !== undefined && { after: next } }) as { contacts: Contact[], next?: string }
      contacts.push(...page.contacts)
      next = page.next
    } while (next !== undefined)
    print(terminal, options.json, { contacts }, contacts.length === 0 ? 'no contacts' : columns(contacts.map(row)))
  })
}

function row ({ user, since, remark = '', groups = [] }: Contact): string[] { return [user, day(since), printable(remark), printable(groups.join(', '))] }

export async function requests (terminal: Terminal, options: UserOptions): Promise<void> {
  await asUser(terminal, options, async chat => {
    const open = await chat.request('contacts.requests', {}) as { received: Waiting[], sent: Waiting[] }
    const rows = [...open.received.map(one => ['from', one] as const), ...open.sent.map(one => ['to', one] as const)]
    print(terminal, options.json, open, rows.length === 0 ? 'no open requests' : columns(rows.map(([way, { user, ts, text = '' }]) => [way, user, day(ts), printable(text)])))
  })
}

export async function mode (terminal: Terminal, mode: string | undefined, options: UserOptions): Promise<void> {
  await asUser(terminal, options, async chat => {
    const result = await chat.request('contacts.mode', { ...mode !== undefined && { mode } }) as { mode: string }
    print(terminal, options.json, result, `messages and invitations: ${{ everybody: 'of everybody', contacts: 'of contacts', nobody: 'of contacts, and nobody may ask to be one' }[result.mode] ?? result.mode}`)
  })
}
