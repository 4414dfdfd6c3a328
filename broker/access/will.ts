import type { Access } from './access.ts'
import type { Connection } from './connection.ts'

/** Node's longest timer, milliseconds. */
const longestTimerMs = 0x7fffffff

/**
 * Publishes the will of a connection that ended without a DISCONNECT, when it is a chat message; Aedes publishes the others.
 * A will delay (MQTT 5.0, section 3.1.3.2.2) is kept while the server runs; a new connection of the session cancels it.
 */
export function publishWill (access: Access, connection: Connection): void {
  const { will, session, user } = connection
  connection.will = undefined
  if (will === undefined || session === undefined || !access.topics.isChat(will.topic)) return
  const target = access.topics.target(will.topic)
  if ('refuse' in target) return
  const submit = (): void => {
    access.tick.submit({
      // Nobody waits for the answer: QoS 0 and a ref of its own.
      ref: access.pending.skip(),
      session: session.id,
      user,
      target,
      payload: will.payload,
      qos: 0,
      packetId: 0,
      dup: false,
      ...(will.properties?.contentType !== undefined ? { contentType: will.properties.contentType } : {}),
      ...(will.properties?.messageExpirySeconds !== undefined ? { expirySeconds: will.properties.messageExpirySeconds } : {})
    })
  }
  const delaySeconds = Math.min(will.properties?.willDelaySeconds ?? 0, session.expirySeconds)
  if (delaySeconds === 0) return submit()
  access.wills.set(session.id, setTimeout(() => {
    access.wills.delete(session.id)
    submit()
  }, Math.min(delaySeconds * 1000, longestTimerMs)).unref())
}
