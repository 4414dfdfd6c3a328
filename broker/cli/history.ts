/** `sabethes history bob`, `history g/dev`: messages of a conversation, oldest first. */
import { asUser, receiver, type UserOptions } from './chat.ts'
import { envelopeLine } from './envelope-line.ts'
import { CommandError, print, type Terminal } from './terminal.ts'

export interface HistoryOptions extends UserOptions { before?: string, after?: string, limit?: string }

export async function history (terminal: Terminal, conversation: string, options: HistoryOptions): Promise<void> {
  const params = { ...conversationOf(conversation), ...number('before', options), ...number('after', options), ...number('limit', options) }
  await asUser(terminal, options, async chat => {
    const result = await chat.request('messages.history', params) as { messages?: object[] } | undefined
    const messages = result?.messages ?? []
    print(terminal, options.json, result, messages.map(envelopeLine).join('\n'))
  })
}

/** `d:alice:bob` and `g:dev` are conversation ids; `bob` and `g/dev` name the other side. */
function conversationOf (text: string): Record<string, string> {
  if (/^[dg]:/.test(text)) return { conv: text }
  const { kind, id } = receiver(text)
  return kind === 'group' ? { group: id } : { with: id }
}

function number (name: 'before' | 'after' | 'limit', options: HistoryOptions): Record<string, number> {
  const text = options[name]
  if (text === undefined) return {}
  if (!/^\d+$/.test(text)) throw new CommandError(`--${name} expects a number`, 2)
  return { [name]: Number(text) }
}
