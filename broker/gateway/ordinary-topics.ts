/** Ordinary topics as the gateway needs them: everything outside the chat tree, which another part serves (`broker/ordinary/`). */
import type { ProtocolVersion, Subscription, Will } from '../mqtt/index.ts'

export interface OrdinaryTopics {
  /** Shared subscriptions are served. */
  readonly shares: boolean
  /** True when something is stored for the session, so that it has to be attached when it comes back. */
  knows (session: string): boolean
  /** `dropped`: messages that queues lost to their bounds since the start. */
  counts (): { retained: number, queuedBytes: number, dropped: number }
  /** There is room for a retained message. */
  retains (topic: string, payloadBytes: number): boolean
  /** Removes what is stored for a session that is over. */
  forget (session: string): Promise<void>
  /**
   * Sends the will of a session; the record `key` goes in the same write as what the message leaves behind. Resolves when its receivers are
   * sent it. After a rejection it may be asked again with the same `key`: what was stored is not stored twice.
   */
  publishWill (session: string, will: Will, key: string): Promise<void>
  /** Makes a client for a connection that has its session. */
  attach (peer: OrdinaryPeer): Promise<OrdinaryClient>
}

/** One connection's client. */
export interface OrdinaryClient {
  /** Takes a packet as it came. */
  forward (frame: Buffer): void
  /** A message with this packet id, of the server's, is not at its end. */
  hasInFlight (packetId: number): boolean
  /** There may be room in the window, or in the connection's output. */
  wake (): void
  /** `granted` is called when the subscriptions are in force and stored, before retained messages are sent. */
  subscribe (subscriptions: Subscription[], identifier: number | undefined, granted: () => void): Promise<void>
  unsubscribe (filters: string[]): Promise<void>
  filters (): string[]
  end (graceful: boolean): void
}

/** How many messages above QoS 0 may be sent to the client and not be acknowledged. */
export interface OrdinaryWindow {
  /** There is room for one more, and for how many. */
  readonly room: boolean
  readonly free: number
  /** One was sent. */
  take (): void
  /** One was acknowledged to its end, or will not be. */
  give (): void
}

/** A topic alias that the server gave; `told`: the client knows its topic. */
export interface GivenAlias { readonly alias: number, told: boolean }

/** The connection as ordinary topics see it. */
export interface OrdinaryPeer {
  readonly session: { readonly id: string, readonly persistent: boolean }
  readonly version: ProtocolVersion
  /** The largest packet the client takes. */
  readonly maximumPacketBytes: number
  readonly closed: boolean
  readonly unsentBytes: number
  readonly window: OrdinaryWindow
  /** Absent when the client takes none; `of` a topic for which none is left is undefined. */
  readonly aliases: { of (topic: string): GivenAlias | undefined } | undefined
  write (packet: Buffer): void
  /** A publish of the client was acknowledged: its packet is written. */
  acknowledged (qos: 1 | 2): void
  /** Nothing is forwarded from `hold` to `release`. */
  hold (): void
  release (): void
  close (): void
  /** The client does not read what it is sent. */
  cutOff (): void
}
