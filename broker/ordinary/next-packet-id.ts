import type { Client } from 'aedes'
import { maxChatPacketId } from '../gateway/connection/packet-ids.ts'

/** Aedes' field that its types do not have; pinned to 2.0.0-beta.1 (docs/adr/0002). */
interface Numbering { _nextId: number }

/** A packet id above those of chat that no message has; when all have one, any. */
export function nextPacketId (client: Client, taken: (id: number) => boolean): number {
  const numbering = client as unknown as Numbering
  let id = 0
  for (let tries = 0xffff - maxChatPacketId; tries > 0; tries--) {
    if (numbering._nextId <= maxChatPacketId || numbering._nextId > 0xffff) numbering._nextId = maxChatPacketId + 1
    id = numbering._nextId++
    if (!taken(id)) break
  }
  return id
}
