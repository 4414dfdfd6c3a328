/** Stores of several servers on one database, with the words between them in memory. Who sees whom is set by the test. */
import { pino } from 'pino'
import type { Test } from 'tap'
import { Link } from '../../broker/cluster/link.ts'
import { Ownership } from '../../broker/cluster/ownership.ts'
import type { Registry } from '../../broker/cluster/registry.ts'
import { ClusterStore } from '../../broker/cluster/store.ts'
import type { Untold } from '../../broker/cluster/store.ts'
import { View } from '../../broker/cluster/view.ts'
import type { NodeInfo } from '../../broker/cluster/view.ts'
import { openMongoStore } from '../../broker/store/mongodb/store.ts'
import type { MongoStoreOptions } from '../../broker/store/mongodb/store.ts'
import { MemoryNetwork } from './memory-transport.ts'

export function info (id: string): NodeInfo {
  return { id, name: id, version: '', addresses: [], region: '', room: '', draining: false, connections: 0, startedAt: 0 }
}

/** A view in which `owner` has everything. */
export class OwnedView extends View {
  readonly #owner: string
  constructor (ids: readonly string[], owner: string) {
    super(ids.map(info))
    this.#owner = owner
  }

  override ownerOf (): string { return this.#owner }
}

/** What a server sees, as the test says. */
export class FakeRegistry implements Pick<Registry, 'view' | 'isLinked' | 'onChange' | 'onBeat' | 'beat'> {
  view: View
  isLinked = true
  /** How often it was to look at once. */
  looks = 0
  readonly #changes: Array<(view: View, before: View) => void> = []
  readonly #beats: Array<() => void> = []

  constructor (view: View) { this.view = view }
  onChange (listener: (view: View, before: View) => void): void { this.#changes.push(listener) }
  onBeat (listener: () => void): void { this.#beats.push(listener) }

  async beat (): Promise<void> {
    this.looks++
    for (const listener of this.#beats) listener()
  }

  see (view: View): void {
    const before = this.view
    this.view = view
    for (const listener of this.#changes) listener(view, before)
  }
}

export interface MemoryNode {
  id: string
  store: ClusterStore
  registry: FakeRegistry
  link: Link
  ownership: Ownership
  untold: Untold[]
  /** What it said about servers that are missing: those that are not in here are over. */
  alive: Set<string>
  /** Its clock is ahead by so many milliseconds. */
  clock: { aheadMs: number }
  /** It ends without a word: nothing comes to it, or from it, any more. */
  die: () => void
}

export interface MemoryClusterOptions {
  network?: MemoryNetwork
  requestTimeoutMs?: number
  /** What the servers see at first. Default: each other. */
  view?: (ids: readonly string[]) => View
  store: (id: string) => MongoStoreOptions
}

export async function memoryCluster (t: Test, ids: readonly string[], options: MemoryClusterOptions): Promise<{ network: MemoryNetwork, nodes: MemoryNode[], beat: () => Promise<void> }> {
  const network = options.network ?? new MemoryNetwork()
  const nodes: MemoryNode[] = []
  // One after the other: FerretDB 1 fails when two make the same collections.
  for (const id of ids) nodes.push(await memoryNode(t, id, network, (options.view ?? (all => new View(all.map(info))))(ids), options))
  return { network, nodes, beat: async () => { await Promise.all(nodes.map(({ registry }) => registry.beat())) } }
}

export async function memoryNode (t: Test, id: string, network: MemoryNetwork, view: View, { requestTimeoutMs = 1_000, ...options }: MemoryClusterOptions): Promise<MemoryNode> {
  const log = pino({ level: process.env.SABETHES_TEST_LOG ?? 'silent' })
  const ownership = new Ownership()
  const inner = await openMongoStore({ ...options.store(id), owns: ownership.keeps })
  const registry = new FakeRegistry(view)
  const transport = network.transport(id)
  const link = new Link({ self: id, transport, registry, requestTimeoutMs, log })
  const alive = new Set<string>()
  ownership.start({ self: id, registry, over: async nodes => nodes.filter(node => !alive.has(node)), log })
  const untold: Untold[] = []
  const clock = { aheadMs: 0 }
  const store = new ClusterStore({ inner, link, ownership, requestTimeoutMs, log, steady: () => performance.now() + clock.aheadMs, onUntold: some => { untold.push(...some) } })
  const die = (): void => {
    transport.close()
    link.close()
  }
  t.teardown(async () => {
    link.close()
    await store.close()
    transport.close()
  })
  return { id, store, registry, link, ownership, untold, alive, clock, die }
}
