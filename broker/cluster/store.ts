/**
 * A store that several servers share: each conversation and event log is written by its owner. What this server has to write of others' logs it leaves to
 * them, and does by itself when they do not answer in time, or do not know that they are the owners: operations have keys (ADR 25), so what is done twice is
 * done once, and the database sees to it that numbers are unique whoever gives them. Rows that the owner has in memory are named to it then.
 */
import type { Logger } from 'pino'
import type { Output } from '../link/port.ts'
import type { Marks, Moved, Operation, Outcome, Store } from '../store/store.ts'
import { StoreClosedError } from '../store/errors.ts'
import { GroupCommit } from './group-commit.ts'
import { mostWaits, PeerUnavailableError } from './link.ts'
import type { Link } from './link.ts'
import { RowMemory } from './row-memory.ts'
import type { Ownership } from './ownership.ts'
import { logOf, split } from './split.ts'
import { served, type ServedOutcome, type Told } from './told.ts'
import { WrappedStore } from './wrapped-store.ts'

/** A server that did not answer is not asked for so many times as long as it was waited for: all that this server commits would wait for it. */
const leftAloneTimes = 3

/** Messages (or events) that are stored although their commit failed: nobody was told of them. */
export interface Untold { log: string, after: number, upTo: number, senders: string[] }

export interface ClusterStoreOptions {
  inner: Store
  link: Pick<Link, 'ask' | 'tellAll' | 'on' | 'onBroken'>
  ownership: Ownership
  /** Milliseconds after which an owner that does not answer is not waited for: as the link's. */
  requestTimeoutMs: number
  log: Logger
  onUntold?: (untold: Untold[]) => void
  /** What was committed here for another server, for the sessions here. */
  onServed?: (outputs: Output[]) => void
  /** What owners have said to their own sessions. */
  told?: Told
  /** Milliseconds of a clock that only goes forward. */
  steady?: () => number
}

interface Settings { muted?: boolean, pinned?: boolean }
type MemberMarks = Pick<Marks, 'members' | 'events'>

/** What was done by the owners of logs, and what was done here for them. */
export interface ClusterCounts { asked: number, served: number, fellBack: number }

export class ClusterStore extends WrappedStore {
  readonly counts: ClusterCounts = { asked: 0, served: 0, fellBack: 0 }
  readonly #options: ClusterStoreOptions
  readonly #group: GroupCommit
  readonly #memory: RowMemory
  readonly #steady: () => number
  /** Servers that did not answer, with until when they are not asked. */
  readonly #silent = new Map<string, number>()
  /** What an `advance` has moved that failed: said with the next one. */
  #moved: Moved = []
  #tail: Promise<unknown> = Promise.resolve()
  #closed = false

  constructor (options: ClusterStoreOptions) {
    super(options.inner)
    this.#options = options
    this.#steady = options.steady ?? (() => performance.now())
    this.#group = new GroupCommit({ commit: operations => options.inner.commit(operations), steady: this.#steady })
    this.#memory = new RowMemory(options)
    this.#serve()
  }

