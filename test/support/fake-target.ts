/** A `ControlTarget` in memory. */
import { Refusal } from '../../broker/errors.ts'
import type { AccountInfo, ControlTarget } from '../../broker/http/control-target.ts'
import { fakeFeed } from './fake-feed.ts'
import type { FakeFeed } from './fake-feed.ts'

export interface FakeTarget extends ControlTarget {
  readonly accounts: Map<string, AccountInfo & { password?: string }>
  readonly backups: string[]
  readonly feed: FakeFeed
  /** What was asked of the operations. */
  readonly operated: Array<[name: string, params: Record<string, unknown>]>
  closed: number
  close (): Promise<void>
}

export function fakeTarget (): FakeTarget {
  const accounts: FakeTarget['accounts'] = new Map()
  const backups: string[] = []
  const operated: FakeTarget['operated'] = []
  const need = (uid: string): AccountInfo & { password?: string } => {
    const found = accounts.get(uid)
    if (found === undefined) throw new Refusal('not_found', `there is no user ${uid}`)
    return found
  }
  return {
    accounts,
    backups,
    feed: fakeFeed(),
    operated,
    closed: 0,
    users: {
      add: async (uid, password) => {
        if (accounts.has(uid)) throw new Refusal('conflict', `${uid} exists already`)
        accounts.set(uid, { uid, createdAt: 0, banned: false, hasPassword: password !== undefined, ...(password === undefined ? {} : { password }) })
      },
      passwd: async (uid, password) => { need(uid).password = password },
      list: async ({ after = '', limit }) => [...accounts.values()].filter(({ uid }) => uid > after)
        .sort((a, b) => a.uid < b.uid ? -1 : 1).slice(0, limit).map(({ password, ...info }) => info),
      ban: async (uid, banned) => { need(uid).banned = banned },
      remove: async uid => {
        need(uid)
        accounts.delete(uid)
      }
    },
    status: async () => ({
      version: '1.2.3',
      pid: 7,
      uptimeSeconds: 90_061,
      mode: 'dev',
      connections: 3,
      retentionSeconds: 0,
      addresses: { mqtt: { host: '127.0.0.1', port: 1883 }, http: { host: '127.0.0.1', port: 8080 } },
      store: { driver: 'level', path: '/data', healthy: true, bytes: 12 }
    }),
    nodes: async () => ({
      clustered: false,
      self: 'a1',
      linked: true,
      servers: [{ id: 'a1', name: 'one', version: '1.2.3', addresses: [], region: '', room: '', draining: false, connections: 3, startedAt: Date.now() - 90_061_000 }]
    }),
    drain: async progress => { progress(3, 3) },
    backup: async (path, progress) => {
      if (path.endsWith('full')) throw new Refusal('conflict', `${path} is not empty`)
      progress(1, 2)
      if (path.endsWith('late')) throw new Error('the disk broke')
      progress(2, 2)
      backups.push(path)
    },
    operate: async (name, params) => {
      if (name !== 'server.keepalive') throw new Refusal('not_found', `no such request for the operator: '${name}'`)
      operated.push([name, params])
      return { wifi: 60, cellular: 230, nat: 55 }
    },
    purge: async (retentionSeconds = 0) => ({ messages: retentionSeconds === 0 ? 0 : 4, retentionSeconds }),
    plugins: async () => [{ name: 'rate-limit', description: 'limits', enabled: true, timeoutMs: 10, onFailure: 'pass' }],
    async close () { this.closed++ }
  }
}
