/** The servers that there are: those of the cluster, or this one alone. */
import type { Config } from './config/schema.ts'
import type { Gateway } from './gateway/gateway.ts'
import type { NodesInfo } from './http/control-target.ts'
import type { Core } from './link/core.ts'
import { packageVersion } from './version.ts'

export interface NodesSetup {
  config: Pick<Config, 'cluster'>
  core: Pick<Core, 'cluster'>
  gateway: Pick<Gateway, 'sessions'>
  /** This process among those that share the store. */
  self: string | undefined
}

/** Asks for the servers that there are. */
export function serversOf ({ config: { cluster }, core, gateway, self = '' }: NodesSetup): () => Promise<NodesInfo> {
  const startedAt = Date.now()
  return async () => {
    const state = await core.cluster.state()
    if (state !== undefined) return { clustered: true, ...state }
    const { name, addresses, region, room } = cluster
    const connections = gateway.sessions.connected.size
    return { clustered: false, self, linked: false, servers: [{ id: self, name, version: packageVersion(), addresses, region, room, draining: false, connections, startedAt }] }
  }
}