  override commit (operations: readonly Operation[]): Promise<Outcome[]> {
    if (this.#closed) return Promise.reject(new StoreClosedError())
    // One after the other: of a conversation the order stays, whoever commits it.
    const turn = this.#tail.then(() => this.#commit(operations))
    this.#tail = turn.catch(ignored)
    return turn
  }

  override async advance (marks: Marks): Promise<Moved> {
    const [own, foreign] = this.#splitMarks(marks)
    const moved = await this.inner.advance(foreign.size === 0 ? marks : { ...marks, ...own })
    const results = await Promise.allSettled([...foreign].map(([owner, some]) => this.#advanceAt(owner, some)))
    this.#moved.push(...moved, ...results.flatMap(result => result.status === 'fulfilled' ? result.value : []))
    const failed = results.find(result => result.status === 'rejected')
    if (failed !== undefined) throw failed.reason
    const all = this.#moved
    this.#moved = []
    return all
  }

  override hide (user: string, conv: string, seqs: readonly number[]): Promise<number> {
    return this.#at(conv, 'hide', { user, conv, seqs }, () => this.inner.hide(user, conv, seqs))
  }

  override clear (user: string, conv: string): Promise<void> { return this.#at(conv, 'clear', { user, conv }, () => this.inner.clear(user, conv)) }

  override settings (user: string, conv: string, change: Settings): Promise<void> {
    return this.#at(conv, 'settings', { user, conv, change }, () => this.inner.settings(user, conv, change))
  }

  /** Resolves when nothing is under way; nothing is looked up any more of what others have left. */
  async settled (): Promise<void> {
    await this.#tail
    await this.#group.settled()
    await this.#memory.close()
  }

  override async close (): Promise<void> {
    this.#closed = true
    await this.settled()
    await this.inner.close()
  }

  async #commit (operations: readonly Operation[]): Promise<Outcome[]> {
    const outcomes: Outcome[] = []
    for (const shares of split(operations, log => this.#ownerOf(log))) {
      const results = await Promise.allSettled([...shares].map(async ([owner, places]) => {
        const some = places.length === operations.length ? operations : places.map(at => operations[at] as Operation)
        const done = owner === undefined ? await this.#group.commit(some) : await this.#commitAt(owner, some)
        for (const [i, at] of places.entries()) outcomes[at] = done[i] as Outcome
      }))
      const failed = results.find(result => result.status === 'rejected')
      if (failed === undefined) continue
      this.#untold(operations, outcomes)
      throw failed.reason
    }
    return outcomes
  }

  async #commitAt (owner: string, operations: readonly Operation[]): Promise<Outcome[]> {
    const outcomes = await this.#ask(owner, 'commit', operations) as ServedOutcome[] | undefined
    if (outcomes?.length === operations.length) {
      this.#options.told?.note(owner, operations, outcomes)
      return outcomes
    }
    return (await this.#group.commit(operations)).map((outcome, i) => ownOutcome(operations[i] as Operation, outcome))
  }

  #untold (operations: readonly Operation[], outcomes: readonly Outcome[]): void {
    const untold = new Map<string, Untold>()
    for (const [at, op] of operations.entries()) {
      const outcome = outcomes[at]
      if (outcome === undefined || outcome.replay || outcome.seq === 0) continue
      const log = logOf(op)
      const { seq } = outcome
      const known = untold.get(log)
      if (known === undefined) untold.set(log, { log, after: seq - 1, upTo: seq, senders: op.op === 'message' ? [op.from] : [] })
      else {
        known.upTo = Math.max(known.upTo, seq)
        if (op.op === 'message' && !known.senders.includes(op.from)) known.senders.push(op.from)
      }
    }
    if (untold.size > 0) this.#options.onUntold?.([...untold.values()])
  }

  #splitMarks (marks: Marks): [MemberMarks, Map<string, MemberMarks>] {
    const own: MemberMarks = { members: [], events: [] }
    const foreign = new Map<string, MemberMarks>()
    const shareOf = (log: string): MemberMarks => {
      const owner = this.#ownerOf(log)
      if (owner === undefined) return own
      let share = foreign.get(owner)
      if (share === undefined) foreign.set(owner, share = { members: [], events: [] })
      return share
    }
    for (const mark of marks.members) shareOf(mark.conv).members.push(mark)
    for (const mark of marks.events) shareOf(`e:${mark.user}`).events.push(mark)
    return [own, foreign]
  }

  async #advanceAt (owner: string, marks: MemberMarks): Promise<Moved> {
    // Who has read waits for it, and who was given something does not.
    const canWait = marks.members.every(({ readSeq }) => readSeq === undefined)
    const answer = await this.#ask(owner, canWait ? 'delivered' : 'advance', marks, canWait) as Moved | undefined
    if (answer !== undefined) return answer
    const moved = await this.inner.advance({ ...marks, cursors: [] })
    // Those that stand where they were to be moved to: the owner may have moved them, and what it answered did not come.
    const known = new Set(moved.map(({ user, conv }) => `${user} ${conv}`))
    const doubtful = marks.members.filter(({ user, conv }) => !known.has(`${user} ${conv}`))
    const rows = doubtful.length === 0 ? [] : await this.inner.membersAt(doubtful)
    for (const [i, { user, conv, readSeq, deliveredSeq }] of doubtful.entries()) {
      const row = rows[i]
      if (row === undefined) continue
      const [read, delivered] = [row.readSeq === readSeq, row.deliveredSeq === deliveredSeq]
      if (read || delivered) moved.push({ user, conv, read, delivered, row })
    }
    return moved
  }

  async #at<T> (conv: string, kind: string, body: unknown, here: () => Promise<T>): Promise<T> {
    const owner = this.#ownerOf(conv)
    const answer = owner === undefined ? undefined : await this.#ask(owner, kind, body) as { done: T } | undefined
    return answer === undefined ? await here() : answer.done
  }

