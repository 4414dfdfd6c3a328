/** `sabethes feed`: readers of what is committed, how far they are behind, and what they get. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { Refusal } from '../errors.ts'
import type { FeedReaderInfo, FeedReaders } from '../link/feed.ts'
import type { FeedEntry } from '../store/feed.ts'
import { envelopeLine, type Envelope } from './envelope-line.ts'
import { settings, type CommonOptions } from './settings.ts'
import { running } from './target.ts'
import { columns, CommandError, print, printable, say, type Terminal } from './terminal.ts'

export interface AddOptions extends CommonOptions { from?: string }
export interface LagOptions extends CommonOptions { max?: string }
export interface TailOptions extends CommonOptions { reader?: string, from?: string, count?: string }

/** Milliseconds that one request waits for the next entry. */
const waitMs = 10_000

async function open (terminal: Terminal, options: CommonOptions): Promise<FeedReaders> {
  const { config } = await settings(terminal, options)
  return (await running(terminal, config)).feed
}

export async function readers (terminal: Terminal, options: CommonOptions): Promise<void> {
  const found = await (await open(terminal, options)).readers()
  print(terminal, options.json, found, table(found))
}

function table (found: readonly FeedReaderInfo[]): string {
  if (found.length === 0) return 'the feed has no readers'
  return columns([
    ['reader', 'position', 'behind', 'since'],
    ...found.map(({ name, position, behind, since, temporary }) =>
      [`${printable(name)}${temporary === true ? ' (temporary)' : ''}`, String(position), String(behind), since === undefined ? '' : new Date(since).toISOString()])
  ])
}

/** Throws `CommandError` when a reader is behind by more than `--max`. */
export async function lag (terminal: Terminal, options: LagOptions): Promise<void> {
  const max = number('--max', options.max, 0) ?? 0
  const found = await (await open(terminal, options)).readers()
  const behind = found.reduce((most, reader) => Math.max(most, reader.behind), 0)
  print(terminal, options.json, { behind, readers: found.map(({ name, behind, since }) => ({ name, behind, ...(since === undefined ? {} : { since }) })) }, table(found))
  if (behind > max) throw new CommandError(`a reader of the feed is ${behind} entries behind`)
}

export async function add (terminal: Terminal, name: string, options: AddOptions): Promise<void> {
  const reader = await (await open(terminal, options)).register(name, { from: place(options.from), temporary: false })
  print(terminal, options.json, reader, `${printable(name)} reads behind position ${reader.position}`)
}

export async function remove (terminal: Terminal, name: string, options: CommonOptions): Promise<void> {
  await (await open(terminal, options)).remove(name)
  print(terminal, options.json, { ok: true, reader: name }, `removed ${printable(name)}`)
}

/** Until Ctrl-C, or `--count` entries. A named reader acknowledges what standard output took; without a name a reader is made for this time. */
export async function tail (terminal: Terminal, options: TailOptions): Promise<void> {
  const count = number('--count', options.count, 1) ?? Infinity
  const from = place(options.from)
  const feed = await open(terminal, options)
  const temporary = options.reader === undefined
  const name = options.reader ?? `tail-${randomBytes(6).toString('hex')}`
  const stopped = new AbortController()
  const stop = (): void => { stopped.abort() }
  terminal.signals.once('SIGINT', stop)
  terminal.signals.once('SIGTERM', stop)
  // Who reads the output may go away; the program ends then, where it is one.
  terminal.stdout.once('error', stop)
  try {
    const { position } = await feed.register(name, { from, temporary })
    say(terminal, `the feed as ${printable(name)}; Ctrl-C ends it`)
    await follow(terminal, { feed, name, position, count, stopped: stopped.signal, json: options.json === true })
  } catch (error) {
    if (error instanceof Refusal) throw error
    throw new CommandError(`the server does not answer any more: ${(error as Error).message}`, 1, { cause: error })
  } finally {
    terminal.signals.off('SIGINT', stop)
    terminal.signals.off('SIGTERM', stop)
    terminal.stdout.off('error', stop)
    // One that cannot be removed now, the server forgets by itself.
    if (temporary) await feed.remove(name).catch((error: unknown) => { if (!stopped.signal.aborted) say(terminal, printable((error as Error).message)) })
  }
}

interface Following { feed: FeedReaders, name: string, position: number, count: number, stopped: AbortSignal, json: boolean }

async function follow (terminal: Terminal, { feed, name, position, count, stopped, json }: Following): Promise<void> {
  let after = position
  let left = count
  while (left > 0 && !stopped.aborted) {
    const reading = feed.read(name, { after, waitMs })
    // It may fail when nobody waits for it any more.
    reading.catch(() => {})
    const entries = (await until(reading, stopped))?.slice(0, left)
    const last = entries?.at(-1)
    if (entries === undefined || last === undefined) continue
    const text = entries.map(entry => (json ? JSON.stringify(entry) : line(entry)) + '\n').join('')
    if (!terminal.stdout.write(text)) await until(once(terminal.stdout, 'drain'), stopped)
    if (stopped.aborted) return
    left -= entries.length
    after = last.position
    await feed.acknowledge(name, after)
  }
}

/** What comes first. Nothing of it outlives the answer: one promise of the end for all rounds would keep every answer. */
async function until<Value> (answer: Promise<Value>, stopped: AbortSignal): Promise<Value | undefined> {
  let end = (): void => {}
  const ended = new Promise<undefined>(resolve => { end = () => { resolve(undefined) } })
  stopped.addEventListener('abort', end)
  try {
    return await Promise.race([answer, ended])
  } finally {
    stopped.removeEventListener('abort', end)
  }
}

/** For people. */
function line (entry: FeedEntry): string {
  if (entry.kind === 'message') {
    const { conv, message } = entry
    return `${entry.position}  ${envelopeLine({ ...JSON.parse(`{${message.content}}`) as Envelope, to: conv, seq: message.seq })}`
  }
  const { position, count, reason, conv, seq } = entry
  return reason === 'purged'
    ? `${position}  ${printable(String(conv))} #${seq}${count > 1 ? ` to #${(seq ?? 0) + count - 1}` : ''}: purged before they were read`
    : `${position}  ${count} entries are missing: too old, or damaged`
}

function place (from = 'now'): 'now' | 'oldest' {
  if (from !== 'now' && from !== 'oldest') throw new CommandError('--from expects now or oldest', 2)
  return from
}

function number (flag: string, text: string | undefined, min: number): number | undefined {
  if (text === undefined) return undefined
  if (!/^\d+$/.test(text) || Number(text) < min || !Number.isSafeInteger(Number(text))) throw new CommandError(`${flag} expects a number from ${min}`, 2)
  return Number(text)
}
