import type { Engine } from '../../link/port.ts'
import type { Session } from '../delivery/session.ts'
import type { Evidence } from './evidence.ts'

/** The connection, as storing its session's subscriptions needs it. */
export interface StoringClient {
  readonly session: Session | undefined
  readonly evidence: Evidence | undefined
}

/** Stores the subscriptions of a persistent session; on disk when it resolves. */
export async function saveSubscriptions (engine: Pick<Engine, 'saveSubscriptions'>, { session, evidence }: StoringClient): Promise<void> {
  if (session === undefined || !session.persistent) return
  try {
    await engine.saveSubscriptions(session.id, session.interest.list())
  } finally {
    // A session's row that is read and written again may lack what was told meanwhile.
    if (evidence !== undefined) evidence.told = 0
  }
}
