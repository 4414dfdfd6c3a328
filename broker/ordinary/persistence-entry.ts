/** A message in a session's outgoing queue, as it is in memory. */
import type { BodyPlace } from './persistence-bodies.ts'
import type { Body } from './persistence-packets.ts'

/** A queued message; one whose body is not in memory is read from its row when the client connects. */
export interface Entry {
  seq: number
  qos: 0 | 1 | 2
  /** `undefined` when there is none any more. */
  place?: BodyPlace
  messageId?: number
  /** Which connection it was last sent on (0 = one before the start of the process); absent = never sent. */
  sentOn?: number
  /** It left the queue. */
  gone?: boolean
  /** PUBREC came: the body is gone, only PUBREL is due. */
  released: boolean
  body?: Body
  /** As Aedes named the packet; how its live delivery finds the entry. */
  brokerId?: string
  brokerCounter?: number
}

/** As broker id of a message that Aedes did not name yet, or named before this process: its counter is the entry's number. */
export const storedBroker = 'stored'
