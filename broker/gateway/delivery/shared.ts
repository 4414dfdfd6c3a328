import type { Engine } from '../../link/port.ts'
import type { Cursors } from './cursors.ts'
import type { GroupStreams } from './group-streams.ts'
import type { Pauses } from './pauses.ts'

/** What all sessions share. */
export interface Shared {
  readonly engine: Pick<Engine, 'read' | 'streams'>
  readonly cursors: Cursors
  readonly groups: GroupStreams
  readonly pauses: Pauses
  /** Milliseconds since the epoch, for what expires. */
  now (): number
  /** Milliseconds of a clock that only goes forward, for waits. */
  steady (): number
}
