/** `sabethes send bob "text"`, `send g/dev "text"`; `-` sends standard input. */
import { randomUUID } from 'node:crypto'
import { asUser, receiver, type UserOptions } from './chat.ts'
import { readAll } from './password.ts'
import { CommandError, print, type Terminal } from './terminal.ts'

export interface SendOptions extends UserOptions { cid?: string, type: string }

const maxInputBytes = 16_777_216

export async function send (terminal: Terminal, to: string, text: string, options: SendOptions): Promise<void> {
  const target = receiver(to)
  if (text === '-' && options.passwordFile === '-') throw new CommandError('standard input cannot be the password and the text', 2)
  const given = text === '-' ? await readAll(terminal, maxInputBytes) : text
  if (given === '') throw new CommandError('there is no text to send', 2)
  const body = bodyOf(given, options.type)
  await asUser(terminal, options, async chat => {
    const receipt = await chat.send(target, { cid: options.cid ?? randomUUID(), type: options.type, body })
    print(terminal, options.json, { ok: true, to, ...receipt },
      receipt.seq === undefined ? `stored (cid ${receipt.cid})` : `stored as number ${receipt.seq}, id ${receipt.id ?? '?'}`)
  })
}

/**
 * Text stays text for the types `text` and `binary` (base64). `json` is any JSON. Of a type of one's own, an object or a list
 * is JSON and everything else text: `--type place '{"lat":1}'`, `--type note 42`.
 */
function bodyOf (given: string, type: string): unknown {
  if (type === 'text' || type === 'binary') return given
  try {
    const value = JSON.parse(given) as unknown
    return type === 'json' || (typeof value === 'object' && value !== null) ? value : given
  } catch (error) {
    if (type !== 'json') return given
    throw new CommandError(`--type json expects JSON: ${(error as Error).message}`, 2, { cause: error })
  }
}
