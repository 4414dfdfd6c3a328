import type { PacketLike } from './persistence-packets.ts'
import { isShared } from './shared-filter.ts'

/** Which packets the queues of groups of shared subscriptions took, as long as the packets are on their way: live delivery leaves those out. */
export class Taken {
  readonly #groups = new WeakMap<object, Set<string>>()

  /** `client`: whose queue took the packet. */
  note (client: string, packet: PacketLike): void {
    if (!isShared(client)) return
    const groups = this.#groups.get(keyOf(packet)) ?? new Set()
    this.#groups.set(keyOf(packet), groups.add(client))
  }

  /** True for this very payload, whatever became of it in the queue. */
  has (group: string, packet: PacketLike): boolean { return this.#groups.get(keyOf(packet))?.has(group) === true }
}

/** The payload is what Aedes hands on as it is: the packet that is queued is not the one that was committed. */
function keyOf (packet: PacketLike): object { return typeof packet.payload === 'string' ? packet : packet.payload }
