/**
 * Keeps the submissions of each session in order. Most are judged at once and go straight to the committer. Where one has to
 * wait (a request, a gate or a look-up that answers with a promise) the session gets a lane: what it submits meanwhile waits
 * behind it, and nobody else does.
 */
import { codes } from '../../errors.ts'
import type { Draft, GateVerdict } from '../../plugin-api.ts'
import { directId, groupId } from '../../topics.ts'
import type { Unstored } from '../commit/commit-queue.ts'
import type { Committer } from '../commit/committer.ts'
import { newMessage, unstored } from './new-message.ts'
import type { EngineHost } from '../host.ts'
import { readPayload, withKey } from './payload.ts'
import type { Read } from './payload.ts'
import { PauseEnded } from './pauses.ts'
import type { Pauses } from './pauses.ts'
import type { Recipient } from './recipient.ts'
import type { Submission, Verdict } from '../../link/port.ts'
import { isQuery } from '../../operations.ts'
import type { Asked, Requests } from '../requests/request.ts'
import type { Turns } from '../../turns.ts'

export interface LanesOptions {
  readonly host: EngineHost
  readonly committer: Committer
  readonly requests: Requests
  readonly pauses: Pauses
  readonly turns: Turns
  readonly recipient: Pick<Recipient, 'judge' | 'stillMayPost'>
}

interface Lane {
  /** The open submission first. */
  waiting: Submission[]
  /** How many of `waiting` must fail, because a message before them did. */
  failing: number
  /** How many of `waiting` are of a connection that has ended, and whether it said goodbye. */
  left: number
  graceful: boolean
  /** Bytes of `waiting`. */
  bytes: number
  /** More waits for the sender's rate than a lane may hold; the gateway was told. */
  full: boolean
}

/** Payloads that are larger are read when it is their sender's turn: reading them may take a millisecond. */
const largeBytes = 8_192

/** What a lane may hold while it waits for its sender's rate before a new connection of the session has to wait as well. */
const fullCount = 2_048
const fullBytes = 4 * 1024 * 1024

type MessageTarget = Exclude<Submission['target'], { kind: 'rpc' }>

interface Parsed { readonly read: Read, readonly draft: Draft }

export class Lanes {
  readonly #options: LanesOptions
  readonly #lanes = new Map<string, Lane>()
  /** By session: the request under way. */
  readonly #asked = new Map<string, Asked>()
  #emptied: Array<() => void> = []
  #closed = false

