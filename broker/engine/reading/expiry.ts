/**
 * Unread messages that have expired are not unread. `n` cannot go back when time passes, so they are taken off whenever unread is
 * asked for: what counts and expires is remembered by conversation, with its time, and counted against the clock. The list, the
 * totals and the badges all ask here, so they agree at every moment.
 */
import type { Conversation, Store, TimeMs } from '../../store/store.ts'
import { KeyedQueue } from '../keyed-queue.ts'

/** Messages with an expiry in memory, all conversations together; 16 bytes each. */
const maxKept = 1_000_000
/** Of one conversation. What lies behind so many unread ones is counted as unread until they are read. */
const maxOfConversation = 500_000
/** Rows of one read. */
const pageSize = 5_000
/** Conversations that are looked up at the same time. */
const lookups = 20

/** What counts and expires in a conversation, `from < seq <= upTo`, ascending. It never changes; later ones are appended. */
interface Known { from: number, upTo: number, seqs: number[], times: TimeMs[] }

export class Expiry {
  readonly #store: Store
  readonly #known = new Map<string, Known>()
  readonly #queue = new KeyedQueue()
  #kept = 0

  constructor (store: Store) { this.#store = store }

  /** Of each conversation of a user: the messages that are neither read nor hidden and have expired. Asks nothing where nothing expires. */
  async unread (entries: readonly Conversation[], now: TimeMs): Promise<number[]> {
    const counts: number[] = new Array(entries.length).fill(0)
    const open = [...entries.keys()].filter(i => {
      const { member, head } = entries[i] as Conversation
      return (head.expiring ?? 0) > member.readSeq
    })
    for (let at = 0; at < open.length; at += lookups) {
      await Promise.all(open.slice(at, at + lookups).map(async i => { counts[i] = await this.#count(entries[i] as Conversation, now) }))
    }
    return counts
  }

  async #count ({ member, head }: Conversation, now: TimeMs): Promise<number> {
    const { user, conv, readSeq, hiddenUnread } = member
    const { seqs, times } = await this.#queue.run(conv, () => this.#load(conv, readSeq, head.expiring ?? 0))
    const first = firstAfter(seqs, readSeq)
    const hidden = hiddenUnread === 0 ? undefined : new Set(await this.#store.hidden(user, conv, readSeq, head.seq))
    let count = 0
    for (let i = first; i < seqs.length; i++) {
      const seq = seqs[i] as number
      if (seq > head.seq) break
      if (times[i] as number <= now && hidden?.has(seq) !== true) count++
    }
    return count
  }

  async #load (conv: string, from: number, upTo: number): Promise<Known> {
    let known = this.#known.get(conv)
    if (known === undefined || from < known.from) {
      this.#forget(conv)
      known = { from, upTo: from, seqs: [], times: [] }
    } else {
      this.#known.delete(conv)
      this.#kept -= known.seqs.length
    }
    while (known.upTo < upTo && known.seqs.length < maxOfConversation) {
      const rows = await this.#store.expiring(conv, known.upTo, pageSize)
      for (const { seq, expiresAt } of rows) {
        known.seqs.push(seq)
        known.times.push(expiresAt)
      }
      known.upTo = rows.length < pageSize ? Math.max(upTo, rows.at(-1)?.seq ?? 0) : (rows.at(-1) as { seq: number }).seq
    }
    // The last asked for is the last to be forgotten.
    this.#known.set(conv, known)
    this.#kept += known.seqs.length
    for (const oldest of this.#known.keys()) {
      if (this.#kept <= maxKept || oldest === conv) break
      this.#forget(oldest)
    }
    return known
  }

  #forget (conv: string): void {
    this.#kept -= this.#known.get(conv)?.seqs.length ?? 0
    this.#known.delete(conv)
  }
}

/** The place of the first number above `seq` in an ascending list. */
function firstAfter (seqs: readonly number[], seq: number): number {
  let [low, high] = [0, seqs.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (seqs[middle] as number <= seq) low = middle + 1
    else high = middle
  }
  return low
}
