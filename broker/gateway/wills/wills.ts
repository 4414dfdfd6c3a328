/** What becomes of wills, on chat and on ordinary topics: kept while the connection lasts, then sent at once or after their delay. */
import type { Logger } from 'pino'
import type { Engine, Submission, Verdict } from '../../link/port.ts'
import type { Will } from '../../mqtt/index.ts'
import type { Topics } from '../../topics.ts'
import type { Clock } from '../clock.ts'
import { logFailure } from '../connection/failure.ts'
import type { PendingPublishes } from '../connection/pending-publishes.ts'
import type { Session } from '../delivery/session.ts'
import type { OrdinaryTopics } from '../ordinary-topics.ts'
import type { Tick } from '../tick.ts'
import type { WaitingWills } from './waiting.ts'
import { unwaited, willBytes } from './waiting.ts'
import { LeftWills } from './left-wills.ts'
import { nameOf, type KeptWill, type WillRows } from './will-rows.ts'

/** The connection, as its will needs it. */
export interface TestatorClient {
  readonly user: string
  readonly session: Session | undefined
  will: Will | undefined
}

export interface WillsContext {
  readonly engine: Pick<Engine, 'admits'>
  /** Sessions of which no connection is read: so much of them waits for their sender's rate. */
  readonly full: ReadonlySet<string>
  readonly topics: Topics
  readonly ordinary: Pick<OrdinaryTopics, 'publishWill'> | undefined
  readonly pending: Pick<PendingPublishes<unknown>, 'skip'>
  readonly tick: Pick<Tick, 'submit'>
  readonly clock: Clock
  /** Milliseconds since the epoch. */
  readonly now: () => number
  readonly waiting: WaitingWills
  readonly rows: WillRows
  readonly log: Logger
}

/** Of those that the store did not take. */
const maxRetries = 10_000
/** Milliseconds. */
const retryMs = 1_000
/** Of an earlier run that are looked at in one turn. */
const restoredAtOnce = 64

export class Wills {
  readonly #context: WillsContext
  /** Rows of wills of connected sessions, by session. */
  readonly #announced = new Map<string, string>()
  /** Sessions that wait for their sender's rate and have left a will meanwhile. */
  readonly #held = new Set<string>()
  /** Chat wills that the engine has, by ref. */
  readonly #sent = new Map<number, [id: string, kept: KeptWill]>()
  #retries: Array<[id: string, kept: KeptWill]> = []

  readonly #left: LeftWills

  constructor (context: WillsContext) {
    this.#context = context
    this.#left = new LeftWills({ ...context, send: (id, kept) => this.#send(id, kept) })
  }