  constructor (options: LanesOptions) { this.#options = options }

  submit (batch: readonly Submission[]): void {
    for (const submission of batch) {
      const { session } = submission
      if (this.#closed) {
        this.#options.committer.answer(session, { kind: 'verdict', ref: submission.ref, ok: 'failed' })
        continue
      }
      const lane = this.#lanes.get(session)
      if (lane !== undefined) {
        lane.waiting.push(submission)
        lane.bytes += submission.payload.length
        if (!lane.full) this.#fill(session, lane)
        continue
      }
      const open = this.#take(submission)
      if (open === undefined) continue
      const opened: Lane = { waiting: [submission], failing: 0, left: 0, graceful: false, bytes: submission.payload.length, full: false }
      this.#lanes.set(session, opened)
      this.#follow(session, opened, open).catch((error: unknown) => {
        this.#options.host.log.fatal({ err: error, session }, 'the lane of a session stopped')
      })
    }
  }

  /** Messages of these sessions failed: what waits behind them fails too. */
  fail (sessions: ReadonlySet<string>): void {
    for (const session of sessions) {
      const lane = this.#lanes.get(session)
      if (lane !== undefined) lane.failing = lane.waiting.length
    }
  }

  /** The session waits for its sender's rate from now on. */
  held (session: string): void {
    const lane = this.#lanes.get(session)
    if (lane !== undefined) this.#fill(session, lane)
  }

  /**
   * Says so when more waits for the sender's rate than its connections bring as long as they behave: one, and the next one's resends of the same,
   * which must be read to be known as such. A client that comes again and again would bring as much each time.
   */
  #fill (session: string, lane: Lane): void {
    if (lane.full || (lane.waiting.length <= fullCount && lane.bytes <= fullBytes) || !this.#options.pauses.isHeld(session)) return
    lane.full = true
    this.#options.host.emit([{ kind: 'hold', session, held: true, full: true }])
  }

  /** A user (or one session) is shut out: what waits in their lanes is neither stored nor acknowledged. */
  cut (user: string, session?: string): void {
    for (const [id, lane] of this.#lanes) {
      if (lane.waiting[0]?.user === user && (session === undefined || session === id)) lane.failing = lane.waiting.length
    }
  }

  /** What of a session waits and is to fail. */
  failing (session: string): Unstored[] {
    const lane = this.#lanes.get(session)
    return lane?.waiting.slice(0, lane.failing).flatMap(submission => unstoredOf(submission) ?? []) ?? []
  }

  /**
   * The session's connection has ended: requests that wait are not served, as nobody hears the answers, and one under way stops.
   * What changes something is done all the same when the client said goodbye: it did not wait for an answer. Messages are stored.
   */
  hangUp (session: string, graceful: boolean): void {
    const lane = this.#lanes.get(session)
    if (lane === undefined) return
    lane.graceful = graceful && (lane.left === 0 || lane.graceful)
    lane.left = lane.waiting.length
    const asked = this.#asked.get(session)
    if (asked !== undefined && isMoot(lane.waiting[0] as Submission, graceful)) asked.gone = true
  }

  /** Takes no more; resolves when nothing waits in a lane. */
  async close (): Promise<void> {
    this.#closed = true
    this.#options.pauses.close()
    if (this.#lanes.size > 0) await new Promise<void>(resolve => { this.#emptied.push(resolve) })
  }

  async #follow (session: string, lane: Lane, first: Promise<void>): Promise<void> {
    let open: Promise<void> | undefined = first
    for (;;) {
      await open
      lane.bytes -= (lane.waiting.shift() as Submission).payload.length
      if (lane.failing > 0) lane.failing -= 1
      if (lane.left > 0) lane.left -= 1
      const next = lane.waiting[0]
      if (next === undefined) break
      const dropped = lane.failing > 0 || (lane.left > 0 && isMoot(next, lane.graceful))
      open = dropped ? this.#fail(next) : this.#take(next)
    }
    this.#lanes.delete(session)
    this.#options.pauses.over(session)
    if (this.#lanes.size > 0) return
    const emptied = this.#emptied
    this.#emptied = []
    for (const resolve of emptied) resolve()
  }

  /** A promise (that never rejects) when the session's next submission must wait. */
  #take (submission: Submission): Promise<void> | undefined {
    const { target } = submission
    if (target.kind === 'rpc' || target.verb !== undefined) return this.#request(submission)
    const { maxMessageBytes } = this.#options.host.limits
    if (submission.payload.length > maxMessageBytes) {
      return this.#refuse(submission, { code: 'too_large', reason: `at most ${maxMessageBytes} bytes` }, undefined)
    }
    return submission.payload.length > largeBytes ? this.#messageLater(submission) : this.#message(submission, target)
  }

  async #messageLater (submission: Submission): Promise<void> {
    await this.#options.turns.next(submission.user)
    const lane = this.#lanes.get(submission.session)
    if (lane !== undefined && lane.failing > 0) this.#fail(submission)
    else await this.#message(submission, submission.target as MessageTarget)
  }

  #message (submission: Submission, target: MessageTarget): Promise<void> | undefined {
    const read = withKey(readPayload(submission.payload, submission.contentType, submission.utf8), submission.key)
    if (!read.ok) return this.#refuse(submission, read, read.cid)
    const draft = draftOf(submission, target, read)
    let verdict
    try {
      verdict = this.#options.recipient.judge(draft)
    } catch (error) {
      return this.#breakOff(submission, error)
    }
    if (verdict instanceof Promise) return this.#judgeLater(submission, { read, draft }, verdict)
    if (verdict !== undefined) return this.#refuse(submission, verdict, draft.cid)
    this.#accept(submission, read, draft)
  }

  async #judgeLater (submission: Submission, { read, draft }: Parsed, judged: Promise<GateVerdict>): Promise<void> {
    let verdict: GateVerdict
    try {
      verdict = await judged ?? await this.#options.recipient.stillMayPost(draft)
    } catch (error) {
      this.#breakOff(submission, error)
      return
    }
    const lane = this.#lanes.get(submission.session)
    if (lane !== undefined && lane.failing > 0) this.#fail(submission)
    else if (verdict !== undefined) this.#refuse(submission, verdict, draft.cid)
    else this.#accept(submission, read, draft)
  }

  async #request (submission: Submission): Promise<void> {
    const { committer, requests } = this.#options
    const { session } = submission
    const asked: Asked = { gone: false }
    this.#asked.set(session, asked)
    const settled = await committer.settled(session)
    const verdict: Verdict = settled ? await requests.serve(submission, asked) : { kind: 'verdict', ref: submission.ref, ok: 'failed' }
    this.#asked.delete(session)
    this.#answer(submission, verdict)
  }

  #accept (submission: Submission, read: Read, draft: Draft): void {
    this.#options.committer.message(submission.session, submission.ref, newMessage(this.#options.host, submission, read, draft), draft, submission.whole)
  }

  #refuse (submission: Submission, refusal: NonNullable<GateVerdict>, cid: string | undefined): undefined {
    const { code, reason = codes[code].text, retryAfterMs } = refusal
    return this.#answer(submission, {
      kind: 'verdict',
      ref: submission.ref,
      ok: false,
      code,
      reason,
      ...(cid !== undefined && { cid }),
      ...(retryAfterMs !== undefined && { retryAfterMs })
    })
  }

  /** The store cannot say whether the message may pass, or the engine ends while it waits: nothing of the session may overtake what it will send again. */
  #breakOff (submission: Submission, error: unknown): undefined {
    if (!(error instanceof PauseEnded)) this.#options.host.log.error({ err: error }, 'the recipient of a message cannot be looked up')
    const lane = this.#lanes.get(submission.session)
    if (lane !== undefined) lane.failing = lane.waiting.length
    return this.#fail(submission)
  }

  #fail (submission: Submission): undefined {
    const { ref, session } = submission
    this.#options.committer.answer(session, { kind: 'verdict', ref, ok: 'failed' }, unstoredOf(submission))
  }

  #answer (submission: Submission, verdict: Verdict): undefined {
    this.#options.committer.answer(submission.session, verdict)
  }
}

