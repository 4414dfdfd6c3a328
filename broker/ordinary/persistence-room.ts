import type { Bodies } from './persistence-bodies.ts'
import type { RecordChange } from './persistence-records.ts'
import type { OutgoingQueue } from './persistence-queue.ts'

export interface RoomOptions {
  /** Bytes of all queues, what several share counted once. */
  maxTotalBytes: number
  onDrop: (client: string, count: number) => void
  isOnline: (client: string) => boolean
}

/**
 * The queues that hold most (as much as the average, or more) lose what is oldest until so many bytes have room; those of sessions
 * that are connected only when nothing else is left. `emptied` is called for queues that have nothing any more.
 */
export function makeRoom (queues: ReadonlyMap<string, OutgoingQueue>, bodies: Bodies, bytes: number, options: RoomOptions, changes: RecordChange[], emptied: (queue: OutgoingQueue) => void): void {
  const { maxTotalBytes, isOnline, onDrop } = options
  for (const others of [false, true]) {
    for (let went = true; went && bodies.bytes + bytes > maxTotalBytes;) {
      const open = [...queues.values()].filter(queue => queue.size > 0 && (others || !isOnline(queue.client)))
      const average = open.reduce((sum, queue) => sum + queue.bytes, 0) / open.length
      went = false
      for (const queue of open) {
        if (queue.bytes < average) continue
        onDrop(queue.client, queue.shed(changes))
        went = true
        if (queue.size === 0) emptied(queue)
      }
    }
  }
}
