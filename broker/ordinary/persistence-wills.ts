/** The wills of connected clients, and of those that an earlier run of the server had. */
import { bounds, splitKey, willKey } from './persistence-records.ts'
import type { BatchWriter, RecordsLike } from './persistence-records.ts'
import { bodyOf, decode, encode } from './persistence-packets.ts'
import type { PacketLike } from './persistence-packets.ts'

type Will = PacketLike & { brokerId: string, clientId: string }

export class StoredWills {
  readonly #writer: BatchWriter
  readonly #wills = new Map<string, Will>()

  constructor (writer: BatchWriter) { this.#writer = writer }

  async load (records: RecordsLike): Promise<void> {
    for await (const [key, value] of records.range(...bounds('w'))) {
      const { body, extra } = decode(value)
      this.#wills.set(splitKey(key).client, { ...body, ...extra as { brokerId: string, clientId: string } })
    }
  }

  get (client: string): PacketLike | undefined { return this.#wills.get(client) }

  /** Resolves when it is on disk. */
  async put (client: string, packet: PacketLike, brokerId: string): Promise<void> {
    const will: Will = Object.assign(packet, { brokerId, clientId: client })
    this.#wills.set(client, will)
    await this.#writer.write([{ key: willKey(client), value: encode(bodyOf(will), { brokerId, clientId: client }) }])
  }

  /** Forgets the client's will (only this one, if one is given), and returns it. */
  take (client: string, only?: PacketLike): PacketLike | undefined {
    const will = this.#wills.get(client)
    if (will === undefined || (only !== undefined && will !== only)) return undefined
    this.#wills.delete(client)
    this.#writer.later([{ key: willKey(client), value: null }])
    return will
  }

  /** Those that no broker in `brokers` has. */
  ofOthers (brokers: Readonly<Record<string, unknown>>): PacketLike[] {
    return [...this.#wills.values()].filter(will => brokers[will.brokerId] === undefined)
  }
}
