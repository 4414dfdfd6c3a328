import type { Logger } from 'pino'
import type { Sockets } from './sockets.ts'

/** A connection's byte stream: a TCP socket or a WebSocket. */
export interface Transport {
  /** The peer's address, for limits and logs. */
  readonly address: string
  /** The user of the client's certificate, which was checked; undefined without one. */
  readonly certified?: string | undefined
  /** Bytes that were written and that the kernel has not taken yet. */
  readonly unsentBytes: number
  /** Bytes in front of those of a chunk that `write` fills in. */
  readonly headroom: number
  /** `chunk` begins with the headroom. The transport may keep it until `unsentBytes` is 0 again; before that the caller does not touch it. */
  write (chunk: Buffer): void
  /** Stops and goes on reading; data that is on its way may still arrive after `pause`. */
  pause (): void
  resume (): void
  /** Who the peer is has become known (true), or no longer matters (false); `Sockets` says what that means. */
  settle (known: boolean): void
  /** Closes after what was written has been sent. */
  end (): void
  /** Closes at once. */
  destroy (): void
  /** Starts the flow of events. Called once. */
  attach (handler: TransportHandler): void
}

export interface TransportHandler {
  onData (chunk: Buffer): void
  /** Everything written so far has been taken by the kernel. */
  onDrain (): void
  /** Called once, whatever the cause. */
  onClose (): void
}

/** Who takes new byte streams: what listeners need of the gateway. */
export interface Acceptor {
  readonly sockets: Sockets
  readonly limits: { readonly connectTimeoutMs: number, readonly stallTimeoutMs: number }
  readonly log: Pick<Logger, 'info'>
  /** It is about to end, and takes nobody. */
  readonly draining?: boolean
  /** Takes a byte stream, whose socket `sockets` has counted. */
  accept (transport: Transport): void
}
