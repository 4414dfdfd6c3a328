/**
 * Delivered and read receipts: events that follow watermarks. One newest event per (reader of it, slot) waits, so a fast reader
 * does not flood the sender; the slot does the same in the event log for those who are offline.
 */
import type { EngineHost } from './host.ts'
import type { Moved, NewEvent } from '../store/store.ts'

/** Events in one commit. */
const chunkSize = 1_000
/** The pause after a commit is this many times the commit. */
const pauseFactor = 19
/** Receipts kept for another try when the store fails. */
const maxKept = 200_000

export class Receipts {
  readonly #host: EngineHost
  readonly #maxIntervalMs: number
  #waiting = new Map<string, NewEvent>()
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> | undefined
  #pauseMs = 0
  #endedAt = 0
  #closed = false

  /** `maxIntervalMs`: the longest that receipts are merged under load. */
  constructor (host: EngineHost, maxIntervalMs: number) {
    this.#host = host
    this.#maxIntervalMs = maxIntervalMs
  }

  /** Watermarks that moved. Group members' marks are asked for by request; only the reader's own devices hear of them. */
  moved (moved: Moved): void {
    for (const { user, conv, read, delivered, row } of moved) {
      const other = conv.startsWith('d:') ? peerOf(conv, user) : undefined
      if (other !== undefined && other !== user) {
        if (delivered) this.#put('delivered', conv, other, user, row.deliveredSeq)
        if (read) this.#put('read', conv, other, user, row.readSeq)
      }
      if (read) this.#put('self-read', conv, user, user, row.readSeq)
    }
    this.#schedule()
  }

  /** Commits what waits. */
  async flush (): Promise<void> {
    while (this.#running !== undefined) await this.#running
    if (this.#waiting.size === 0) return
    clearTimeout(this.#timer)
    this.#timer = undefined
    const startedAt = performance.now()
    this.#running = this.#commit().finally(() => {
      this.#running = undefined
      this.#endedAt = performance.now()
      this.#pauseMs = (this.#endedAt - startedAt) * pauseFactor
      this.#schedule()
    })
    await this.#running
  }

  async close (): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    await this.flush()
  }

  #put (slotKind: 'delivered' | 'read' | 'self-read', conv: string, to: string, by: string, seq: number): void {
    const kind = slotKind === 'self-read' ? 'read' : slotKind
    const slot = `${slotKind} ${conv}`
    const key = `${to} ${slot}`
    const ts = this.#host.now()
    // Deleted first: the newest goes to the end of the order.
    this.#waiting.delete(key)
    this.#waiting.set(key, { op: 'event', user: to, slot, ts, content: JSON.stringify({ kind, conv, seq, by, ts }) })
  }

  #schedule (): void {
    if (this.#closed || this.#timer !== undefined || this.#waiting.size === 0) return
    const rest = this.#pauseMs - (performance.now() - this.#endedAt)
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.flush().catch((error: unknown) => { this.#host.log.error({ err: error }, 'receipts were not written') })
    }, Math.min(Math.max(0, rest), this.#maxIntervalMs))
    this.#timer.unref()
  }

  async #commit (): Promise<void> {
    const batch = this.#waiting
    this.#waiting = new Map()
    try {
      const events = [...batch.values()]
      for (let at = 0; at < events.length; at += chunkSize) await this.#host.commit(events.slice(at, at + chunkSize))
    } catch (error) {
      if (this.#waiting.size + batch.size <= maxKept) this.#waiting = new Map([...batch, ...this.#waiting])
      throw error
    }
  }
}

/** The other user of a direct conversation (oneself in a conversation with oneself). */
export function peerOf (conv: string, user: string): string {
  // `d:{a}:{b}`, and ids hold no colon.
  return conv.startsWith(`${user}:`, 2) ? conv.slice(user.length + 3) : conv.slice(2, conv.indexOf(':', 2))
}