  #ownerOf (log: string): string | undefined {
    const owner = this.#options.ownership.otherOwner(log)
    if (owner === undefined || this.#silent.size === 0) return owner
    const until = this.#silent.get(owner)
    if (until === undefined) return owner
    if (this.#steady() < until) return undefined
    this.#silent.delete(owner)
    return owner
  }

  /** Resolves to undefined when the owner does not do it. */
  async #ask (owner: string, kind: string, body: unknown, canWait = false): Promise<unknown> {
    const { link, log, requestTimeoutMs } = this.#options
    this.counts.asked++
    const since = this.#steady()
    try {
      return await link.ask(owner, kind, body, { canWait })
    } catch (error) {
      this.counts.fellBack++
      if (error instanceof PeerUnavailableError) this.#silent.set(owner, this.#steady() + leftAloneTimes * Math.max(requestTimeoutMs, this.#steady() - since))
      log.debug({ err: error, owner, kind }, 'the owner of a log does not do it: it is done here')
      return undefined
    }
  }

  async #commitFor (operations: readonly Operation[]): Promise<Outcome[]> {
    const { requestTimeoutMs, onServed } = this.#options
    const outcomes = await this.#group.commit(operations, mostWaits * requestTimeoutMs)
    if (onServed === undefined) return outcomes
    const { outputs, answer } = served(operations, outcomes)
    if (outputs.length > 0) onServed(outputs)
    return answer
  }

  /** What others leave to this server. */
  #serve (): void {
    const { link, inner } = this.#options
    const serve = <T>(kind: string, logsOf: (body: T) => string[], run: (body: T) => Promise<unknown>, canWait = false): void => {
      link.on(kind, async (body: T) => {
        if (!logsOf(body).every(log => this.#options.ownership.isMine(log))) throw new Error('this server does not own it')
        this.counts.served++
        return await run(body)
      }, { takesLong: true, canWait })
    }
    serve<Operation[]>('commit', operations => operations.map(logOf), async operations => await this.#commitFor(operations))
    for (const kind of ['advance', 'delivered']) serve<MemberMarks>(kind, logsOfMarks, marks => inner.advance({ ...marks, cursors: [] }), kind === 'delivered')
    serve<{ user: string, conv: string, seqs: number[] }>('hide', ({ conv }) => [conv], async ({ user, conv, seqs }) => ({ done: await inner.hide(user, conv, seqs) }))
    serve<{ user: string, conv: string }>('clear', ({ conv }) => [conv], async ({ user, conv }) => ({ done: await inner.clear(user, conv) }))
    serve<{ user: string, conv: string, change: Settings }>('settings', ({ conv }) => [conv], async ({ user, conv, change }) => ({ done: await inner.settings(user, conv, change) }))
  }
}

function logsOfMarks ({ members, events }: MemberMarks): string[] { return [...members.map(({ conv }) => conv), ...events.map(({ user }) => `e:${user}`)] }

/** Of an operation that was left to another server and then committed here: when it was stored there it is no repeat, for nobody has been told. */
function ownOutcome (op: Operation, outcome: Outcome): Outcome {
  if (op.op !== 'message' || !outcome.replay || outcome.id !== op.id) return outcome
  return { ...outcome, replay: false, ...op.marksSender && { passed: true } }
}

/** It is whose commit it was. */
function ignored (): void {}
