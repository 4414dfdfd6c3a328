/** What the control channel offers: the server implements it, the command line uses it, over the socket or offline. */
import type { ClusterState } from '../link/core.ts'
import type { FeedReaders } from '../link/feed.ts'
import type { AuthMode } from '../operations/rules.ts'

/** Progress of a long job: rows or bytes so far. */
export type ControlProgress = (done: number, total: number | undefined) => void

export interface AccountInfo {
  uid: string
  /** Milliseconds since the epoch. */
  createdAt: number
  banned: boolean
  /** False for accounts that dev mode created. */
  hasPassword: boolean
}

export interface ServerStatus {
  version: string
  pid: number
  uptimeSeconds: number
  mode: AuthMode
  /** Open MQTT connections. */
  connections: number
  /** What the retention purge goes by (`messages.retentionSeconds`); 0 = messages are kept for ever. */
  retentionSeconds: number
  addresses: { mqtt: ListenAddress, http: ListenAddress }
  /** `path` is absolute; more members are shown as they are. */
  store: { driver: string, path: string, healthy: boolean, [more: string]: string | number | boolean }
}

export interface ListenAddress { host: string, port: number }

export interface PluginInfo {
  /** Of a module that is not loaded: as the configuration names it. */
  name: string
  description: string
  enabled: boolean
  /** What its `onPublish` is held to. */
  timeoutMs: number
  onFailure: 'refuse' | 'pass'
  /** False: a module whose code was not run, so that what it says of itself, and its place, are not known. */
  loaded?: false
}

/** The servers that work as one. */
export interface NodesInfo extends ClusterState {
  /** False: this server is alone, and the only one. */
  clustered: boolean
}

/** Every method rejects with `Refusal` for what the operator may see. */
export interface ControlTarget {
  readonly users: {
    /** `conflict` when it exists, `bad_payload` for a bad id or a password that is missing in password mode. */
    add (uid: string, password: string | undefined): Promise<void>
    /** Sets a new password and ends the user's connections; `not_found`. */
    passwd (uid: string, password: string): Promise<void>
    /** By id, ascending. */
    list (page: { after?: string, limit: number }): Promise<AccountInfo[]>
    /** A banned user is disconnected and kept out; `not_found`. */
    ban (uid: string, banned: boolean): Promise<void>
    /** Removes the account; its messages stay. `not_found`. */
    remove (uid: string): Promise<void>
  }
  readonly feed: FeedReaders
  status (): Promise<ServerStatus>
  /** `unavailable` when no server runs. */
  nodes (): Promise<NodesInfo>
  /** Sends the clients to other servers, and ends the server then. `conflict` when nobody could take them. */
  drain (progress: ControlProgress): Promise<void>
  /** Writes a copy of the store into `path` (absolute, outside the data folder; absent or empty, otherwise `conflict`). */
  backup (path: string, progress: ControlProgress): Promise<void>
  /** Carries out a request of the table of operations that is for the operator. */
  operate (name: string, params: Record<string, unknown>): Promise<unknown>
  /** Removes messages older than `retentionSeconds` now (default: the server's own; 0 removes none); resolves to how many, and by which retention. */
  purge (retentionSeconds?: number): Promise<{ messages: number, retentionSeconds: number }>
  /** In the order in which they run; disabled ones last. */
  plugins (): Promise<PluginInfo[]>
}
