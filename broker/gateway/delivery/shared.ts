import type { Engine } from '../../link/port.ts'
import type { Cursors } from './cursors.ts'
import type { Few } from '../../few.ts'
import type { GroupStreams } from './group-streams.ts'
import type { OwnMessages } from './own-messages.ts'
import type { Pauses } from './pauses.ts'
import type { Pressure } from './pressure.ts'
import type { Recent } from './recent.ts'

/** What all sessions share. */
export interface Shared {
  readonly engine: Pick<Engine, 'read' | 'streams'>
  readonly cursors: Cursors
  readonly groups: GroupStreams
  readonly pauses: Pauses
  readonly pressure: Pressure
  readonly recent: Recent
  readonly own: OwnMessages
  /** Scans that wait for a page. */
  readonly looking: Few
  /** A device that keeps pace with the server has acknowledged what is older than this, milliseconds. */
  readonly paceMs: number
  /** Outputs may come so late, twice or not at all, milliseconds; 0: they come once and in order. */
  readonly lateMs: number
  /** Runs a function at the end of this turn of the event loop. */
  later (run: () => void): void
  /** Milliseconds since the epoch, for what expires. */
  now (): number
  /** Milliseconds of a clock that only goes forward, for waits. */
  steady (): number
}
