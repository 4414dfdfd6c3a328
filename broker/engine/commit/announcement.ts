/** What a commit has to say: verdicts, messages, events and members for the gateway, in order; then what listeners hear. */
import type { Committed, Output } from '../../link/port.ts'
import type { Draft, Stored } from '../../plugin-api.ts'
import type { NewMessage, Operation, Outcome, StoredMessage } from '../../store/store.ts'
import { directUsers } from '../../topics.ts'
import { envelope, eventPayload } from '../envelope.ts'
import type { Batch, Job, MessageEntry } from './commit-queue.ts'
import { pushMembers } from './member-changes.ts'
import type { MemberChanges } from './member-changes.ts'

/** Who hears of what was committed. */
export interface Listeners {
  /** True when anyone does. */
  readonly listens: boolean
  /** Never throws, and waits for nobody. */
  stored (message: Stored): void
}

/** What is told of while a batch is announced. */
export interface Hearers {
  readonly listeners: Listeners
  /** Sending moved the sender's read mark past messages of others. */
  readonly onReplied?: (user: string, conv: string, seq: number) => void
}

export class Announcement {
  readonly outputs: Output[] = []
  /** Messages that are new, and repeats. */
  messages = 0
  replays = 0
  readonly #hearers: Hearers
  readonly #changes: MemberChanges | undefined
  readonly #heard: Array<() => void> = []

  constructor (hearers: Hearers, changes: MemberChanges | undefined) {
    this.#hearers = hearers
    this.#changes = changes
  }

  /** To be called once, with the outcomes of the batch's operations. */
  batch ({ entries }: Batch, outcomes: readonly Outcome[]): void {
    let at = 0
    for (const entry of entries) {
      if (entry.kind === 'message') this.#message(entry, outcomes[at++] as Outcome)
      else if (entry.kind === 'verdict') this.outputs.push(entry.verdict)
      else if (entry.kind === 'job') at = this.#job(entry.job, outcomes, at)
    }
  }

  /** To be called when the outputs have been handed over: listeners come after everybody who waits. */
  tellListeners (): void { for (const hear of this.#heard) hear() }

  #message ({ ref, message, draft, whole }: MessageEntry, outcome: Outcome): void {
    const { conv } = message
    const { id, seq } = outcome
    if (whole) this.outputs.push({ kind: 'verdict', ref, ok: true, conv, id, seq, stored: { ts: outcome.ts, cid: message.cid ?? id, replay: outcome.replay } })
    else this.outputs.push({ kind: 'verdict', ref, ok: true, conv, id, seq })
    this.#changes?.apply(message, outcome)
    if (outcome.missed !== undefined) this.#missed(conv, outcome.missed)
    // Also of a repeat, whose first one may have been stored right before a crash.
    if (outcome.passed === true || (outcome.replay && message.marksSender)) this.#hearers.onReplied?.(message.from, conv, seq)
    if (outcome.replay) this.replays += 1
    else this.#committed(message, outcome, draft)
  }

  #committed (message: NewMessage, { id, seq, ts, prevTs }: Outcome, draft?: Draft): void {
    this.messages += 1
    this.outputs.push(messageOutput(message, seq, prevTs))
    const { listeners } = this.#hearers
    if (listeners.listens) this.#heard.push(() => { listeners.stored({ ...draft ?? draftOf(message), id, seq, ts }) })
  }

  /** Answers where the outcomes of the next entry begin. */
  #job ({ operations }: Job, outcomes: readonly Outcome[], at: number): number {
    for (const operation of operations) this.#operation(operation, outcomes[at++] as Outcome)
    return at
  }

  #operation (operation: Operation, outcome: Outcome): void {
    const change = this.#changes?.apply(operation, outcome)
    if (change !== undefined) pushMembers(this.outputs, change)
    if (operation.op === 'message') {
      if (outcome.missed !== undefined) this.#missed(operation.conv, outcome.missed)
      if (!outcome.replay) this.#committed(operation, outcome)
    } else if (operation.op === 'event') {
      for (const { seq, content } of outcome.missedEvents ?? []) this.#event(operation.user, seq, content)
      if (!outcome.replay) this.#event(operation.user, outcome.seq, operation.content)
    }
  }

  #event (user: string, seq: number, content: string): void {
    this.outputs.push(eventOutput(user, seq, content))
  }

  /** Messages that an earlier commit stored although it failed: readers hear of them in their order. */
  #missed (conv: string, missed: readonly StoredMessage[]): void {
    const { listeners } = this.#hearers
    for (const { seq, id, ts, from, content, expiresAt } of missed) {
      const message: NewMessage = { op: 'message', conv, from, id, ts, counts: true, marksSender: false, content, ...(expiresAt === undefined ? {} : { expiresAt }) }
      this.outputs.push(messageOutput(message, seq))
      if (listeners.listens) this.#heard.push(() => { listeners.stored({ ...draftOf(message), id, seq, ts }) })
    }
  }
}

/** What receivers get of a message, `prevTs`: the time of the one before it. */
export function messageOutput (message: NewMessage, seq: number, prevTs?: number): Committed {
  const payload = envelope(message.conv, seq, message.content)
  const output: Committed = { kind: 'message', conv: message.conv, seq, from: message.from, payload }
  if (message.expiresAt !== undefined) output.expiresAt = message.expiresAt
  if (prevTs !== undefined) output.prevTs = prevTs
  return output
}

/** What a user gets of an event. */
export function eventOutput (user: string, seq: number, content: string): Output {
  return { kind: 'event', user, seq, payload: eventPayload(seq, content) }
}

/** What listeners hear of a message that the server wrote itself. */
function draftOf ({ conv, from, content, cid }: NewMessage): Draft {
  const { type, body } = JSON.parse(`{${content}}`) as { type: string, body: unknown }
  const id = conv.slice(2)
  const [a, b] = directUsers(conv)
  const to = conv.startsWith('g:') ? { kind: 'group' as const, id } : { kind: 'user' as const, id: a === from ? b : a }
  return { from, session: '', conv, to, type, body, cid, sizeBytes: Buffer.byteLength(JSON.stringify(body)) }
}
