/** Options of the verbs that speak MQTT as a user, and the connection they lead to. */
import type { Command } from 'commander'
import { isLoopback } from '../config/cross-checks.ts'
import type { Config } from '../config/schema.ts'
import { isId } from '../topics.ts'
import type { ChatClient, ChatOptions } from './mqtt-client.ts'
import { clientPassword } from './password.ts'
import { settings, type CommonOptions } from './settings.ts'
import { CommandError, type Terminal } from './terminal.ts'

export interface UserOptions extends CommonOptions {
  user: string
  url?: string
  passwordFile?: string
  /** Seconds. */
  timeout: string
}

export function userOptions (command: Command): Command {
  return command
    .requiredOption('-u, --user <name>', 'the user to act as')
    .option('--url <url>', 'the server (default: the one of the configuration, mqtt://127.0.0.1:1883)')
    .option('--password-file <file>', 'file with the password, - for standard input (or SABETHES_PASSWORD, SABETHES_PASSWORD_FILE)')
    .option('--timeout <seconds>', 'how long to wait for the server', '10')
}

/** Connects, runs `job`, disconnects. */
export async function asUser<T> (terminal: Terminal, options: UserOptions, job: (chat: ChatClient, config: Config) => Promise<T>, more: Partial<ChatOptions> = {}): Promise<T> {
  const { config } = await settings(terminal, options)
  const url = serverUrl(config, options.url)
  if (!isId(options.user)) throw new CommandError('a user id is 1 to 64 of A-Z a-z 0-9 . _ -', 2)
  const timeoutMs = Number(options.timeout) * 1000
  if (!(timeoutMs > 0 && timeoutMs < 2 ** 31)) throw new CommandError('--timeout expects seconds', 2)
  const password = await clientPassword(terminal, options.passwordFile)
  const { ChatClient } = await import('./mqtt-client.ts')
  const chat = await ChatClient.connect({ url, user: options.user, password, prefix: config.mqtt.prefix, timeoutMs, ...more })
  try {
    return await job(chat, config)
  } finally {
    await chat.close()
  }
}

/** `url`, or where the configured server listens; `CommandError` when it is no MQTT URL. */
export function serverUrl (config: Config, url: string = urlOf(config)): string {
  checkUrl(url)
  return url
}

function urlOf ({ mqtt: { tcp: { host, port } } }: Config): string {
  if (port === 0) throw new CommandError('mqtt.tcp.port is 0, any free one: name the server with --url', 2)
  const name = host === '0.0.0.0' || host === '::' || isLoopback(host) ? '127.0.0.1' : host
  return `mqtt://${name.includes(':') ? `[${name}]` : name}:${port}`
}

function checkUrl (url: string): void {
  if (!URL.canParse(url) || !['mqtt:', 'mqtts:', 'ws:', 'wss:'].includes(new URL(url).protocol)) {
    throw new CommandError(`--url expects mqtt://host:port (or mqtts, ws, wss), not '${url}'`, 2)
  }
  const { username, password } = new URL(url)
  if (username !== '' || password !== '') throw new CommandError('--url takes no user or password: other users of this machine could read it; use --user and --password-file', 2)
}

/** `bob`, `u/bob` or `g/dev`. */
export function receiver (text: string): { kind: 'user' | 'group', id: string } {
  const match = /^(?:(u|g)\/)?([^/]+)$/.exec(text)
  if (match === null || !isId(match[2] as string)) throw new CommandError(`'${text}' is no user (bob) and no group (g/dev)`, 2)
  return { kind: match[1] === 'g' ? 'group' : 'user', id: match[2] as string }
}
