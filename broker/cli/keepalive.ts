/** `sabethes keepalive`: what clients are advised, of the running server, or of its store when none runs. */
import { settings, type CommonOptions } from './settings.ts'
import { withTarget } from './target.ts'
import { columns, CommandError, print, type Terminal } from './terminal.ts'

const networks = ['wifi', 'cellular', 'nat'] as const

export interface KeepAliveCommandOptions extends CommonOptions { wifi?: string, cellular?: string, nat?: string, reset?: boolean }

export async function keepalive (terminal: Terminal, options: KeepAliveCommandOptions): Promise<void> {
  const params: Record<string, unknown> = { reset: options.reset === true }
  for (const network of networks) {
    const given = options[network]
    if (given === undefined) continue
    if (!/^\d{1,9}$/.test(given)) throw new CommandError(`--${network}: '${given}' is no number of seconds`, 2)
    params[network] = Number(given)
  }
  const { config } = await settings(terminal, options)
  const advice = await withTarget(terminal, config, target => target.operate('server.keepalive', params)) as Record<string, number>
  print(terminal, options.json, advice, columns(networks.map(network => [network, `${advice[network]} s`])))
}
