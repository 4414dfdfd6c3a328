/** What is kept of ordinary topics, as the broker and its clients need it: in the store's records, or in Redis for several servers. */
import type { ClientLike } from './persistence-gates.ts'
import type { PacketLike } from './persistence-packets.ts'
import type { RecordChange } from './persistence-records.ts'
import type { FoundRetained } from './persistence-retained.ts'
import type { SubscriptionLike } from './persistence-subscriptions.ts'

export interface Persistence {
  /** Keeps what a QoS 1 publish leaves behind; `undefined`: nothing to wait for. Rejects when it may not be acknowledged. */
  prepare (client: ClientLike | null, packet: PacketLike): Promise<void> | undefined
  /** The same for a message of the server's own, together with `changes` of the store's records. */
  leave (packet: PacketLike, changes: RecordChange[]): Promise<void>
  write (changes: RecordChange[]): Promise<void>

  retains (topic: string, payloadBytes: number): boolean
  /** There may be retained messages for a filter, and what of them was not sent is remembered by `owe`. */
  mayRetain (filter: string): boolean
  /** As that of `RetainedSendingOptions`, for a session. */
  owe (session: string, filter: string, owed: readonly string[], sent: readonly string[] | undefined): void
  retained (filter: string, share?: number): AsyncGenerator<FoundRetained>
  /** A retained message is about to be sent to a kept session. */
  resendRetained (session: string, packet: PacketLike): Promise<void> | void

  addSubscriptions (client: ClientLike, subscriptions: SubscriptionLike[]): Promise<void>
  removeSubscriptions (client: ClientLike, filters: string[]): Promise<void>
  subscriptionsOf (session: string): SubscriptionLike[]
  /** A session that is kept would get what `publisher` sends. */
  expects (topic: string, publisher: string): boolean
  keeps (session: string): boolean
  forget (session: string): Promise<void>
  counts (): { retained: number, retainedBytes: number, dropped: number, queuedBytes: number }

  hasPacketId (session: string, id: number): boolean
  warm (session: string): Promise<void>
  outgoingUpdate (client: ClientLike, packet: PacketLike): Promise<void>
  outgoingClearMessageId (client: ClientLike, packet: PacketLike): Promise<object | undefined>
  destroy (): Promise<void>
}

/** Groups of shared subscriptions. */
export interface Groups<Member> {
  join (session: string, subscription: SubscriptionLike, client: Member | undefined): void
  leave (session: string, key: string): void
  disconnected (session: string): void
  wake (session: string): void
  ended (session: string): Promise<void>
}
