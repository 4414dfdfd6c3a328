/** What waits for the next commit, in the order in which it came. */
import type { Verdict } from '../../link/port.ts'
import type { Draft } from '../../plugin-api.ts'
import type { NewMessage, Operation, Outcome, TimeMs } from '../../store/store.ts'
import { removesMembers } from './member-changes.ts'
import type { StoreFailure } from './store-failure.ts'

/** Operations of the server itself, committed as a whole. */
export interface Job {
  readonly operations: readonly Operation[]
  resolve (outcomes: Outcome[]): void
  reject (error: StoreFailure): void
}

/** A publish as far as a resend of it is known. */
export type Unstored = Pick<NewMessage, 'conv' | 'resend'>

/** A message that passed the gates. `whole`: its verdict says all of it. */
export interface MessageEntry { readonly kind: 'message', readonly session: string, readonly ref: number, readonly message: NewMessage, readonly draft: Draft, readonly whole: boolean }

/** One place in the queue. */
export type Entry =
  | MessageEntry
  /** An answer that is known already, behind those of the session's earlier messages; `unstored`: to a publish that failed before it was here. */
  | { readonly kind: 'verdict', readonly session: string, readonly verdict: Verdict, readonly unstored?: Unstored }
  /** Who waits until the session's earlier messages have their verdicts; false when they failed. */
  | { readonly kind: 'fence', readonly session: string, readonly pass: (ok: boolean) => void }
  | { readonly kind: 'job', readonly job: Job }

/** What goes to the store at once: the operations of the entries, in their order. */
export interface Batch { readonly entries: Entry[], readonly operations: Operation[], jobs: boolean }

/** Operations of one batch (a single job may have more), and characters of its content. */
export interface BatchLimits { readonly maxOperations: number, readonly maxLength: number }

/** Entries that were taken, and still lie in front, before the rest moves up. */
const mostTaken = 10_000

export class CommitQueue {
  readonly #limits: BatchLimits
  #pending: Entry[] = []
  #head = 0

  constructor (limits: BatchLimits) { this.#limits = limits }

  get isEmpty (): boolean { return this.#head === this.#pending.length }
  /** Entries that wait. */
  get size (): number { return this.#pending.length - this.#head }
  /** When the oldest that waits was stamped; Infinity: there is none. */
  get oldest (): TimeMs { return oldestOf(this.#pending, this.#head) }
  push (entry: Entry): void { this.#pending.push(entry) }

  /** Takes what goes into one commit. */
  next (): Batch {
    const batch: Batch = { entries: [], operations: [], jobs: false }
    const { entries, operations } = batch
    const { maxOperations, maxLength } = this.#limits
    let length = 0
    while (this.#head < this.#pending.length) {
      const entry = this.#pending[this.#head] as Entry
      if (entry.kind === 'message') {
        const { message } = entry
        if (operations.length > 0 && (operations.length >= maxOperations || length + message.content.length > maxLength)) break
        operations.push(message)
        length += message.content.length
      } else if (entry.kind === 'job') {
        const { job } = entry
        if (operations.length > 0 && operations.length + job.operations.length > maxOperations) break
        for (const operation of job.operations) operations.push(operation)
        batch.jobs = true
      }
      entries.push(entry)
      this.#head += 1
      // Who is removed must not post behind it: what is queued is looked at again after this commit.
      if (entry.kind === 'job' && entry.job.operations.some(removesMembers)) break
    }
    this.#moveUp()
    return batch
  }

  #moveUp (): void {
    if (this.#head === this.#pending.length) {
      this.#pending = []
      this.#head = 0
    } else if (this.#head > mostTaken) {
      this.#pending = this.#pending.slice(this.#head)
      this.#head = 0
    }
  }

  /** Takes out what waits of these sessions. */
  takeOf (sessions: ReadonlySet<string>): Entry[] {
    const taken: Entry[] = []
    const kept: Entry[] = []
    for (let i = this.#head; i < this.#pending.length; i++) {
      const entry = this.#pending[i] as Entry
      if (entry.kind !== 'job' && sessions.has(entry.session)) taken.push(entry)
      else kept.push(entry)
    }
    this.#pending = kept
    this.#head = 0
    return taken
  }

  /** Puts a verdict in the place of each waiting message that `judge` has one for. */
  judge (judge: (entry: MessageEntry) => Verdict | undefined): void {
    for (let i = this.#head; i < this.#pending.length; i++) {
      const entry = this.#pending[i] as Entry
      const verdict = entry.kind === 'message' ? judge(entry) : undefined
      if (verdict !== undefined) this.#pending[i] = { kind: 'verdict', session: (entry as MessageEntry).session, verdict }
    }
  }
}

/** When the oldest of these was stamped, from the one at `first` on; Infinity: there is none. */
export function oldestOf (entries: readonly Entry[], first = 0): TimeMs {
  let oldest = Infinity
  for (let i = first; i < entries.length; i++) {
    const entry = entries[i] as Entry
    if (entry.kind === 'message') oldest = Math.min(oldest, entry.message.ts)
    else if (entry.kind === 'job') for (const operation of entry.job.operations) if ('ts' in operation) oldest = Math.min(oldest, operation.ts)
  }
  return oldest
}
