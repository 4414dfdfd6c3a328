import type { Position } from '../../link/position.ts'
import type { Entry, Stream, StreamKind } from './stream.ts'

/**
 * Where a session's entries go: an MQTT connection, or whatever else a device listens on. A sink writes; what was sent, what is sent
 * next and what was acknowledged is the session's, by stream and number. Calls come one by one and never from within a call of the sink.
 */
export interface Sink {
  /** So much waits to be taken that nothing more is to come; `Session.catchUp` is called when that is over. */
  readonly crowded: boolean
  /** It takes no notices now. Absent: it takes them while it is not crowded. */
  readonly deaf?: boolean
  /** What the device says is not heard at the moment: it may have acknowledged more than is known. */
  readonly unheard: boolean
  /** The device has asked for what costs fewer bytes; a sink that has nothing smaller need not look at it. */
  compact: boolean
  /**
   * What its device has. A sink that has it says itself where its session goes on: of that nothing is kept or told, and nothing is acknowledged
   * (`deliver` is false).
   */
  position?(): Position
  /** All that there was to be read has been delivered: what comes from now on is new. */
  rested?(): void
  /** Bytes that the sink wants at hand with each entry of a stream: asked for when a stream begins, kept as `Stream.label`. */
  label (kind: StreamKind, id: string): Uint8Array
  /**
   * Takes one entry; the payload is only lent. `again`: an earlier connection of the session was sent it. `leftMs`: in so many
   * milliseconds it expires. False when this device cannot take it at all (too large), does not want it (No Local) or acknowledges nothing: it counts as sent and acknowledged. At QoS 1 each
   * entry that was taken is acknowledged to `Session.acknowledge` when the device has it.
   */
  deliver (stream: Stream, entry: Entry, again: boolean, leftMs: number | undefined): boolean
  /** An entry that an earlier connection was sent is not to be sent again. */
  forget? (stream: string, seq: number): void
  /** Takes live words of the server for the user; they may be lost. */
  notice (payload: Uint8Array): void
  /** The session cannot go on: its connection is to end. */
  fail (err: Error): void
}
