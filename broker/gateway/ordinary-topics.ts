/** Ordinary topics as the gateway needs them: everything outside the chat tree, which another part serves (`broker/ordinary/`). */
import type { ProtocolVersion, Subscription, Will } from '../mqtt/index.ts'

/** What may become of a will that waits. */
export interface WaitingWill { bytes: number, delaySeconds: number, publish: () => void, discard: () => void }

export interface OrdinaryTopics {
  /** True when something is stored for the session, so that it has to be attached when it comes back. */
  knows (session: string): boolean
  /** Removes what is stored for a session that is over. */
  forget (session: string): Promise<void>
  /** Makes a client for a connection that has its session. */
  attach (peer: OrdinaryPeer): Promise<OrdinaryClient>
}

/** One connection's client. */
export interface OrdinaryClient {
  /** Takes a packet as it came. */
  forward (frame: Buffer): void
  /** `granted` is called when the subscriptions are in force and stored, before retained messages are sent. */
  subscribe (subscriptions: Subscription[], identifier: number | undefined, granted: () => void): Promise<void>
  unsubscribe (filters: string[]): Promise<void>
  filters (): string[]
  /** The will is not published when the client goes. */
  dropWill (): void
  end (graceful: boolean): void
}

/** The connection as ordinary topics see it. */
export interface OrdinaryPeer {
  readonly session: { readonly id: string, readonly persistent: boolean }
  readonly version: ProtocolVersion
  /** A will on an ordinary topic. */
  readonly will: Will | undefined
  /** The largest packet the client takes. */
  readonly maximumPacketBytes: number
  readonly closed: boolean
  readonly unsentBytes: number
  write (packet: Buffer): void
  /** A publish of the client was acknowledged: its packet is written. */
  acknowledged (): void
  /** Nothing is forwarded from `hold` to `release`. */
  hold (): void
  release (): void
  close (): void
  /** The client does not read what it is sent. */
  cutOff (): void
  /** The client is gone and its will is to wait. */
  delayWill (will: WaitingWill): void
}
