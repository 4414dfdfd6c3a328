import type { Submission } from '../../link/port.ts'
import type { Will } from '../../mqtt/index.ts'
import type { Topics } from '../../topics.ts'
import type { Clock } from '../clock.ts'
import type { Session } from '../delivery/session.ts'
import type { Tick } from '../tick.ts'
import type { PendingPublishes } from './pending-publishes.ts'
import { willBytes, type Wills } from './wills.ts'

/** The connection, as its will needs it. */
export interface TestatorClient {
  readonly user: string
  readonly session: Session | undefined
  will: Will | undefined
}

export interface ChatWillsContext {
  /** Sessions of which no connection is read: so much of them waits for their sender's rate. */
  readonly full: ReadonlySet<string>
  readonly topics: Topics
  readonly pending: Pick<PendingPublishes<unknown>, 'skip'>
  readonly tick: Pick<Tick, 'submit'>
  readonly clock: Clock
  readonly wills: Wills
}

/** Wills that are chat messages; ordinary topics publish the others. */
export class ChatWills {
  readonly #context: ChatWillsContext
  /** Sessions that wait for their sender's rate and have left a will meanwhile. */
  readonly #held = new Set<string>()

  constructor (context: ChatWillsContext) { this.#context = context }

  /** The session does not wait for its sender's rate any more. */
  released (session: string): void { this.#held.delete(session) }

  /** Publishes the will of a connection that ended without a DISCONNECT. With a will delay (MQTT 5.0, section 3.1.3.2.2) it waits. */
  publish (client: TestatorClient): void {
    const { topics, pending } = this.#context
    const { will, session, user } = client
    client.will = undefined
    if (will === undefined || session === undefined || !topics.isChat(will.topic)) return
    const target = topics.target(will.topic)
    if ('refuse' in target) return
    const { id, expirySeconds } = session
    const delaySeconds = Math.min(will.properties?.willDelaySeconds ?? 0, expirySeconds)
    const submission: Submission = {
      // Nobody waits for the answer: QoS 0 and a ref of its own.
      ref: pending.skip(),
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
    if (delaySeconds === 0) this.#send(submission)
    else this.#wait(submission, delaySeconds, willBytes(will))
  }

  /** Apart, so that what waits holds the submission and nothing of the connection. */
  #wait (submission: Submission, delaySeconds: number, bytes: number): void {
    const { wills, clock } = this.#context
    const { session, user } = submission
    wills.add(session, { user, dueMs: clock.now + delaySeconds * 1000, bytes, publish: () => { this.#send(submission) } })
  }

  /** While the session waits for its sender's rate one will of it is enough: a client that comes and goes would leave one each time. */
  #send (submission: Submission): void {
    const { full, tick } = this.#context
    const { session } = submission
    if (full.has(session)) {
      if (this.#held.has(session)) return
      this.#held.add(session)
    }
    tick.submit(submission)
  }
}

function copyOf (payload: Uint8Array): Buffer {
  const copy = Buffer.allocUnsafeSlow(payload.length)
  copy.set(payload)
  return copy
}
