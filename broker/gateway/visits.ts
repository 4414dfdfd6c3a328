/**
 * Users who ask without a connection of MQTT. Each thing that is asked is a session of its own, so that nothing of one waits for another; it is
 * submitted as any publish is, and held to the same room for answers and the same back-pressure.
 */
import { randomBytes } from 'node:crypto'
import type { Code } from '../errors.ts'
import type { Engine, KickCode, Submission, Verdict } from '../link/port.ts'
import { reservedBytes, type AnswerRoom } from './connection/answers.ts'
import type { PendingPublishes } from './connection/pending-publishes.ts'
import type { Pump } from './delivery/pump.ts'
import type { Waiting } from './delivery/pressure.ts'
import type { Intake } from './intake.ts'
import type { Tick } from './tick.ts'

/** What is asked: a message, a verb or a request. */
export type Asked = Pick<Submission, 'target' | 'payload' | 'key' | 'rid' | 'contentType' | 'expirySeconds'>

export interface VisitLimits {
  /** Visits at the same time, in all and of one user. */
  visits: number
  visitsPerUser: number
}

export interface VisitsContext {
  readonly engine: Pick<Engine, 'hangUp'>
  readonly tick: Pick<Tick, 'submit' | 'discard'>
  readonly intake: Pick<Intake, 'take'>
  readonly pending: Pick<PendingPublishes<unknown>, 'skip'>
  readonly pump: Pick<Pump, 'pressure'>
  readonly answerRoom: AnswerRoom
}

/** One user, for the time of one question. */
export interface Visit {
  readonly user: string
  /** The account was banned, removed or changed since it began. */
  readonly kicked: Code | undefined
  /** Resolves to the engine's answer: of a message when it is stored, and its readers are not far behind. To be called once. */
  ask (asked: Asked): Promise<Verdict>
  /** The asker has the answer, or has gone: what is under way for nobody ends. Safe to call twice. */
  end (): void
}

const failed = (ref: number): Verdict => ({ kind: 'verdict', ref, ok: 'failed' })

export class Visits {
  readonly #context: VisitsContext
  readonly #limits: VisitLimits
  readonly #open = new Map<number, OpenVisit>()
  readonly #users = new Map<string, Set<OpenVisit>>()
  readonly #hearers: Array<(user: string) => void> = []
  /** Sessions of visits are named so: nobody can know it, so no client's id is like it. */
  readonly #name = `$http/${randomBytes(9).toString('base64url')}`
  #count = 0
  #made = 0
  #closed = false

  constructor (context: VisitsContext, limits: VisitLimits) {
    this.#context = context
    this.#limits = limits
  }

