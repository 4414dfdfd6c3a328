/** Everything behind the border: what the gateway, the ordinary broker and the operator's channel ask of the engine's side. */
import type { FeedReaders } from './feed.ts'
import type { Measure } from './measures.ts'
import type { Engine, Output } from './port.ts'

export interface RecordChange { key: string, value: Uint8Array | null }

/** The store's key-value space, for what is kept beside messages. */
export interface Records {
  get (key: string): Promise<Uint8Array | undefined>
  /** Rows with `from <= key < to`, in order. */
  range (from: string, to: string, limit?: number): AsyncIterable<[string, Uint8Array]>
  /** Changes a row, or removes it (`null`), while it holds `from`; false: it does not, and is as it was. */
  swap (key: string, from: Uint8Array, to: Uint8Array | null): Promise<boolean>
  /** On disk when `sync`. */
  write (changes: RecordChange[], sync: boolean): Promise<void>
}

/** The server processes that share the store; which one this is, `Engine.describe` says. */
export interface Nodes {
  /** Which of these are over for good: what they left may be taken up. Rejects when that cannot be told. */
  over (nodes: readonly string[]): Promise<string[]>
}

/** A server that works as one with others, as it says of itself. */
export interface ClusterServer {
  /** Of one start of one server. */
  id: string
  /** What operators call it. */
  name: string
  version: string
  /** Where clients reach it. */
  addresses: string[]
  region: string
  room: string
  /** It takes no new connections. */
  draining: boolean
  /** Sessions that are connected now. */
  connections: number
  /** Milliseconds since the epoch, by its own clock. */
  startedAt: number
  /** Milliseconds that its clock is behind Redis' one; absent until it was compared. */
  offsetMs?: number
  /** Of the view by which it owns conversations: servers that say the same agree on who owns what. Absent on a server that is alone. */
  view?: string
  /** Since when something may be unsaid or unheard between it and the others, milliseconds; about the time between two heartbeats when all is well. */
  lagMs?: number
  /** Of all conversations those that it owns by the view of the server that was asked, 0 to 1. */
  share?: number
}

/** The servers that there are. */
export interface ClusterState {
  /** Which of them this one is. */
  self: string
  /** Redis answered the last sign of life. When it does not, `servers` are those that were there when it did. */
  linked: boolean
  servers: ClusterServer[]
}

/** This server among others. */
export interface ClusterSide {
  /** Words for a user's sessions at the other servers (output `notice`). They may be lost, and nobody is told. Nothing without a cluster. */
  notice (user: string, payload: Uint8Array): void
  /** Undefined: it is alone. */
  state (): Promise<ClusterState | undefined>
  /** Says that this server is about to end: it takes no clients, and writes nothing that others could write. */
  drain (): Promise<void>
}

/** An account, as operators see it. */
export interface Account { uid: string, /** milliseconds since the epoch */ createdAt: number, banned: boolean, /** false: dev mode created it */ hasPassword: boolean }

/** Accounts. Each method rejects with `Refusal` for what an operator may see. */
export interface Accounts {
  add (uid: string, password: string | undefined): Promise<void>
  passwd (uid: string, password: string): Promise<void>
  list (page: { after?: string, limit: number }): Promise<Account[]>
  ban (uid: string, banned: boolean): Promise<void>
  remove (uid: string): Promise<void>
}

/** What plugins are running, as `sabethes plugin list` shows them. */
export interface RunningPluginInfo { name: string, description: string, enabled: boolean, timeoutMs: number, onFailure: 'refuse' | 'pass' }

export interface Core {
  readonly engine: Engine
  readonly records: Records
  readonly nodes: Nodes
  readonly accounts: Accounts
  readonly feed: FeedReaders
  readonly cluster: ClusterSide
  readonly plugins: RunningPluginInfo[]
  /** What the engine's side counts for those who run the server. */
  measures (): Promise<Measure[]>
  /** Rejects when the store does not take anything. */
  health (): Promise<void>
  /** Writes a copy of the store into the folder `path`; rows or bytes so far are told to `progress`. */
  backup (path: string, progress: (done: number, total: number | undefined) => void): Promise<void>
  /** Carries out a request of the table that is for the operator. Rejects with `Refusal`. */
  operate (name: string, params: Record<string, unknown>): Promise<unknown>
  /** Removes messages older than `retentionSeconds` (the configured retention without it); resolves to how many. */
  purge (retentionSeconds?: number): Promise<number>
  /** Commits what was submitted, writes what waits, closes the store. */
  close (): Promise<void>
}

export interface CoreEvents {
  /** Takes the ordered stream of outputs. Must not throw. */
  output: (outputs: Output[]) => void
  /** The store failed and cannot be opened again, or its thread has ended: the process has to end. */
  onLost: (error: Error) => void
}
