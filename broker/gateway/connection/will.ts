import type { Submission } from '../../link/port.ts'
import type { Access } from '../gateway.ts'
import type { Connection } from './connection.ts'
import { willBytes } from './wills.ts'

/**
 * Publishes the will of a connection that ended without a DISCONNECT, when it is a chat message; Aedes publishes the others. With a
 * will delay (MQTT 5.0, section 3.1.3.2.2) it waits.
 */
export function publishWill (access: Access, connection: Connection): void {
  const { will, session, user } = connection
  connection.will = undefined
  if (will === undefined || session === undefined || !access.topics.isChat(will.topic)) return
  const target = access.topics.target(will.topic)
  if ('refuse' in target) return
  const { id, expirySeconds } = session
  const delaySeconds = Math.min(will.properties?.willDelaySeconds ?? 0, expirySeconds)
  const submission: Submission = {
    // Nobody waits for the answer: QoS 0 and a ref of its own.
    ref: access.pending.skip(),
    session: id,
    user,
    target,
    // Of its own: the CONNECT lies in a chunk of what the socket brought, which may not be kept for its sake.
    payload: delaySeconds === 0 ? will.payload : copyOf(will.payload),
    qos: 0,
    packetId: 0,
    dup: false,
    ...(will.properties?.contentType !== undefined ? { contentType: will.properties.contentType } : {}),
    ...(will.properties?.messageExpirySeconds !== undefined ? { expirySeconds: will.properties.messageExpirySeconds } : {})
  }
  if (delaySeconds === 0) send(access, submission)
  else wait(access, submission, delaySeconds, willBytes(will))
}

/** Apart, so that what waits holds the submission and nothing of the connection. */
function wait (access: Access, submission: Submission, delaySeconds: number, bytes: number): void {
  const { session, user } = submission
  access.wills.add(session, { user, dueMs: access.clock.now + delaySeconds * 1000, bytes, publish: () => { send(access, submission) } })
}

/** While the session waits for its sender's rate one will of it is enough: a client that comes and goes would leave one each time. */
function send (access: Access, submission: Submission): void {
  const { session } = submission
  if (access.engine.isHeld(session)) {
    if (access.heldWills.has(session)) return
    access.heldWills.add(session)
  }
  access.tick.submit(submission)
}

function copyOf (payload: Uint8Array): Buffer {
  const copy = Buffer.allocUnsafeSlow(payload.length)
  copy.set(payload)
  return copy
}
