/** What a scenario needs to know of a broker. */
import type { Commands } from '../../test/support/mongodb-commands.ts'
import type { Protocol } from '../wire.ts'
import type { BrokerProcess } from './process.ts'

export interface StartOptions {
  /** The core the broker is bound to, or a list of cores as taskset takes it; `undefined` leaves it free. */
  cpu: string | undefined
  /** The cores of the broker's database, for the peer that has one; a list as taskset takes it. */
  databaseCpus: string | undefined
  /** Messages that are in the store at the start, for the peer that begins with a full one. */
  stored: number
}

/** The database that a broker keeps its store in. */
export interface RunningDatabase {
  /** `undefined` when it is not the bench's own. */
  readonly process: BrokerProcess | undefined
  /** Commands that it has answered so far. */
  commands (): Promise<Commands>
  /** Messages that it holds. */
  messages (): Promise<number>
}

/** Servers that work as one. */
export interface RunningCluster {
  /** Of each for MQTT; the first one is the peer's. */
  readonly ports: readonly number[]
  readonly servers: readonly BrokerProcess[]
  readonly redis: BrokerProcess
  /** Commands of Redis that were called so far. */
  commands (): Promise<Map<string, number>>
}

export interface RunningPeer {
  readonly port: number
  /** MQTT over WebSocket, at `/mqtt`. */
  readonly wsPort: number
  /** MQTT over TLS, for the peer that is made for it. */
  readonly tlsPort?: number
  readonly process: BrokerProcess
  /** From the command to the first connection taken, milliseconds. */
  readonly startMs: number
  readonly database?: RunningDatabase
  readonly cluster?: RunningCluster
  /** Ends the broker and starts it again on its data; resolves to the milliseconds until it listens. For the peers that keep something. */
  restart? (): Promise<number>
  /** Ends the broker and removes its data. */
  stop (): Promise<void>
}

/** A broker, and how its topics carry a message to a user and to a group. */
export interface Peer {
  readonly name: string
  /** Whether an acknowledged message is on disk. */
  readonly durable: boolean
  /** What `pairs`, `fanout` and what is made like them speak with it; 3.1.1 when it is not given. */
  readonly protocol?: Protocol
  /** What marks a message that the server wrote on its own account into a conversation. */
  readonly systemMark?: string
  /** Why this peer cannot run here; `undefined` when it can. */
  missing (): string | undefined
  /** Makes once what `start` needs, where that takes time; answers why it cannot. */
  prepare?(): Promise<string | undefined>
  start (options: StartOptions): Promise<RunningPeer>
  /** Where a message to `user` is published. */
  toUser (user: string): string
  /** What `user` subscribes to for messages. */
  inbox (user: string): string
  /** What `user` subscribes to beside that. */
  beside?(user: string): string[]
  /** Where a message to the group is published. */
  toGroup (gid: string): string
  /** The filters of a member of `gids`. */
  groups (gids: readonly string[]): string[]
  /** Makes the groups; `owner` is the first member of each and sends. Nothing to do for a plain broker. */
  createGroups (port: number, owner: string, groups: ReadonlyMap<string, readonly string[]>): Promise<void>
}

/** Topics of a broker that only passes on: publisher and subscriber use the same ones, as long as Sabethes' own. */
export const plainTopics = {
  toUser: (user: string) => `im/to/u/${user}`,
  inbox: (user: string) => `im/to/u/${user}`,
  toGroup: (gid: string) => `im/to/g/${gid}`,
  groups: (gids: readonly string[]) => gids.map(gid => `im/to/g/${gid}`),
  createGroups: async () => {}
} satisfies Partial<Peer>
