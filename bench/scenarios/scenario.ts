/** What a scenario is given and what it answers. */
import type { BodyKind } from '../body.ts'
import type { Usage } from '../meter.ts'
import type { Peer, RunningPeer } from '../peers/peer.ts'

export interface Settings {
  /** Cores of the broker, as taskset takes them. */
  brokerCpus: string | undefined
  /** The broker's core, where it has one of its own: what else runs there is measured. */
  brokerCpu: number | undefined
  generatorCpu: number | undefined
  /** Cores of the broker's database, as taskset takes them. */
  databaseCpus: string | undefined
  rounds: number
  seconds: number
  warmUpSeconds: number
  pairs: number
  /** Unacknowledged messages a publisher may have. */
  window: number
  /** Windows of `overload`, one after the other. */
  windows: readonly number[]
  payloadBytes: number
  /** Whether pairs speak MQTT over WebSocket. */
  websocket: boolean
  /** Whether pairs speak MQTT over TLS. */
  tls: boolean
  body: BodyKind
  /** Messages a second of `paced`, over all pairs. */
  rate: number
  /** The same of `mongodb`. */
  mongodbRate: number
  /** The same of `cluster`, one after the other. */
  clusterRates: readonly number[]
  /** The same of `cluster-group`. */
  clusterGroupRate: number
  /** Whether the generator sleeps between two messages of a schedule, where it shares its core with what is measured. */
  sleeps: boolean
  /** Members of the group of `fanout`. */
  members: number
  /** Members of the group of `group-10000`, and how many of them are online. */
  largeMembers: number
  online: number
  /** Clients of `reconnect`. */
  clients: number
  /** Clients of `storm`. */
  storm: number
  /** Conversations of the user of `conversation-list`. */
  conversations: number
  /** Messages in the store of `stored` before it begins. */
  stored: number
  /** Groups of `many-groups`. */
  groups: number
  /** Connections of `idle`. */
  connections: number
  /** Messages that the sessions of `behind`, and the one of `offline-queue`, have not read. */
  depth: number
  /** Retained messages of `retained`. */
  retained: number
  /** Messages that wait for each user of `backlog`. */
  waiting: number
  /** Sessions of `behind` and users of `backlog`. */
  readers: number
  /** Attacks of `hostile`, by name; all when it is not given. */
  attacks: readonly string[] | undefined
  attackSeconds: number
  /** Seconds between two attacks. */
  recoverySeconds: number
}

/** One measurement of one peer. */
export interface Round {
  metrics: Record<string, number>
  usage?: Usage
  /** Why the round is void: a bench of wrong results measures nothing. */
  fault?: string
  /** Why the generator, not the broker, may have set the figures. */
  limit?: string
}

export interface Scenario {
  readonly name: string
  /** One line; told the settings in force. */
  describe (settings: Settings): string
  /** The metric that peers are compared by. */
  readonly headline: string
  readonly better: 'higher' | 'lower'
  /** The peer that ratios are of; `mosquitto` by default. */
  readonly reference?: string
  /** Peers that only this scenario has. They run after the chosen ones. */
  readonly extra?: readonly Peer[]
  /** Peers that cannot do it, and why. */
  readonly without?: Readonly<Record<string, string>>
  run (peer: Peer, running: RunningPeer, settings: Settings): Promise<Round>
}

/** `without` of what no broker has that only passes on. */
export function withoutPlain (why: string): Record<string, string> {
  return Object.fromEntries(['mosquitto', 'aedes', 'nats', 'nats-lazy', 'mochi'].map(name => [name, why]))
}

/** `make(0)` to `make(count - 1)`, at most `atOnce` at a time; rejects with the first error. */
export async function openMany<T> (count: number, make: (index: number) => Promise<T>, atOnce = 100): Promise<T[]> {
  const made: T[] = new Array(count)
  let next = 0
  const worker = async () => {
    while (next < count) {
      const index = next++
      made[index] = await make(index)
    }
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, worker))
  return made
}

/** Waits until `done()`, looking every 5 ms; false when `timeoutMs` passed first. What `progress` shows starts the time anew when it moves. */
export async function until (done: () => boolean, timeoutMs: number, progress?: () => number): Promise<boolean> {
  let end = performance.now() + timeoutMs
  let last = progress?.()
  while (!done()) {
    if (performance.now() > end) return false
    await new Promise(resolve => setTimeout(resolve, 5))
    const now = progress?.()
    if (now !== last) {
      last = now
      end = performance.now() + timeoutMs
    }
  }
  return true
}

const full = 0.95

/** Whether the generator's core was full, with its own work or with that of others. */
export function generatorLimit ({ generatorCpu, foreignGeneratorCpu, brokerCpu, foreignCpu }: Usage): string | undefined {
  if (generatorCpu + foreignGeneratorCpu < full) return undefined
  const percent = (share: number) => `${Math.round(share * 100)} %`
  const others = foreignGeneratorCpu >= 0.05 ? ` and other programs ${percent(foreignGeneratorCpu)}` : ''
  const too = brokerCpu + foreignCpu >= full ? ', whose core was full too' : ''
  return `the generator used ${percent(generatorCpu)} of its core${others}; the broker ${percent(brokerCpu)}${too}`
}

/** A round with its optional parts left out when there are none. */
export function round (metrics: Record<string, number>, usage?: Usage, fault?: string, limit?: string): Round {
  const shares = usage === undefined ? {} : { system_share: usage.systemShare, first_thread_share: usage.firstThreadShare }
  return {
    metrics: { ...metrics, ...shares },
    ...(usage !== undefined && { usage }),
    ...(fault !== undefined && { fault }),
    ...(limit !== undefined && { limit })
  }
}
