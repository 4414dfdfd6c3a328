/**
 * The one queue in front of the store. One batch is in flight; what arrives meanwhile is the next batch (natural group
 * commit, no timer). Everything that has a place in a session's order goes through it: messages, refusals that must not
 * overtake the verdicts before them, requests that wait for the messages before them, and commits of the control path.
 */
import type { Logger } from 'pino'
import type { Output, Verdict } from '../../link/port.ts'
import type { UnansweredResend } from '../../link/remote.ts'
import type { Draft } from '../../plugin-api.ts'
import type { NewMessage, Operation, Outcome, Store, TimeMs } from '../../store/store.ts'
import { Announcement } from './announcement.ts'
import type { Hearers } from './announcement.ts'
import { CommitQueue } from './commit-queue.ts'
import { oldestOf, type Batch, type Entry, type Unstored } from './commit-queue.ts'
import { Doubts } from './doubts.ts'
import { CommitMeasures } from './commit-measures.ts'
import { changesMembers, MemberChanges } from './member-changes.ts'
import { removals } from './removals.ts'
import { StoreFailure } from './store-failure.ts'

export interface CommitterOptions extends Hearers {
  readonly store: Store
  readonly log: Logger
  readonly output: (outputs: Output[]) => void
  /** A commit failed: what these sessions submitted behind it must fail too, or it would overtake what they send again. */
  readonly onFailed: (sessions: ReadonlySet<string>) => void
  /** Operations of one batch (a single control commit may be larger). */
  readonly maxOperations?: number
  /** Characters of content of one batch. */
  readonly maxLength?: number
  /** Entries that wait, or are being committed, above which senders should wait. */
  readonly maxQueued?: number
}

