/** Packet ids of publishes at QoS 2 that clients have not released. */
import { bounds, incomingKey, splitKey } from './persistence-records.ts'
import type { BatchWriter, RecordChange, RecordsLike } from './persistence-records.ts'
import type { ClientLike } from './persistence-gates.ts'

export class IncomingIds {
  readonly #writer: BatchWriter
  readonly #kept = new Map<string, Set<number>>()
  /** Of sessions that end with their connection. */
  readonly #clean = new WeakMap<object, Set<number>>()

  constructor (writer: BatchWriter) { this.#writer = writer }

  async load (records: RecordsLike): Promise<void> {
    for await (const [key] of records.range(...bounds('i'))) {
      const { client, rest } = splitKey(key)
      this.#keptOf(client).add(Number(rest))
    }
  }

  /** Sessions with such ids. */
  clients (): IterableIterator<string> { return this.#kept.keys() }

  /** Ids of the session are kept. */
  keeps (client: string): boolean { return this.#kept.has(client) }

  has (client: ClientLike, packetId: number): boolean { return this.#of(client)?.has(packetId) === true }

  /** Notes an id; returns what keeps it on disk. */
  add (client: ClientLike, packetId: number): RecordChange[] {
    if (client.clean !== true) {
      this.#keptOf(client.id).add(packetId)
      return [{ key: incomingKey(client.id, packetId), value: new Uint8Array() }]
    }
    const ids = this.#clean.get(client)
    if (ids === undefined) this.#clean.set(client, new Set([packetId]))
    else ids.add(packetId)
    return []
  }

  /** It could not be written. */
  undo (client: ClientLike, packetId: number): void { this.#of(client)?.delete(packetId) }

  /** Resolves when the id is free, on disk too. One that is not in use is: of two PUBRELs that come together Aedes has both remove it. */
  async remove (client: ClientLike, packetId: number): Promise<void> {
    const ids = this.#of(client)
    if (ids === undefined || !ids.delete(packetId)) return
    if (client.clean === true) return
    if (ids.size === 0) this.#kept.delete(client.id)
    await this.#writer.write([{ key: incomingKey(client.id, packetId), value: null }])
  }

  /** The session ended; returns what removes its ids from the disk. */
  drop (client: ClientLike): RecordChange[] {
    const changes = [...this.#kept.get(client.id) ?? []].map(packetId => ({ key: incomingKey(client.id, packetId), value: null }))
    this.#kept.delete(client.id)
    this.#clean.delete(client)
    return changes
  }

  #keptOf (client: string): Set<number> {
    let ids = this.#kept.get(client)
    if (ids === undefined) this.#kept.set(client, ids = new Set())
    return ids
  }

  #of (client: ClientLike): Set<number> | undefined {
    return client.clean === true ? this.#clean.get(client) : this.#kept.get(client.id)
  }
}
