/**
 * Resends that were read and could not be looked up, as the store took no commit, or did not say whether they may pass (ADR 4).
 * A client that sends a message again on a connection has no answer to it from the one before; when this connection answers
 * neither, the next one's resend may repeat whatever this one's would have. Nothing else is derived from a failure: a message
 * without DUP ends what is remembered of its packet id.
 */
import { repeats } from '../../store/resend.ts'
import type { Remembered } from '../../store/resend.ts'
import type { ConnectionMark, Resend } from '../../store/store.ts'
import type { Entry, Unstored } from './commit-queue.ts'

/** A resend that had no answer, and the connections of which its first try may be: the one before its own, and the ones before that. */
interface Doubt extends Remembered { readonly last: ConnectionMark, readonly earlier: readonly ConnectionMark[] }

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
    const { conv, resend } = op
    if (resend === undefined) return
    this.#recall(op)
    const name = nameOf(resend)
    this.#doubts.delete(name)
    const { dup, digest, epoch, number, last, earlier = [] } = resend
    // On the first connection of a session there is nothing else to repeat than what came on it.
    if (!dup || last === undefined) return
    this.#doubts.set(name, { conv, digest, ts: 0, epoch, number, last, earlier })
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

function nameOf ({ session, packetId }: Resend): string { return `${packetId} ${session}` }