export class Committer {
  readonly measures = new CommitMeasures()
  readonly #options: CommitterOptions
  readonly #queue: CommitQueue
  readonly #doubts = new Doubts()
  readonly #maxQueued: number
  #running = false
  /** The commit under way. */
  #committing: readonly Entry[] = []
  /** Senders were told to wait. */
  #full = false
  #drained: Array<() => void> = []
  readonly #start = (): void => {
    this.#run().catch((error: unknown) => { this.#options.log.fatal({ err: error }, 'the committer stopped') })
  }

  constructor (options: CommitterOptions) {
    this.#options = options
    this.#maxQueued = options.maxQueued ?? Infinity
    this.#queue = new CommitQueue({ maxOperations: options.maxOperations ?? 2000, maxLength: options.maxLength ?? 4 * 1024 * 1024 })
  }

  /** Queues a message that passed the gates. */
  message (session: string, ref: number, message: NewMessage, draft: Draft, whole = false): void {
    this.#push({ kind: 'message', session, ref, message, draft, whole })
  }

  /** Queues a verdict that is known already, behind those of the session's earlier messages. `unstored`: the publish, when it fails and may come again. */
  answer (session: string, verdict: Verdict, unstored?: Unstored): void {
    this.#push(unstored === undefined ? { kind: 'verdict', session, verdict } : { kind: 'verdict', session, verdict, unstored })
  }

  /** Resolves when the session's earlier messages have their verdicts; to false when they failed. */
  settled (session: string): Promise<boolean> {
    return new Promise(resolve => { this.#push({ kind: 'fence', session, pass: resolve }) })
  }

  /** Commits operations as a whole. Rejects with `StoreFailure`. */
  commit (operations: readonly Operation[]): Promise<Outcome[]> {
    if (operations.length === 0) return Promise.resolve([])
    return new Promise((resolve, reject) => { this.#push({ kind: 'job', job: { operations, resolve, reject } }) })
  }

  /** Resends of a session that had no answer, with those that are about to fail. */
  doubts (session: string, failing: readonly Unstored[]): UnansweredResend[] { return this.#doubts.of(session, failing) }
  /** The same of another server, at which the session was. */
  adopt (session: string, doubts: readonly UnansweredResend[]): void { this.#doubts.adopt(session, doubts) }

  /** Entries that wait, or are being committed. */
  get waiting (): number { return this.#queue.size + this.#committing.length }
  /** When the oldest of what is not committed and said was stamped; Infinity: there is nothing. */
  get oldest (): TimeMs { return Math.min(oldestOf(this.#committing), this.#queue.oldest) }

  /** Resolves when nothing is queued or in flight. */
  drain (): Promise<void> {
    return this.#running ? new Promise(resolve => { this.#drained.push(resolve) }) : Promise.resolve()
  }

  #push (entry: Entry): void {
    this.#queue.push(entry)
    if (!this.#full && this.waiting > this.#maxQueued) this.#fill(true)
    if (this.#running) return
    this.#running = true
    queueMicrotask(this.#start)
  }

  #fill (full: boolean): void {
    this.#full = full
    this.#emit([{ kind: 'intake', full }])
  }

  async #run (): Promise<void> {
    while (!this.#queue.isEmpty) {
      const batch = this.#queue.next()
      this.#committing = batch.entries
      let outcomes: Outcome[] = []
      let changes: MemberChanges | undefined
      if (batch.operations.length > 0) {
        try {
          if (batch.jobs && batch.operations.some(changesMembers)) {
            changes = await MemberChanges.read(this.#options.store, batch.operations)
          }
          this.#doubts.recall(batch.entries)
          const startedAt = performance.now()
          outcomes = await this.#options.store.commit(batch.operations)
          if (outcomes.length !== batch.operations.length) throw new Error('the store answered for another number of operations')
          this.measures.committed(performance.now() - startedAt)
        } catch (error) {
          this.#fail(batch, error)
          this.#committed()
          continue
        }
      }
      this.#publish(batch, outcomes, changes)
      this.#committed()
    }
    this.#running = false
    const drained = this.#drained
    this.#drained = []
    for (const resolve of drained) resolve()
  }

  #committed (): void {
    this.#committing = []
    if (this.#full && this.#queue.size <= this.#maxQueued / 2) this.#fill(false)
  }

  #publish (batch: Batch, outcomes: Outcome[], changes: MemberChanges | undefined): void {
    const { entries, jobs } = batch
    this.#doubts.committed(entries)
    const announcement = new Announcement(this.#options, changes)
    announcement.batch(batch, outcomes)
    this.measures.said(announcement.messages, announcement.replays)
    if (jobs) this.#refuseRemoved(entries)
    this.#emit(announcement.outputs)
    announcement.tellListeners()
    let at = 0
    for (const entry of entries) {
      if (entry.kind === 'message') at += 1
      else if (entry.kind === 'fence') entry.pass(true)
      else if (entry.kind === 'job') entry.job.resolve(outcomes.slice(at, at += entry.job.operations.length))
    }
  }

  #refuseRemoved (entries: readonly Entry[]): void {
    const last = entries.at(-1)
    const judge = last?.kind === 'job' ? removals(last.job.operations) : undefined
    if (judge !== undefined) this.#queue.judge(judge)
  }

  /** The store took nothing of the batch: no acknowledgement for any of it, nor for what the same sessions sent behind it. */
  #fail ({ entries }: Batch, cause: unknown): void {
    this.measures.counts.failures += 1
    this.#options.log.error({ err: cause, entries: entries.length }, 'a commit failed')
    const sessions = new Set<string>()
    for (const entry of entries) if (entry.kind === 'message') sessions.add(entry.session)
    const outputs: Output[] = []
    const fences: Array<() => void> = []
    const settle = (entry: Entry): void => {
      if (entry.kind === 'job') return
      const failed = sessions.has(entry.session)
      if (entry.kind === 'fence') fences.push(() => { entry.pass(!failed) })
      else if (failed) outputs.push({ kind: 'verdict', ref: entry.kind === 'message' ? entry.ref : entry.verdict.ref, ok: 'failed' })
      else if (entry.kind === 'verdict') outputs.push(entry.verdict)
    }
    for (const failed of [entries, this.#queue.takeOf(sessions)]) {
      this.#doubts.failed(failed)
      failed.forEach(settle)
    }
    this.#options.onFailed(sessions)
    this.#emit(outputs)
    for (const pass of fences) pass()
    const error = new StoreFailure(cause)
    for (const entry of entries) if (entry.kind === 'job') entry.job.reject(error)
  }

  #emit (outputs: Output[]): void {
    if (outputs.length === 0) return
    try {
      this.#options.output(outputs)
    } catch (error) {
      // What is committed is committed: the queue goes on. Sessions in whose streams the next number shows a gap read the log.
      this.#options.log.error({ err: error }, 'the receiver of the outputs failed')
    }
  }
}
