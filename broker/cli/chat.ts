/** Options of the verbs that speak MQTT as a user, and the connection they lead to. */
import type { Command } from 'commander'
import type { Loaded } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import { isId } from '../topics.ts'
import type { ChatClient, ChatOptions } from './mqtt-client.ts'
import { clientPassword } from './password.ts'
import { settings, type CommonOptions } from './settings.ts'
import { dataFolder } from './target.ts'
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
    .option('--url <url>', 'the server (default: the one that runs on the data folder, else the configured one, mqtt://127.0.0.1:1883)')
    .option('--password-file <file>', 'file with the password, - for standard input (or SABETHES_PASSWORD, SABETHES_PASSWORD_FILE)')
    .option('--timeout <seconds>', 'how long to wait for the server', '10')
}

/** Connects, runs `job`, disconnects. */
export async function asUser<T> (terminal: Terminal, options: UserOptions, job: (chat: ChatClient, config: Config) => Promise<T>, more: Partial<ChatOptions> = {}): Promise<T> {
  const loaded = await settings(terminal, options)
  const { config } = loaded
  const { url, prefix } = await serverAddress(terminal, loaded, options.url)
  if (!isId(options.user)) throw new CommandError('a user id is 1 to 64 of A-Z a-z 0-9 . _ -', 2)
  const timeoutMs = Number(options.timeout) * 1000
  if (!(timeoutMs > 0 && timeoutMs < 2 ** 31)) throw new CommandError('--timeout expects seconds', 2)
  const password = await clientPassword(terminal, options.passwordFile)
  const { ChatClient } = await import('./mqtt-client.ts')
  const chat = await ChatClient.connect({ url, user: options.user, password, prefix, timeoutMs, ...more })
  try {
    return await job(chat, config)
  } finally {
    await chat.close()
  }
}

/**
 * Which server a verb speaks to: `url`; an address of the command line; the running server of the data folder, wherever it
 * listens; or where the configured one would. `CommandError` for what is no MQTT URL.
 */
export async function serverAddress (terminal: Terminal, { config, origins }: Loaded, url: string | undefined): Promise<{ url: string, prefix: string }> {
  const { prefix, tcp } = config.mqtt
  if (url !== undefined) {
    checkUrl(url)
    return { url, prefix }
  }
  const folder = dataFolder(terminal, config)
  const isNamed = ['mqtt.tcp.host', 'mqtt.tcp.port'].some(key => origins.get(key)?.startsWith('--') === true)
  const { runningAddress } = await import('../http/address-file.ts')
  const running = isNamed ? undefined : await runningAddress(folder)
  if (running !== undefined) return { url: urlOf(running.mqtt), prefix: origins.get('mqtt.prefix')?.startsWith('--') === true ? prefix : running.prefix }
  if (tcp.port === 0) throw new CommandError('mqtt.tcp.port is 0, any free one, and no server runs on this data folder: name the server with --url', 2)
  return { url: urlOf(tcp), prefix }
}

/** Where to reach who listens on `host`: one that listens everywhere is on this machine. */
export function urlOf ({ host, port }: { host: string, port: number }): string {
  const name = new Map([['0.0.0.0', '127.0.0.1'], ['::', '::1']]).get(host) ?? host
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
