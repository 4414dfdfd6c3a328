import type { StreamKind } from '../../topics.ts'
import type { Passed } from './passed.ts'

export type { StreamKind }

/** `head` of a stream whose log has not been looked at yet: it counts as behind until a scan tells. */
export const unknownHead = Number.MAX_SAFE_INTEGER

/** What of a log's entry delivery needs. */
export interface Entry { seq: number, payload: Uint8Array, expiresAt?: number }

/** Whose stream it is: a session, as far as those that only know the stream need it. */
export interface Reader {
  readonly id: string
  readonly user: string
  /** Its cursors are kept. */
  readonly stored: boolean
  /** It acknowledges nothing, and no mark moves by it. */
  readonly cold: boolean
  readonly streams: Map<string, Stream>
  /** It takes what it gets as fast as the server sends it. */
  readonly keepsPace: boolean
  /** Of streams that are not in memory, where outputs may come late or twice. */
  readonly passed: Passed | undefined
  /** A commit to a stream of this reader. */
  live (stream: Stream, entry: Entry): void
  /** Numbers up to `upTo` of a stream were committed, and may never be heard of. */
  missed (stream: Stream, upTo: number): void
}

/** One log as one session reads it: a conversation, the own messages of a group, or the event log. */
export class Stream {
  readonly reader: Reader
  /** `d:…`, `g:…`, `o:{gid}` or `e:{user}`. */
  readonly id: string
  readonly kind: StreamKind
  /** What the sink wants at hand for each entry (`Sink.label`). */
  readonly label: Uint8Array
  /** At QoS 0 a stream is live only, and nothing of it is acknowledged. */
  readonly qos: 0 | 1
  /** The newest number of the log that is known here. */
  head: number
  /** Numbers up to it were sent on this connection, or are not for this user. */
  sentTo: number
  /** The cursor: numbers up to it need never be sent again. */
  acked: number
  /** Numbers up to it were sent on an earlier connection. */
  redeliverTo = 0
  /** Entries of it in the session's window. */
  inflight = 0
  /** It is in the session's queue of streams that are behind. */
  queued = false
  /** It is far behind although its reader keeps pace, and senders wait for it. */
  pressing = false
  /** It was waited for as long as may be: not again before it has caught up. */
  excused = false
  /** Its cursor moved and has not been reported. */
  dirty = false
  closed = false

  constructor (reader: Reader, id: string, kind: StreamKind, label: Uint8Array, qos: 0 | 1, cursor: number, head: number) {
    this.reader = reader
    this.id = id
    this.kind = kind
    this.label = label
    this.qos = qos
    this.sentTo = cursor
    this.acked = cursor
    this.head = head
  }
}

/** The conversation or log that a stream reads: an `o:` stream reads its group's. */
export function streamKind (id: string): StreamKind {
  switch (id.charCodeAt(0)) {
    case 0x64: return 'direct'
    case 0x67: return 'group'
    case 0x6f: return 'own'
    default: return 'event'
  }
}

const noLabel = new Uint8Array()

/** A stream of which only what is in a window counts: nothing more of the log is read. */
export function leftBehind (reader: Reader, id: string, label: Uint8Array, cursor: number): Stream {
  const stream = new Stream(reader, id, streamKind(id), label, 1, cursor, cursor)
  stream.closed = true
  return stream
}

/** A stream that is in a window alone: no cursor follows it. */
export function uncounted (reader: Reader, id: string): Stream {
  const stream = new Stream(reader, id, streamKind(id), noLabel, 1, 0, 0)
  // As one that is to be reported already.
  stream.dirty = true
  return stream
}
