import { ProtocolError, type DisconnectFrame, type Will } from '../../mqtt/index.ts'

export interface LeavingClient {
  readonly session: { expirySeconds: number } | undefined
  will: Will | undefined
  close (how: { graceful: boolean }): void
}

/** DISCONNECT. */
export function disconnect (client: LeavingClient, { reasonCode, sessionExpirySeconds }: DisconnectFrame, maxExpirySeconds: number): void {
  const { session } = client
  if (sessionExpirySeconds !== undefined && session !== undefined) {
    // [MQTT-3.14.2-2]: a session that was to end with its connection cannot be made to last now.
    if (session.expirySeconds === 0 && sessionExpirySeconds > 0) throw new ProtocolError('the session expiry interval was 0', 0x82)
    session.expirySeconds = Math.min(sessionExpirySeconds, maxExpirySeconds)
  }
  // [MQTT-3.14.4-3]: a client that leaves because something is wrong, or asks for it (0x04), leaves its will.
  const graceful = reasonCode === 0
  if (graceful) client.will = undefined
  client.close({ graceful })
}
