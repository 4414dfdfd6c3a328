/** `sabethes listen`: shows what arrives for a user, until Ctrl-C. */
import { Refusal } from '../errors.ts'
import { asUser, type UserOptions } from './chat.ts'
import { envelopeLine, type Envelope } from './envelope-line.ts'
import { CommandError, print, printable, say, type Terminal } from './terminal.ts'

export interface ListenOptions extends UserOptions {
  events?: boolean
  /** Stop after so many messages. */
  count?: string
  clientId?: string
}

export async function listen (terminal: Terminal, options: ListenOptions): Promise<void> {
  const count = options.count === undefined ? Infinity : Number(options.count)
  if (options.count !== undefined && !(Number.isSafeInteger(count) && count >= 1)) throw new CommandError('--count expects a number from 1', 2)
  let seen = 0
  let isDown = false
  let isDone = false
  let done: () => void = () => {}
  let fail: (error: Error) => void = () => {}
  const finished = new Promise<void>((resolve, reject) => {
    done = resolve
    fail = reject
  })
  const stop = (): void => {
    isDone = true
    done()
  }
  // It may fail before anybody waits for it.
  finished.catch(() => {})
  const onMessage = (topic: string, payload: string): boolean => {
    if (isDone) return false
    show(terminal, options.json, topic, payload)
    if (++seen >= count) stop()
    return true
  }
  const onConnection = (trouble: Error | undefined): void => {
    if (trouble instanceof Refusal) fail(trouble)
    else if ((trouble !== undefined) !== isDown) say(terminal, trouble === undefined ? 'connected again' : `${printable(trouble.message)}; trying again`)
    isDown = trouble !== undefined
  }
  terminal.signals.once('SIGINT', stop)
  terminal.signals.once('SIGTERM', stop)
  try {
    await asUser(terminal, options, async chat => {
      const { topics } = chat
      const { user } = options
      await chat.subscribe([topics.inbox(user), topics.notice(user), topics.group('+'), ...(options.events === true ? [topics.event(user)] : [])])
      say(terminal, `listening as ${user}; Ctrl-C ends it`)
      await finished
    }, { reconnect: true, onMessage, onConnection, ...(options.clientId === undefined ? {} : { clientId: options.clientId }) })
  } finally {
    terminal.signals.off('SIGINT', stop)
    terminal.signals.off('SIGTERM', stop)
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
  const envelope = value as Envelope | null
  const isMessage = typeof envelope === 'object' && envelope !== null && typeof envelope.conv === 'string' && 'from' in envelope && 'body' in envelope
  print(terminal, json, { topic, message: value }, isMessage ? envelopeLine(envelope) : `${topic}  ${printable(payload)}`)
}
