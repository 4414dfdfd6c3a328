/** GET /v1/entry: where a client may connect, the best first. For everybody: it names addresses, and nobody's load. */
import { z } from 'zod'
import type { Config } from '../config/schema.ts'
import type { ClusterServer } from '../link/core.ts'
import type { Routes } from './app.ts'
import type { ListenAddress, NodesInfo } from './control-target.ts'

export interface Entrance {
  config: Pick<Config, 'cluster' | 'mqtt'>
  nodes (): Promise<NodesInfo>
  /** Where this server listens. */
  addresses: Promise<{ mqtt: ListenAddress, http: ListenAddress }>
}

export interface EntryDocument {
  servers: Array<{ region: string, addresses: string[] }>
  /** When none of `servers` answers. */
  fallback: string[]
  /** For so long the answer may serve, seconds. */
  maxAgeSeconds: number
}

const query = z.object({ region: z.string().max(64).optional() })
/** How old numbers of sessions may become, seconds. */
const maxAgeSeconds = 2
/** Servers of one answer: who reaches none of so many is not helped by more. */
const mostServers = 16
/** Servers whose sessions differ by less, or by less than this part, are loaded alike. */
const alikeSessions = 10
const alikePart = 0.1

export function entryRoutes ({ config: { cluster, mqtt }, nodes, addresses }: Entrance): Routes {
  return app => {
    app.get('/v1/entry', { schema: { querystring: query } }, async ({ query: { region }, headers: { host } }, reply): Promise<EntryDocument> => {
      const { servers } = await nodes()
      const named = inOrder(servers, region ?? cluster.region)
      const away = servers.every(({ draining }) => draining)
      const own = named.length > 0 || cluster.entry.length > 0 || away ? [] : [{ region: cluster.region, addresses: listened(await addresses, mqtt.ws.path, host) }]
      reply.header('cache-control', `public, max-age=${maxAgeSeconds}`)
      return { servers: [...named, ...own].slice(0, mostServers), fallback: cluster.entry, maxAgeSeconds }
    })
  }
}

/**
 * Those that take clients and say where: of the region first, then by sessions. Those that are loaded alike come in an order of chance (`random`,
 * from 0 to below 1): the clients that ask in one moment would all go to one server otherwise.
 */
export function inOrder (servers: readonly ClusterServer[], region: string, random: () => number = Math.random): EntryDocument['servers'] {
  const open = servers.filter(({ draining, addresses }) => !draining && addresses.length > 0)
  const least = Math.min(...open.map(({ connections }) => connections))
  const alike = least + Math.max(alikeSessions, alikePart * least)
  const ranked = open.map(server => ({
    server,
    far: server.region === region ? 0 : 1,
    load: server.connections <= alike ? 0 : server.connections,
    chance: random()
  }))
  ranked.sort((a, b) => a.far - b.far || a.load - b.load || a.chance - b.chance)
  return ranked.map(({ server: { region, addresses } }) => ({ region, addresses }))
}

/** Where this server listens, by the name that it is asked by when it listens everywhere. */
function listened ({ mqtt, http }: { mqtt: ListenAddress, http: ListenAddress }, path: string, asked: string | undefined): string[] {
  const name = asked?.replace(/:\d*$/, '')
  const hostOf = ({ host }: ListenAddress): string => (host === '0.0.0.0' || host === '[::]') && name !== undefined ? name : host
  return [`mqtt://${hostOf(mqtt)}:${mqtt.port}`, `ws://${hostOf(http)}:${http.port}${path}`]
}