  /** Those that are open. */
  get count (): number { return this.#count }

  /** Undefined when too many are open: of this user (`user`), or in all. */
  enter (user: string): Visit | 'user' | 'all' {
    if (this.#closed || this.#count >= this.#limits.visits) return 'all'
    let visits = this.#users.get(user)
    if (visits !== undefined && visits.size >= this.#limits.visitsPerUser) return 'user'
    if (visits === undefined) this.#users.set(user, visits = new Set())
    const visit: OpenVisit = new OpenVisit(this.#context, this.#open, `${user}/${this.#name}/${(++this.#made).toString(36)}`, user, () => { this.#left(visit) })
    visits.add(visit)
    this.#count++
    return visit
  }

  #left (visit: OpenVisit): void {
    const visits = this.#users.get(visit.user)
    if (visits?.delete(visit) !== true) return
    this.#count--
    if (visits.size === 0) this.#users.delete(visit.user)
  }

  /** Calls `hear` with each user whose sign-ins are to be looked at anew. */
  onKick (hear: (user: string) => void): void { this.#hearers.push(hear) }

  /** Who the user is has to be asked again: the account was banned, removed or changed, or one session is to end. */
  kick (user: string, session: string | undefined, code: KickCode): void {
    if (code === 'taken_over') return
    for (const hear of this.#hearers) hear(user)
    if (session !== undefined) return
    for (const visit of this.#users.get(user) ?? []) visit.kicked = code
  }

  /** The engine's answer; false: it is not to a visit. */
  settled (verdict: Verdict): boolean {
    const visit = this.#open.get(verdict.ref)
    if (visit === undefined) return false
    this.#open.delete(verdict.ref)
    visit.settled(verdict)
    return true
  }

  /** Nobody comes any more, and who waits is told that there is no answer. */
  close (): void {
    this.#closed = true
    for (const [ref, visit] of [...this.#open]) {
      this.#open.delete(ref)
      visit.settled(failed(ref))
    }
  }
}

class OpenVisit implements Visit {
  kicked: Code | undefined
  readonly user: string
  readonly #session: string
  readonly #context: VisitsContext
  readonly #open: Map<number, OpenVisit>
  readonly #left: () => void
  #resolve: ((verdict: Verdict) => void) | undefined
  /** While it is the engine's. */
  #ref: number | undefined
  #isMessage = false
  /** Bytes of room that its answer has. */
  #room = 0
  #ended = false

  constructor (context: VisitsContext, open: Map<number, OpenVisit>, session: string, user: string, left: () => void) {
    this.#context = context
    this.#open = open
    this.#session = session
    this.user = user
    this.#left = left
  }

  ask (asked: Asked): Promise<Verdict> {
    this.#isMessage = asked.target.kind !== 'rpc' && asked.target.verb === undefined
    return new Promise(resolve => {
      this.#resolve = resolve
      if (asked.target.kind === 'rpc') this.#whenRoom(() => { this.#submit(asked) })
      else this.#submit(asked)
    })
  }

  /** While it waits for room. */
  #leaveQueue: (() => void) | undefined

  #whenRoom (run: () => void): void {
    const { answerRoom } = this.#context
    this.#leaveQueue = undefined
    if (this.#ended) return this.#answer(failed(0))
    if (!answerRoom.take(this.user)) {
      this.#leaveQueue = answerRoom.wait(this.user, () => { this.#whenRoom(run) })
      return
    }
    this.#room = reservedBytes
    run()
  }

  #submit ({ target, payload, ...more }: Asked): void {
    const { tick, intake, pending } = this.#context
    const ref = this.#ref = pending.skip()
    this.#open.set(ref, this)
    // QoS 0: nothing is remembered of a packet, as there is none. The answer comes all the same.
    const submission: Submission = { ref, session: this.#session, user: this.user, target, payload, qos: 0, packetId: 0, dup: false, ...more }
    if (this.#isMessage) submission.whole = true
    intake.take()
    tick.submit(submission)
  }

  settled (verdict: Verdict): void {
    this.#ref = undefined
    const { pressure } = this.#context.pump
    if (verdict.ok !== true || verdict.conv === undefined || this.#ended || !pressure.on(verdict.conv)) return this.#answer(verdict)
    const waiting: Waiting = { release: () => { this.#answer(verdict) } }
    pressure.wait(verdict.conv, waiting)
  }

  #answer (verdict: Verdict): void {
    if (this.#ended) this.#give(0)
    else if (this.#room > 0) this.#give(verdict.ok === true ? verdict.answer?.length ?? 0 : 0)
    this.#resolve?.(verdict)
  }

  /** Its answer takes so many bytes from now on. */
  #give (bytes: number): void {
    const change = bytes - this.#room
    this.#room = bytes
    this.#context.answerRoom.change(this.user, change)
  }

  end (): void {
    if (this.#ended) return
    this.#ended = true
    this.#left()
    const { engine, tick } = this.#context
    const ref = this.#ref
    if (this.#leaveQueue !== undefined) {
      // Or what it asked would be kept until there is room.
      this.#leaveQueue()
      this.#leaveQueue = undefined
      return this.#answer(failed(0))
    }
    if (ref === undefined) return this.#give(0)
    // A message is stored whoever waits; a request is served for nobody else.
    if (this.#isMessage) return
    for (const one of tick.discard(this.#session)) {
      this.#open.delete(one.ref)
      this.settled(failed(one.ref))
    }
    engine.hangUp(this.#session, false)
  }
}
