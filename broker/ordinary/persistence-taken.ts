import type { PacketLike } from './persistence-packets.ts'
import { isShared } from './shared-filter.ts'

/** Which packets the queues of groups of shared subscriptions took, as long as the packets are on their way: live delivery leaves those out. */
export class Taken {
  readonly #groups = new WeakMap<PacketLike, Set<string>>()

  /** `client`: whose queue took the packet. */
  note (client: string, packet: PacketLike): void {
    if (!isShared(client)) return
    const groups = this.#groups.get(packet) ?? new Set()
    this.#groups.set(packet, groups.add(client))
  }

  /** True for this very object, whatever became of it in the queue. */
  has (group: string, packet: PacketLike): boolean { return this.#groups.get(packet)?.has(group) === true }
}