// Messages come in bursts of one sender to one conversation, whose name is then one text wherever it is looked up.
let last: { user: string, target: MessageTarget, conv: string } | undefined

function convOf (user: string, target: MessageTarget): string {
  if (last?.user === user && last.target === target) return last.conv
  const conv = target.kind === 'user' ? directId(user, target.id) : groupId(target.id)
  last = { user, target, conv }
  return conv
}

function unstoredOf (submission: Submission): Unstored | undefined {
  const { user, target } = submission
  return target.kind === 'rpc' || target.verb !== undefined ? undefined : unstored(submission, convOf(user, target))
}

/** What gates and listeners are told of a message. */
function draftOf ({ user, session, payload }: Submission, target: MessageTarget, read: Read): Draft {
  const { type, cid, made } = read
  const conv = convOf(user, target)
  const sizeBytes = payload.length
  if (!made) return { from: user, session, conv, to: target, type, body: read.body, cid, sizeBytes }
  return { from: user, session, conv, to: target, type, get body () { return read.body }, cid, sizeBytes }
}

/** A request that need not be served when its connection has ended. */
function isMoot ({ target }: Submission, graceful: boolean): boolean {
  if (target.kind === 'rpc') return !graceful || isQuery(target.method)
  return target.verb !== undefined && !graceful
}
