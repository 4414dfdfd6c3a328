/** `sabethes nodes`: the servers that work as one, as the server on this machine knows them. */
import type { NodesInfo } from '../http/control-target.ts'
import { settings, type CommonOptions } from './settings.ts'
import { duration } from './status.ts'
import { running } from './target.ts'
import { columns, print, printable, type Terminal } from './terminal.ts'

export async function nodes (terminal: Terminal, options: CommonOptions): Promise<void> {
  const { config } = await settings(terminal, options)
  const info = await (await running(terminal, config)).nodes()
  const said = info.clustered ? info.linked ? [] : ['Redis does not answer: these are the servers that were there when it last did'] : ['this server is alone: cluster.redis is not set']
  print(terminal, options.json, info, [...said, table(info)].join('\n'))
}

function table ({ clustered, self, servers }: NodesInfo): string {
  const now = Date.now()
  const rows = servers.map(({ id, name, version, region, room, connections, startedAt, offsetMs, draining, addresses, share, lagMs, view }) => [
    `${shown(name)}${clustered && id === self ? ' *' : ''}`,
    shown(version),
    shown(region),
    shown(room),
    String(connections),
    share === undefined ? '-' : `${Math.round(share * 100)} %`,
    lagMs === undefined ? '-' : `${lagMs} ms`,
    shown(view ?? ''),
    duration(Math.max(0, (now - startedAt) / 1000)),
    offsetMs === undefined ? '-' : `${offsetMs > 0 ? '+' : ''}${offsetMs} ms`,
    draining ? 'draining' : 'serving',
    shown(id),
    shown(addresses.join(' '))
  ])
  return columns([['name', 'version', 'region', 'room', 'sessions', 'owns', 'lag', 'view', 'up', 'clock', 'state', 'id', 'addresses'], ...rows.sort((a, b) => (a[0] ?? '') < (b[0] ?? '') ? -1 : 1)])
}

function shown (text: string): string { return text === '' ? '-' : printable(text) }
