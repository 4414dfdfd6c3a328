import type { RecordsLike } from './persistence-records.ts'

/** What a limit made the persistence drop. */
export type Dropped =
  | { kind: 'queued', client: string, count: number }
  | { kind: 'retained', topic: string }

export interface PersistenceOptions {
  records: RecordsLike
  /** Messages in one session's queue, in flight or waiting; the oldest are dropped first. */
  offlineQueue: number
  /** Bytes of the messages of one session's queue; the oldest are dropped first, the newest stays. */
  offlineQueueBytes: number
  /** Bytes of all queues, a message that several have counted once; all of them lose their oldest. */
  offlineBytes: number
  /** Retained messages. */
  retained: number
  /** Topic and payload bytes of all retained messages. */
  retainedBytes: number
  onDrop?: (dropped: Dropped) => void
  log?: { error (details: object, text: string): void }
  /** The lowest packet id that is chosen here for a queued message (default 1): the ids below are the caller's. */
  minPacketId?: number
  /** Subscriptions are the caller's: Aedes restores none. */
  routed?: boolean
  /** Give `sessionMarker` as the subscription of a persistent session without any, so that session-present is right. */
  markSessions?: boolean
}
