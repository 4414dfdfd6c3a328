/**
 * Makes good from the database what other servers may have said unheard: messages by a look at what was inserted since, groups and events by each
 * session's own marks. It does not matter who wrote them, or whether that server still is there.
 */
import type { Logger } from 'pino'
import type { Output } from '../link/port.ts'
import type { Store } from '../store/store.ts'

/** An insert that was given up may still be carried out this much later than the id of its document says, milliseconds; and a clock is read in seconds. */
export const lateInsertMs = 15_000
/** What is broken in one moment is mended together, milliseconds. */
const gatherMs = 20
const retryMs = 1_000
const groupsOfQuery = 1_000
/** Users whose groups are looked up at once. */
const usersAtOnce = 16

export interface RepairOptions {
  store: Pick<Store, 'shared' | 'memberships'>
  /** Users with sessions here. */
  users: () => Iterable<string>
  /** To the sessions of this server. */
  output: (outputs: Output[]) => void
  /** What this server remembers of what others may have changed is looked up again. */
  forget: () => Promise<void>
  /** Milliseconds by which clocks of servers differ at most. */
  skewMs: () => number
  steady: () => number
  /** Milliseconds since the epoch. */
  now: () => number
  log: Logger
}

export class Repair {
  readonly #options: RepairOptions
  /** Something may be missed since then (of the steady clock); undefined: nothing is. */
  #since: number | undefined
  /** The same of what is being made good now. */
  #mending: number | undefined
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> | undefined
  #closed = false

  constructor (options: RepairOptions) { this.#options = options }

  /** Something is still to be made good. */
  get isOpen (): boolean { return this.#since !== undefined || this.#running !== undefined }

  /** Milliseconds since which something may be missed; 0: nothing is. */
  get openMs (): number {
    const since = this.#mending ?? this.#since
    return since === undefined ? 0 : this.#options.steady() - since
  }

  /** What was said since then may be missed. */
  missed (sinceMs: number): void {
    this.#since = Math.min(sinceMs, this.#since ?? Infinity)
    this.#plan(gatherMs)
  }

  async close (): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    await this.#running
  }

  #plan (delayMs: number): void {
    if (this.#closed || this.#timer !== undefined || this.#running !== undefined) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#running = this.#run().finally(() => {
        this.#running = undefined
        if (this.#since !== undefined) this.#plan(retryMs)
      })
    }, delayMs)
    this.#timer.unref()
  }

  async #run (): Promise<void> {
    const { log, steady, now } = this.#options
    const since = this.#since
    if (since === undefined) return
    this.#since = undefined
    this.#mending = since
    const agoMs = steady() - since
    const hasReaders = !(this.#options.users()[Symbol.iterator]().next().done ?? false)
    if (hasReaders) log.info({ agoMs: Math.round(agoMs) }, 'words of other servers may be lost: what was written since is looked up')
    try {
      await this.#options.forget()
      if (!hasReaders) return
      await this.#messages(now() - agoMs - this.#options.skewMs() - lateInsertMs)
      await this.#groups()
    } catch (error) {
      log.warn({ err: error }, 'what other servers wrote could not be looked up: it is tried again')
      this.#since = Math.min(since, this.#since ?? Infinity)
    } finally {
      this.#mending = undefined
    }
  }

  async #messages (sinceMs: number): Promise<void> {
    for await (const page of this.#options.store.shared?.inserted(sinceMs) ?? []) {
      const logs = new Map<string, { first: number, last: number, senders: Set<string> }>()
      for (const { conv, seq, from } of page) {
        const log = logs.get(conv)
        if (log === undefined) logs.set(conv, { first: seq, last: seq, senders: new Set([from]) })
        else {
          log.first = Math.min(log.first, seq)
          log.last = Math.max(log.last, seq)
          log.senders.add(from)
        }
      }
      if (this.#closed) return
      this.#options.output([...logs].map(([log, { first, last, senders }]) => ({ kind: 'behind', log, after: first - 1, upTo: last, senders: [...senders] })))
    }
  }

  async #groups (): Promise<void> {
    const users = [...this.#options.users()]
    for (let at = 0; at < users.length && !this.#closed; at += usersAtOnce) {
      const outputs = await Promise.all(users.slice(at, at + usersAtOnce).map(async (user): Promise<Output> => ({ kind: 'groups', user, groups: await this.#groupsOf(user) })))
      this.#options.output(outputs)
    }
  }

  async #groupsOf (user: string): Promise<string[]> {
    const groups: string[] = []
    for (let after: string | undefined; ;) {
      const page = await this.#options.store.memberships(user, { kind: 'g', limit: groupsOfQuery, ...after !== undefined && { after } })
      groups.push(...page.map(({ conv }) => conv.slice(2)))
      after = page.at(-1)?.conv
      if (page.length < groupsOfQuery) return groups
    }
  }
}
