import type { StreamKind } from '../../topics.ts'
import type { Session } from './session.ts'

export type { StreamKind }

/** `head` of a stream whose log has not been looked at yet: it counts as behind until a scan tells. */
export const unknownHead = Number.MAX_SAFE_INTEGER

/** One log as one session reads it: a conversation, the own messages of a group, or the event log. */
export class Stream {
  readonly session: Session
  /** `d:…`, `g:…`, `o:{gid}` or `e:{user}`. */
  readonly id: string
  readonly kind: StreamKind
  /** The topic that it is delivered on, UTF-8. */
  readonly topic: Buffer
  /** At QoS 0 a stream is live only. */
  readonly qos: 0 | 1
  /** The newest number of the log that is known here. */
  head: number
  /** Numbers up to it were sent on this connection, or are not for this user. */
  sentTo: number
  /** The cursor: numbers up to it need never be sent again. */
  acked: number
  /** Numbers up to it were sent on an earlier connection: they carry DUP [MQTT-3.3.1-1]. */
  redeliverTo = 0
  /** Packets of it in the session's window. */
  inflight = 0
  /** It is in the session's queue of streams that are behind. */
  queued = false
  /** Its cursor moved and has not been reported. */
  dirty = false
  closed = false

  constructor (session: Session, id: string, kind: StreamKind, topic: Buffer, qos: 0 | 1, cursor: number, head: number) {
    this.session = session
    this.id = id
    this.kind = kind
    this.topic = topic
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
