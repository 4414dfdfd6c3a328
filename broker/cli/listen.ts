/** `sabethes listen`: shows what arrives for a user, until Ctrl-C. */
import { asUser, type UserOptions } from './chat.ts'
import { envelopeLine } from './envelope-line.ts'
import { CommandError, print, printable, say, type Terminal } from './terminal.ts'

export interface ListenOptions extends UserOptions {
  events?: boolean
  /** Stop after so many messages. */
  count?: string
  clientId?: string
}

export async function listen (terminal: Terminal, options: ListenOptions): Promise<void> {
  const count = options.count === undefined ? Infinity : Number(options.count)
  if (!(count >= 1) || (count !== Infinity && !Number.isInteger(count))) throw new CommandError('--count expects a number from 1', 2)
  let seen = 0
  let done: () => void = () => {}
  const finished = new Promise<void>(resolve => { done = resolve })
  const onMessage = (topic: string, payload: string): void => {
    if (seen >= count) return
    show(terminal, options.json, topic, payload)
    if (++seen >= count) done()
  }
  const onConnection = (trouble: string | undefined): void => { say(terminal, trouble === undefined ? 'connected again' : printable(trouble)) }
  terminal.signals.once('SIGINT', done)
  terminal.signals.once('SIGTERM', done)
  try {
    await asUser(terminal, options, async chat => {
      const { topics } = chat
      const { user } = options
      await chat.subscribe([topics.inbox(user), topics.notice(user), topics.group('+'), ...(options.events === true ? [topics.event(user)] : [])])
      say(terminal, `listening as ${user}; Ctrl-C ends it`)
      await finished
    }, { reconnect: true, onMessage, onConnection, ...(options.clientId === undefined ? {} : { clientId: options.clientId }) })
  } finally {
    terminal.signals.off('SIGINT', done)
    terminal.signals.off('SIGTERM', done)
  }
}

function show (terminal: Terminal, json: boolean | undefined, topic: string, payload: string): void {
  let value: unknown
  try {
    value = JSON.parse(payload)
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    value = payload
  }
  const envelope = value as { conv?: string } | null
  const isMessage = typeof envelope === 'object' && envelope !== null && typeof envelope.conv === 'string' && 'from' in envelope && 'body' in envelope
  print(terminal, json, { topic, message: value }, isMessage ? envelopeLine(envelope) : `${topic}  ${printable(payload)}`)
}
