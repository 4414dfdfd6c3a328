import { isExpired, type Body } from './persistence-packets.ts'
import type { Entry } from './persistence-entry.ts'
import type { OutgoingQueue } from './persistence-queue.ts'
import type { RecordChange } from './persistence-records.ts'

interface Choosing {
  /** Packet ids of messages that are not of the queue. */
  inUse: ReadonlySet<number> | undefined
  /** What was sent on this connection is not sent again. */
  connection: number | undefined
  /** For an entry that has expired, or lost its body. */
  remove: (entry: Entry) => void
}

/** What of a page of a queue is to be sent. `states` takes the new states of what has them. */
export function chosen (queue: OutgoingQueue, page: readonly Entry[], bodies: ReadonlyMap<number, Body>, states: RecordChange[], { inUse, connection, remove }: Choosing): Array<[Entry, Body | undefined]> {
  const now = Date.now()
  const send: Array<[Entry, Body | undefined]> = []
  for (const entry of page) {
    if (queue.get(entry.seq) !== entry || (connection !== undefined && entry.sentOn === connection)) continue
    const body = entry.body ?? bodies.get(entry.seq)
    if (!entry.released && (body === undefined || (isExpired(body, now) && entry.sentOn === undefined))) {
      remove(entry)
      continue
    }
    if (body !== undefined) entry.qos = body.qos
    // The page's QoS 2 packet ids reach the disk in one write instead of one each.
    if (entry.qos === 2 && entry.messageId === undefined) {
      queue.identify(entry, undefined, inUse)
      states.push(queue.stateChange(entry))
    }
    send.push([entry, body])
  }
  return send
}
