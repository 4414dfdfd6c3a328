/** Which servers there are, and which of them writes what. Pure: the same view gives the same answers at each server. */
import type { ClusterServer } from '../link/core.ts'

/** A server process, as it says of itself in the registry. `id`: `Nodes.self` of the store; one that drains owns nothing. */
export type NodeInfo = ClusterServer

/** Conversations of a sample: a share is right to about a hundredth. */
const sampled = 4096

export class View {
  /** Live servers, by id. */
  readonly nodes: ReadonlyMap<string, NodeInfo>
  /** Those that may own something, ascending; all when every one drains. */
  readonly #owners: readonly string[]
  /** The hash of each, with which that of a log begins. */
  readonly #seeds: readonly number[]
  #shares: ReadonlyMap<string, number> | undefined
  /** Tells views apart: the ids of those that own, in one text. */
  readonly epoch: string

  constructor (nodes: Iterable<NodeInfo>) {
    const sorted = [...nodes].sort((a, b) => a.id < b.id ? -1 : 1)
    this.nodes = new Map(sorted.map(node => [node.id, node]))
    const staying = sorted.filter(node => !node.draining)
    this.#owners = (staying.length > 0 ? staying : sorted).map(({ id }) => id)
    this.#seeds = this.#owners.map(id => hashOf(id, 0x811c9dc5))
    this.epoch = this.#owners.join(' ')
  }

  /** Short, for people. */
  get name (): string { return hashOf(this.epoch, 0x811c9dc5).toString(16).padStart(8, '0') }

  /** Which part of all conversations each server owns, 0 to 1; by a sample. */
  get shares (): ReadonlyMap<string, number> {
    if (this.#shares !== undefined) return this.#shares
    const shares = new Map([...this.nodes.keys()].map(id => [id, 0] as [string, number]))
    for (let i = 0; i < sampled; i++) {
      const owner = this.ownerOf(`g:${i}`)
      if (owner !== undefined) shares.set(owner, (shares.get(owner) ?? 0) + 1 / sampled)
    }
    this.#shares = shares
    return shares
  }

  /** The server that writes a log (`d:…`, `g:…`, `e:{user}`): of a server that comes or goes only its share moves (rendezvous hashing). */
  ownerOf (log: string): string | undefined {
    const owners = this.#owners
    if (owners.length < 2) return owners[0]
    let best: string | undefined
    let most = -1
    for (let i = 0; i < owners.length; i++) {
      const weight = mixed(hashOf(log, this.#seeds[i] as number))
      if (weight > most) {
        most = weight
        best = owners[i]
      }
    }
    return best
  }
}

/** FNV-1a over UTF-16 units: ids are ASCII. */
function hashOf (text: string, seed: number): number {
  let hash = seed
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

/** The finalizer of MurmurHash3: each bit of the hash moves each bit of the weight. */
function mixed (hash: number): number {
  let h = hash
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
