/**
 * Resends that were read and could not be looked up, as the store took no commit, or did not say whether they may pass (ADR 4).
 * A client that sends a message again on a connection has no answer to it from the one before; when this connection answers
 * neither, the next one's resend may repeat whatever this one's would have. Nothing else is derived from a failure: a message
 * without DUP ends what is remembered of its packet id.
 */
import { repeats } from '../../store/resend.ts'
import type { Resend } from '../../store/store.ts'
import type { UnansweredResend } from '../../link/remote.ts'
import type { Entry, Unstored } from './commit-queue.ts'

/** A resend that had no answer, and the connections of which its first try may be: the one before its own, and the ones before that. */
interface Doubt extends Omit<UnansweredResend, 'packetId'> { readonly ts: 0 }

/** Connections in a row that answered nothing. */
const mostEarlier = 16

/** About 300 bytes each. */
const mostDoubts = 100_000

export class Doubts {
  readonly #most: number
  readonly #doubts = new Map<string, Doubt>()

  /** `most`: packet ids that are remembered; those of the oldest failures make way. */
  constructor (most = mostDoubts) { this.#most = most }

  get size (): number { return this.#doubts.size }

  /** What is in doubt of a session's packet ids, with what of it is about to fail: for the server at which the session goes on. */
  of (session: string, failing: readonly Unstored[]): UnansweredResend[] {
    const doubts = new Map<string, Doubt>()
    for (const [name, doubt] of this.#doubts) if (name.slice(name.indexOf(' ') + 1) === session) doubts.set(name, doubt)
    for (const op of failing) {
      this.#recall(op)
      const doubt = doubtOf(op)
      if (op.resend !== undefined && doubt !== undefined) doubts.set(nameOf(op.resend), doubt)
    }
    return [...doubts].map(([name, { ts: _, ...doubt }]) => ({ packetId: Number.parseInt(name), ...doubt }))
  }

  /** Takes up what another server had of a session. */
  adopt (session: string, doubts: readonly UnansweredResend[]): void {
    for (const { packetId, ...doubt } of doubts) this.#keep(nameOf({ session, packetId }), { ...doubt, ts: 0 })
  }

  /** Before a commit: adds to its resends what they may repeat beside the last connection's. */
  recall (entries: readonly Entry[]): void {
    if (this.#doubts.size === 0) return
    for (const entry of entries) if (entry.kind === 'message') this.#recall(entry.message)
  }

  /** The entries are committed, in their order. */
  committed (entries: readonly Entry[]): void {
    for (const entry of entries) {
      if (entry.kind === 'verdict' && entry.unstored !== undefined) this.#failed(entry.unstored)
      else if (entry.kind === 'message' && this.#doubts.size > 0 && entry.message.resend !== undefined) this.#doubts.delete(nameOf(entry.message.resend))
    }
  }

  /** Of the entries, in their order, nothing is committed, as far as is known. */
  failed (entries: readonly Entry[]): void {
    for (const entry of entries) {
      if (entry.kind === 'message') this.#failed(entry.message)
      else if (entry.kind === 'verdict' && entry.unstored !== undefined) this.#failed(entry.unstored)
    }
  }

  #failed (op: Unstored): void {
    const { resend } = op
    if (resend === undefined) return
    this.#recall(op)
    const name = nameOf(resend)
    const doubt = doubtOf(op)
    if (doubt === undefined) this.#doubts.delete(name)
    else this.#keep(name, doubt)
  }

  #keep (name: string, doubt: Doubt): void {
    this.#doubts.delete(name)
    this.#doubts.set(name, doubt)
    if (this.#doubts.size <= this.#most) return
    const [oldest] = this.#doubts.keys()
    this.#doubts.delete(oldest as string)
  }

  #recall ({ conv, resend }: Unstored): void {
    if (resend?.dup !== true) return
    const doubt = this.#doubts.get(nameOf(resend))
    if (doubt === undefined || !repeats({ conv, ts: 0, resend }, doubt, Infinity)) return
    const { epoch, last, earlier } = doubt
    resend.earlier = epoch === resend.epoch ? earlier : [last, ...earlier].slice(0, mostEarlier)
  }
}

function doubtOf ({ conv, resend }: Unstored): Doubt | undefined {
  // On the first connection of a session there is nothing else to repeat than what came on it.
  if (resend?.dup !== true || resend.last === undefined) return undefined
  const { digest, epoch, number, last, earlier = [] } = resend
  return { conv, digest, ts: 0, epoch, number, last, earlier }
}

function nameOf ({ session, packetId }: Pick<Resend, 'session' | 'packetId'>): string { return `${packetId} ${session}` }
