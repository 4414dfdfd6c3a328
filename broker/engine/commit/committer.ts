/**
 * The one queue in front of the store. One batch is in flight; what arrives meanwhile is the next batch (natural group
 * commit, no timer). Everything that has a place in a session's order goes through it: messages, refusals that must not
 * overtake the verdicts before them, requests that wait for the messages before them, and commits of the control path.
 */
import type { Logger } from 'pino'
import type { Draft } from '../../plugin-api.ts'
import { StoreUnavailableError } from '../../store/errors.ts'
import type { NewMessage, Operation, Outcome, Store, StoredMessage } from '../../store/store.ts'
import { directUsers } from '../../topics.ts'
import { envelope, eventPayload } from '../messages/envelope.ts'
import type { Gates } from '../intake/gates.ts'
import { changesMembers, MemberChanges, pushMembers, removesMembers } from './member-changes.ts'
import type { Committed, Output, Verdict } from '../../link/port.ts'

/** The store did not take a commit; nothing of it is visible. */
export class StoreFailure extends StoreUnavailableError {
  override readonly name = 'StoreFailure'
  constructor (cause: unknown) { super('the store failed', { cause }) }
}

export interface CommitterOptions {
  readonly store: Store
  readonly gates: Gates
  readonly log: Logger
  readonly output: (outputs: Output[]) => void
  /** A commit failed: what these sessions submitted behind it must fail too, or it would overtake what they send again. */
  readonly onFailed: (sessions: ReadonlySet<string>) => void
  /**
   * Sending moved the sender's read mark past messages of others. Also told of a repeat, whose first one may have been stored
   * right before a crash.
   */
  readonly onReplied?: (user: string, conv: string, seq: number) => void
  /** Operations of one batch (a single control commit may be larger). */
  readonly maxOperations?: number
  /** Characters of content of one batch. */
  readonly maxLength?: number
}

/** What the committer did since the start. */
export interface CommitCounts { commits: number, failures: number, messages: number, replays: number }

interface Job {
  readonly operations: readonly Operation[]
  resolve (outcomes: Outcome[]): void
  reject (error: StoreFailure): void
}

/** One place in the queue; exactly one of `message`, `verdict`, `fence` and `job` is set. */
interface Entry {
  readonly session: string
  readonly ref: number
  message: NewMessage | undefined
  readonly draft: Draft | undefined
  verdict: Verdict | undefined
  readonly fence: ((ok: boolean) => void) | undefined
  readonly job: Job | undefined
}

interface Batch { entries: Entry[], operations: Operation[], jobs: boolean }

