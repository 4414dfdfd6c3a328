import type { OwnRuns } from '../../link/port.ts'

export interface SessionOptions {
  /** `{user}/{clientId}`. */
  id: string
  user: string
  /** Seconds that it outlives its connection; 0 = its cursors are not kept. */
  expirySeconds: number
  /** It was begun by an earlier connection. */
  resumed?: boolean
  /** What it has published itself on earlier connections (`SessionResume.own`). */
  own?: readonly OwnRuns[] | undefined
  /** Entries that may be sent and not acknowledged. */
  window: number
}