  /** The session does not wait for its sender's rate any more. */
  released (session: string): void { this.#held.delete(session) }

  /** The session is open: from here on its will is on the server [MQTT-3.1.2-7]. */
  announced ({ user, session, will }: TestatorClient): void {
    if (will === undefined || session === undefined) return
    const { rows } = this.#context
    // Of its own: the CONNECT lies in a chunk of what the socket brought, which may not be kept for its sake.
    will.payload = copyOf(will.payload)
    const id = rows.newId(session.id)
    this.#announced.set(session.id, id)
    rows.put(id, { session: session.id, user, will, delaySeconds: delayOf(will, session) })
  }

  /**
   * The connection is over: its will is sent unless it said goodbye [MQTT-3.1.2-8], or waits (MQTT 5.0, section 3.1.3.2.2). Resolves when it is sent,
   * where the session's next connection could say something before it.
   */
  left (client: TestatorClient): Promise<void> | undefined {
    const { rows, clock, now } = this.#context
    const { will, session, user } = client
    client.will = undefined
    if (session === undefined) return undefined
    const announced = this.#announced.get(session.id)
    this.#announced.delete(session.id)
    if (will === undefined) {
      if (announced !== undefined) rows.drop(announced)
      return undefined
    }
    const id = announced ?? rows.newId(session.id)
    const delaySeconds = delayOf(will, session)
    const kept: KeptWill = { session: session.id, user, will, delaySeconds }
    if (delaySeconds === 0) return this.#send(id, kept)
    if (announced === undefined) rows.put(id, { ...kept, dueAt: now() + delaySeconds * 1000 })
    else rows.defer(id, kept, now() + delaySeconds * 1000)
    this.#wait(id, kept, clock.now + delaySeconds * 1000)
    return undefined
  }

  /** Apart, so that what waits holds nothing of the connection. */
  #wait (id: string, kept: KeptWill, dueMs: number): void {
    const { waiting, rows } = this.#context
    waiting.add(kept.session, { user: kept.user, dueMs, bytes: willBytes(kept.will), publish: () => this.#due(id, kept), discard: () => { rows.drop(id) } })
  }

  /** What waited is over: where others share the store, one of them may have it by now. Never rejects. */
  #due (id: string, kept: KeptWill): Promise<void> | undefined {
    const { rows, clock, log } = this.#context
    if (rows.shared === undefined) return this.#send(id, kept)
    return rows.take(id).then(async mine => { if (mine) await this.#send(id, kept) }, (err: Error) => {
      logFailure(log, err, { session: kept.session }, 'a will was not sent, and is tried again')
      this.#wait(id, kept, clock.now + retryMs)
    })
  }

  /** Never rejects. */
  #send (id: string, kept: KeptWill): Promise<void> | undefined {
    if (!this.#context.topics.isChat(kept.will.topic)) return this.#sendOrdinary(id, kept)
    this.#submit(id, kept)
    return undefined
  }

  /** While the session waits for its sender's rate one will of it is enough: a client that comes and goes would leave one each time. */
  #submit (id: string, kept: KeptWill): void {
    const { full, tick, topics, pending, rows } = this.#context
    const { session, user, will: { topic, payload, properties } } = kept
    const target = topics.target(topic)
    if ('refuse' in target || (full.has(session) && this.#held.has(session))) return rows.drop(id)
    if (full.has(session)) this.#held.add(session)
    const submission: Submission = {
      // No client waits for the answer: QoS 0 and a ref of its own.
      ref: pending.skip(),
      session,
      user,
      target,
      payload,
      qos: 0,
      packetId: 0,
      dup: false,
      // After a crash it may be sent again: it is one message all the same.
      cid: `will.${nameOf(id)}`,
      ...(properties?.payloadFormat !== undefined ? { utf8: properties.payloadFormat === 1 } : {}),
      ...(properties?.contentType !== undefined ? { contentType: properties.contentType } : {}),
      ...(properties?.messageExpirySeconds !== undefined ? { expirySeconds: properties.messageExpirySeconds } : {})
    }
    this.#sent.set(submission.ref, [id, kept])
    tick.submit(submission)
  }

  /** The engine's answer to something that no client waits for. */
  settled (verdict: Verdict): void {
    const sent = this.#sent.get(verdict.ref)
    if (sent === undefined) return
    this.#sent.delete(verdict.ref)
    if (verdict.ok === 'failed') this.#again(...sent)
    else this.#context.rows.drop(sent[0])
  }

  async #sendOrdinary (id: string, kept: KeptWill): Promise<void> {
    const { ordinary, rows, log } = this.#context
    if (ordinary === undefined) return rows.drop(id)
    try {
      // What removes the row goes with what the message leaves behind, in one write: nothing may come behind it.
      await rows.leave(id)
      await ordinary.publishWill(kept.session, kept.will, rows.key(id))
    } catch (err) {
      logFailure(log, err as Error, { session: kept.session }, 'a will was not sent, and is tried again')
      this.#again(id, kept)
    }
  }

  #again (id: string, kept: KeptWill): void { if (this.#retries.length < maxRetries) this.#retries.push([id, kept]) }

  /** Called every second: sends those that are due. */
  sweep (nowMs: number): void {
    const retries = this.#retries
    this.#retries = []
    for (const [id, kept] of retries) unwaited(this.#send(id, kept))
    this.#context.waiting.sweep(nowMs)
    this.#left.sweep()
  }

  /** A session that was at another process `goesOn` here, or is over with this: what waits there for it is not sent, or now. Never rejects. */
  moved (session: string, from: string, goesOn: boolean): Promise<void> { return this.#left.moved(session, from, goesOn) }

  /** Takes up what an earlier run of the server left: of those that were connected the delay begins now. Not of who was banned or removed meanwhile. */
  async restore (): Promise<void> {
    const { engine, rows, clock, now, log } = this.#context
    if (rows.shared !== undefined) return await this.#left.takeUp()
    let count = 0
    const unreadable = (row: string, err: Error): void => { log.error({ row, err }, 'a will that is stored cannot be read: it is not sent, and its row stays') }
    for await (const [id, kept] of rows.all(unreadable)) {
      if (kept.user !== '' && !(await engine.admits(kept.user))) {
        rows.drop(id)
        continue
      }
      const dueAt = kept.dueAt ?? now() + kept.delaySeconds * 1000
      const leftMs = dueAt - now()
      if (leftMs <= 0) unwaited(this.#send(id, kept))
      else {
        // A server that ends again and again would begin anew with it each time.
        if (kept.dueAt === undefined) rows.put(id, { ...kept, dueAt })
        this.#wait(id, kept, clock.now + leftMs)
      }
      if (++count % restoredAtOnce === 0) await new Promise(resolve => { setImmediate(resolve) })
    }
  }

  /** Those that wait go on at the next start. Resolves when what was asked of the store is written. */
  async close (): Promise<void> {
    this.#context.waiting.close()
    await this.#left.close()
    await this.#context.rows.close()
  }
}

/** The delay ends with the session at the latest [MQTT-3.1.2-10]. */
function delayOf (will: Will, { expirySeconds }: Session): number { return Math.min(will.properties?.willDelaySeconds ?? 0, expirySeconds) }

function copyOf (payload: Uint8Array): Buffer {
  const copy = Buffer.allocUnsafeSlow(payload.length)
  copy.set(payload)
  return copy
}