export class Committer {
  readonly counts: CommitCounts = { commits: 0, failures: 0, messages: 0, replays: 0 }
  readonly #options: CommitterOptions
  readonly #maxOperations: number
  readonly #maxLength: number
  #pending: Entry[] = []
  #head = 0
  #running = false
  #drained: Array<() => void> = []
  readonly #start = (): void => {
    this.#run().catch((error: unknown) => { this.#options.log.fatal({ err: error }, 'the committer stopped') })
  }

  constructor (options: CommitterOptions) {
    this.#options = options
    this.#maxOperations = options.maxOperations ?? 2000
    this.#maxLength = options.maxLength ?? 4 * 1024 * 1024
  }

  /** Queues a message that passed the gates. */
  message (session: string, ref: number, message: NewMessage, draft: Draft): void {
    this.#push({ session, ref, message, draft, verdict: undefined, fence: undefined, job: undefined })
  }

  /** Queues a verdict that is known already, behind those of the session's earlier messages. */
  answer (session: string, verdict: Verdict): void {
    this.#push({ session, ref: verdict.ref, message: undefined, draft: undefined, verdict, fence: undefined, job: undefined })
  }

  /** Resolves when the session's earlier messages have their verdicts; to false when they failed. */
  settled (session: string): Promise<boolean> {
    return new Promise(resolve => {
      this.#push({ session, ref: 0, message: undefined, draft: undefined, verdict: undefined, fence: resolve, job: undefined })
    })
  }

  /** Commits operations as a whole. Rejects with `StoreFailure`. */
  commit (operations: readonly Operation[]): Promise<Outcome[]> {
    if (operations.length === 0) return Promise.resolve([])
    return new Promise((resolve, reject) => {
      const job = { operations, resolve, reject }
      this.#push({ session: '', ref: 0, message: undefined, draft: undefined, verdict: undefined, fence: undefined, job })
    })
  }

  /** Resolves when nothing is queued or in flight. */
  drain (): Promise<void> {
    return this.#running ? new Promise(resolve => { this.#drained.push(resolve) }) : Promise.resolve()
  }

  #push (entry: Entry): void {
    this.#pending.push(entry)
    if (this.#running) return
    this.#running = true
    queueMicrotask(this.#start)
  }

  async #run (): Promise<void> {
    while (this.#head < this.#pending.length) {
      const batch = this.#next()
      let outcomes: Outcome[] = []
      let changes: MemberChanges | undefined
      if (batch.operations.length > 0) {
        try {
          if (batch.jobs && batch.operations.some(changesMembers)) {
            changes = await MemberChanges.read(this.#options.store, batch.operations)
          }
          outcomes = await this.#options.store.commit(batch.operations)
          if (outcomes.length !== batch.operations.length) throw new Error('the store answered for another number of operations')
          this.counts.commits += 1
        } catch (error) {
          this.#fail(batch, error)
          continue
        }
      }
      this.#publish(batch, outcomes, changes)
    }
    this.#running = false
    const drained = this.#drained
    this.#drained = []
    for (const resolve of drained) resolve()
  }

  #next (): Batch {
    const batch: Batch = { entries: [], operations: [], jobs: false }
    const { entries, operations } = batch
    let length = 0
    while (this.#head < this.#pending.length) {
      const entry = this.#pending[this.#head] as Entry
      const { message, job } = entry
      if (message !== undefined) {
        if (operations.length > 0 && (operations.length >= this.#maxOperations || length + message.content.length > this.#maxLength)) break
        operations.push(message)
        length += message.content.length
      } else if (job !== undefined) {
        if (operations.length > 0 && operations.length + job.operations.length > this.#maxOperations) break
        for (const operation of job.operations) operations.push(operation)
        batch.jobs = true
      }
      entries.push(entry)
      this.#head += 1
      // Who is removed must not post behind it: what is queued is looked at again after this commit.
      if (job?.operations.some(removesMembers) === true) break
    }
    if (this.#head === this.#pending.length) {
      this.#pending = []
      this.#head = 0
    } else if (this.#head > 10_000) {
      this.#pending = this.#pending.slice(this.#head)
      this.#head = 0
    }
    return batch
  }

  #publish ({ entries, jobs }: Batch, outcomes: Outcome[], changes: MemberChanges | undefined): void {
    const outputs: Output[] = []
    const heard: Array<() => void> = []
    const { gates } = this.#options
    let at = 0
    for (const { ref, message, draft, verdict, job } of entries) {
      if (message !== undefined) {
        const outcome = outcomes[at++] as Outcome
        const { conv } = message
        const { id, seq } = outcome
        outputs.push({ kind: 'verdict', ref, ok: true, conv, id, seq })
        if (changes !== undefined) changes.apply(message, outcome)
        if (outcome.missed !== undefined) this.#announceMissed(conv, outcome.missed, outputs, heard)
        if (outcome.passed === true || (outcome.replay && message.marksSender)) this.#options.onReplied?.(message.from, conv, seq)
        if (outcome.replay) {
          this.counts.replays += 1
          continue
        }
        this.counts.messages += 1
        outputs.push(committed(message, seq))
        if (gates.listens && draft !== undefined) heard.push(() => gates.stored({ ...draft, id, seq, ts: outcome.ts }))
      } else if (verdict !== undefined) {
        outputs.push(verdict)
      } else if (job !== undefined) {
        for (const operation of job.operations) {
          const outcome = outcomes[at++] as Outcome
          const change = changes?.apply(operation, outcome)
          if (change !== undefined) pushMembers(outputs, change)
          if (operation.op === 'message' && outcome.missed !== undefined) this.#announceMissed(operation.conv, outcome.missed, outputs, heard)
          if (operation.op === 'event') {
            for (const { seq, content } of outcome.missedEvents ?? []) {
              outputs.push({ kind: 'event', user: operation.user, seq, payload: eventPayload(seq, content) })
            }
          }
          if (outcome.replay) continue
          if (operation.op === 'event') {
            outputs.push({ kind: 'event', user: operation.user, seq: outcome.seq, payload: eventPayload(outcome.seq, operation.content) })
          } else if (operation.op === 'message') {
            this.counts.messages += 1
            outputs.push(committed(operation, outcome.seq))
            if (gates.listens) heard.push(() => gates.stored({ ...draftOf(operation), id: outcome.id, seq: outcome.seq, ts: outcome.ts }))
          }
        }
      }
    }
    if (jobs) this.#refuseRemoved(entries)
    this.#emit(outputs)
    for (const hear of heard) hear()
    at = 0
    for (const { message, fence, job } of entries) {
      if (message !== undefined) at += 1
      fence?.(true)
      if (job !== undefined) job.resolve(outcomes.slice(at, at += job.operations.length))
    }
  }

  /** Messages that an earlier commit stored although it failed: readers hear of them in their order. */
  #announceMissed (conv: string, missed: readonly StoredMessage[], outputs: Output[], heard: Array<() => void>): void {
    const { gates } = this.#options
    for (const { seq, id, ts, from, content, expiresAt } of missed) {
      const message: NewMessage = { op: 'message', conv, from, id, ts, counts: true, marksSender: false, content, ...(expiresAt === undefined ? {} : { expiresAt }) }
      outputs.push(committed(message, seq))
      if (gates.listens) heard.push(() => gates.stored({ ...draftOf(message), id, seq, ts }))
    }
  }

  /** The store took nothing of the batch: no acknowledgement for any of it, nor for what the same sessions sent behind it. */
  #fail ({ entries }: Batch, cause: unknown): void {
    this.counts.failures += 1
    this.#options.log.error({ err: cause, entries: entries.length }, 'a commit failed')
    const sessions = new Set<string>()
    for (const { session, message } of entries) if (message !== undefined) sessions.add(session)
    const outputs: Output[] = []
    const fences: Array<() => void> = []
    const settle = (entry: Entry): void => {
      const failed = sessions.has(entry.session)
      if (entry.fence !== undefined) fences.push(() => entry.fence?.(!failed))
      else if (failed) outputs.push({ kind: 'verdict', ref: entry.ref, ok: 'failed' })
      else if (entry.verdict !== undefined) outputs.push(entry.verdict)
    }
    for (const entry of entries) settle(entry)
    const kept: Entry[] = []
    for (let i = this.#head; i < this.#pending.length; i++) {
      const entry = this.#pending[i] as Entry
      if (entry.job === undefined && sessions.has(entry.session)) settle(entry)
      else kept.push(entry)
    }
    this.#pending = kept
    this.#head = 0
    this.#options.onFailed(sessions)
    this.#emit(outputs)
    for (const fence of fences) fence()
    const error = new StoreFailure(cause)
    for (const { job } of entries) job?.reject(error)
  }

  /** Messages that were let in while the removal of their sender, or of the group, was on its way to the disk. */
  #refuseRemoved (entries: readonly Entry[]): void {
    const groups = new Set<string>()
    const members = new Set<string>()
    for (const operation of entries.at(-1)?.job?.operations ?? []) {
      if (operation.op === 'group.drop') groups.add(`g:${operation.gid}`)
      if (operation.op === 'member.drop') members.add(`g:${operation.gid}/${operation.user}`)
      if (operation.op === 'group') groups.delete(`g:${operation.group.gid}`)
      if (operation.op === 'member') members.delete(`g:${operation.gid}/${operation.user}`)
    }
    if (groups.size === 0 && members.size === 0) return
    for (let i = this.#head; i < this.#pending.length; i++) {
      const entry = this.#pending[i] as Entry
      const { message } = entry
      if (message === undefined || !(groups.has(message.conv) || members.has(`${message.conv}/${message.from}`))) continue
      entry.message = undefined
      entry.verdict = {
        kind: 'verdict',
        ref: entry.ref,
        ok: false,
        code: 'not_found',
        reason: 'you are not a member of such a group',
        ...(message.cid !== undefined && { cid: message.cid })
      }
    }
  }

  #emit (outputs: Output[]): void {
    if (outputs.length === 0) return
    try {
      this.#options.output(outputs)
    } catch (error) {
      // What is committed is committed: the queue goes on, and sessions read the log when they notice the gap.
      this.#options.log.error({ err: error }, 'the receiver of the outputs failed')
    }
  }
}

function committed (message: NewMessage, seq: number): Committed {
  const payload = envelope(message.conv, seq, message.content)
  const output: Committed = { kind: 'message', conv: message.conv, seq, from: message.from, payload }
  if (message.expiresAt !== undefined) output.expiresAt = message.expiresAt
  return output
}

/** What listeners hear of a message that the server wrote itself. */
function draftOf ({ conv, from, content, cid }: NewMessage): Draft {
  const { type, body } = JSON.parse(`{${content}}`) as { type: string, body: unknown }
  const id = conv.slice(2)
  const [a, b] = directUsers(conv)
  const to = conv.startsWith('g:') ? { kind: 'group' as const, id } : { kind: 'user' as const, id: a === from ? b : a }
  return { from, session: '', conv, to, type, body, cid, sizeBytes: Buffer.byteLength(JSON.stringify(body)) }
}
