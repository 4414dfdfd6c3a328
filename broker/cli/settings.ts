/** Options that every verb has, and the configuration they lead to. */
import type { Command } from 'commander'
import type { ConfigFlags } from '../config/flag-source.ts'
import type { Loaded } from '../config/load.ts'
import type { Terminal } from './terminal.ts'

export interface CommonOptions extends ConfigFlags {
  config?: string
  json?: boolean
}

const collect = (value: string, before: string[] = []): string[] => [...before, value]

export function commonOptions (command: Command): Command {
  return command
    .option('--config <file>', 'configuration file (default: sabethes.yaml in this folder, if it is there)')
    .option('--data <folder>', 'data folder (store.path)')
    .option('--set <key=value>', 'set any key of the configuration; may be repeated', collect)
    .option('--json', 'machine-readable output on standard output')
}

export function portOptions (command: Command): Command {
  return command
    .option('--mqtt-port <port>', 'port for MQTT over TCP (mqtt.tcp.port)')
    .option('--http-port <port>', 'port for HTTP and WebSocket (http.port)')
}

/** Throws `ConfigError`. */
export async function settings (terminal: Terminal, options: CommonOptions): Promise<Loaded> {
  const { loadConfig } = await import('../config/load.ts')
  const { config: file, ...flags } = options
  return loadConfig({ ...(file === undefined ? {} : { file }), env: terminal.env, flags, folder: terminal.folder })
}
