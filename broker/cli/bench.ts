/** `sabethes bench`: what a running server does for a handful of ordinary MQTT clients. */
import { isId } from '../topics.ts'
import { measure, type Figures } from './bench-load.ts'
import { serverAddress } from './chat.ts'
import { clientPassword } from './password.ts'
import { settings, type CommonOptions } from './settings.ts'
import { columns, CommandError, print, printable, say, type Terminal } from './terminal.ts'

export interface BenchOptions extends CommonOptions {
  url?: string
  userPrefix: string
  passwordFile?: string
  pairs: string
  seconds: string
  /** Messages a second over all pairs; 0 = as fast as acknowledgements and deliveries come back. */
  rate: string
}

/** Above this share of a core the clients, which are all in this process, are the limit. */
const fullCpu = 0.85

function number (name: string, text: string, min: number, max: number): number {
  const value = Number(text)
  if (text.trim() === '' || !(value >= min && value <= max)) throw new CommandError(`--${name} expects a number from ${min} to ${max}`, 2)
  return value
}

/** Measures, prints. Resolves to the exit code: 1 when a message was lost or repeated, or refused for another reason than a rate limit. */
export async function bench (terminal: Terminal, options: BenchOptions): Promise<0 | 1> {
  const pairs = number('pairs', options.pairs, 1, 1000)
  if (!Number.isInteger(pairs)) throw new CommandError('--pairs expects a whole number', 2)
  const seconds = number('seconds', options.seconds, 0.1, 3600)
  const rate = number('rate', options.rate, 0, 100_000)
  const { userPrefix } = options
  if (!isId(`${userPrefix}s${pairs}`)) throw new CommandError('--user-prefix: a user id is 1 to 64 of A-Z a-z 0-9 . _ -', 2)
  const { url, prefix } = await serverAddress(terminal, await settings(terminal, options), options.url)
  const password = await clientPassword(terminal, options.passwordFile)
  say(terminal, `${pairs} pairs (${userPrefix}s1 to ${userPrefix}r1, …) for ${seconds} s at ${url}; the messages stay in the store`)
  const figures = await measure({ url, userPrefix, password, prefix, pairs, seconds, rate, signals: terminal.signals, now: terminal.now })
  const { lost, repeated, refused, refusal } = figures
  const isOnlyLimited = refused === 0 || refusal?.startsWith('rate_limited:') === true
  const ok = lost === 0 && repeated === 0 && isOnlyLimited
  print(terminal, options.json, { ok, url, pairs, rate, ...figures }, text(figures))
  if (refused > 0) say(terminal, `the server refused ${refused} messages: ${printable(refusal ?? '')}${isOnlyLimited ? '; that limit, not the server, set the rate (plugins.rate-limit)' : ''}`)
  if (figures.ownCpu >= fullCpu) say(terminal, `the clients took ${Math.round(figures.ownCpu * 100)} % of a core: the server can do more than this shows`)
  if (lost + repeated > 0) say(terminal, `WRONG: ${lost} acknowledged messages did not arrive, ${repeated} arrived twice or out of order`)
  return ok ? 0 : 1
}

function text ({ seconds, deliveriesPerSecond, sent, pubackMs, deliveryMs }: Figures): string {
  const row = (name: string, of: Figures['pubackMs']): string[] => [name, ...[of.p50, of.p99, of.max].map(ms => ms === null ? '-' : ms.toFixed(2))]
  return `${Math.round(deliveriesPerSecond)} messages/s delivered (${sent} sent, measured for ${seconds.toFixed(1)} s)\n` +
    columns([['ms', 'p50', 'p99', 'max'], row('PUBACK', pubackMs), row('delivery', deliveryMs)])
}
