/** `sabethes status`: of the server on this machine (control channel), or of one elsewhere by its URL. */
import { settings, type CommonOptions } from './settings.ts'
import { running } from './target.ts'
import { columns, CommandError, print, printable, type Terminal } from './terminal.ts'

export interface StatusOptions extends CommonOptions { url?: string }

const timeoutMs = 10_000

export async function status (terminal: Terminal, options: StatusOptions): Promise<void> {
  if (options.url !== undefined) return await remote(terminal, options.url, options.json)
  const { config } = await settings(terminal, options)
  const state = await (await running(terminal, config)).status()
  const { addresses: { mqtt, http }, store: { driver, path, healthy, ...more } } = state
  print(terminal, options.json, state, columns([
    ['version', state.version],
    ['process', String(state.pid)],
    ['up', duration(state.uptimeSeconds)],
    ['mode', state.mode],
    ['mqtt', `${mqtt.host}:${mqtt.port}`],
    ['http', `${http.host}:${http.port}`],
    ['connections', String(state.connections)],
    ['retention', state.retentionSeconds === 0 ? 'messages are kept for ever' : `${state.retentionSeconds} s`],
    ['store', `${driver} ${path}, ${healthy ? 'healthy' : 'NOT HEALTHY'}`],
    ...Object.entries(more).map(([name, value]) => [`store ${name}`, String(value)])
  ]))
  if (!healthy) throw new CommandError('the store is not healthy: messages are not accepted')
}

async function remote (terminal: Terminal, base: string, json: boolean | undefined): Promise<void> {
  if (!URL.canParse(base) || !/^https?:$/.test(new URL(base).protocol)) throw new CommandError('--url expects http://host:port', 2)
  const url = new URL('/readyz', base)
  let response: Response
  try {
    response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs), redirect: 'error' })
  } catch (error) {
    const { cause } = error as Error
    throw new CommandError(`no answer from ${url.host}: ${cause instanceof Error ? cause.message : (error as Error).message}`)
  }
  const text = (await response.text()).slice(0, 4096)
  print(terminal, json, { ready: response.ok, status: response.status, url: url.href }, response.ok ? `${url.host} is ready` : undefined)
  if (!response.ok) throw new CommandError(`${url.host} is not ready: ${response.status} ${printable(text)}`)
}

/** Seconds as days and a clock. */
export function duration (seconds: number): string {
  const days = Math.floor(seconds / 86_400)
  const clock = new Date(Math.floor(seconds % 86_400) * 1000).toISOString().slice(11, 19)
  return days > 0 ? `${days} d ${clock}` : clock
}
