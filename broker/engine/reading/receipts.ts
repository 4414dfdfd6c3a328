/**
 * Delivered and read receipts: events that follow watermarks. One newest event per (reader of it, slot) waits, so a fast reader
 * does not flood the sender; the slot does the same in the event log for those who are offline.
 */
import type { EngineHost } from '../host.ts'
import type { Moved, NewEvent } from '../../store/store.ts'

/** Events in one commit: messages wait while it is made ready and written. */
const chunkSize = 50
/** The pause after a commit is this many times the commit. */
const pauseFactor = 19
/** It is no shorter than this, milliseconds: who reads and who is read must not notice it, and receipts of a moment become one. */
const minPauseMs = 100
/** The same where another server may have to be asked. */
const minPauseOfSeveralMs = 400
/** Receipts kept for another try when the store fails. */
const maxKept = 200_000

/** Marks that were told lately and need not be told again. Entries, about 150 bytes each. */
const maxTold = 50_000

type Slot = 'delivered' | 'read' | 'self-read'

/** A receipt on its way. */
interface Receipt { to: string, slot: Slot, conv: string, by: string, seq: number }

export class Receipts {
  readonly #host: EngineHost
  readonly #maxIntervalMs: number
  readonly #minPauseMs: number
  #waiting = new Map<string, Receipt>()
  /** On their way to the disk. */
  #writing: ReadonlyMap<string, Receipt> = new Map()
  /** How far each slot is known to be told. */
  readonly #told = new Map<string, number>()
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> | undefined
  #pauseMs = 0
  #endedAt = 0
  #closed = false

  /** `maxIntervalMs`: the longest that receipts are merged under load. */
  constructor (host: EngineHost, maxIntervalMs: number) {
    this.#host = host
    this.#maxIntervalMs = maxIntervalMs
    this.#minPauseMs = host.remote === undefined ? minPauseMs : minPauseOfSeveralMs
  }

  /** Watermarks that moved. Group members' marks are asked for by request; only the reader's own devices hear of them. */
  moved (moved: Moved): void {
    for (const { user, conv, read, delivered, row } of moved) {
      const other = conv.startsWith('d:') ? peerOf(conv, user) : undefined
      if (delivered && other !== undefined && other !== user) this.#put({ to: other, slot: 'delivered', conv, by: user, seq: row.deliveredSeq })
      if (read) this.#read(user, conv, row.readSeq, other)
    }
    this.#schedule()
  }

  /** A user's read mark is at `seq`: by a reply, or long since. Nobody is told twice, as far as is known. */
  read (user: string, conv: string, seq: number): void {
    this.#read(user, conv, seq, conv.startsWith('d:') ? peerOf(conv, user) : undefined)
    this.#schedule()
  }

  #read (user: string, conv: string, seq: number, other: string | undefined): void {
    if (other !== undefined && other !== user) this.#put({ to: other, slot: 'read', conv, by: user, seq })
    this.#put({ to: user, slot: 'self-read', conv, by: user, seq })
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
      this.#pauseMs = Math.max(this.#minPauseMs, (this.#endedAt - startedAt) * pauseFactor)
      this.#schedule()
    })
    await this.#running
  }

  async close (): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    await this.flush()
  }

  #put (receipt: Receipt): void {
    const key = keyOf(receipt)
    // A watermark never goes back: replies and marks come by different ways.
    const known = Math.max(this.#told.get(key) ?? 0, this.#writing.get(key)?.seq ?? 0, this.#waiting.get(key)?.seq ?? 0)
    if (receipt.seq <= known) return
    // Deleted first: the newest goes to the end of the order.
    this.#waiting.delete(key)
    this.#waiting.set(key, receipt)
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
    this.#writing = batch
    try {
      const receipts = [...batch.values()]
      for (let at = 0; at < receipts.length; at += chunkSize) {
        const some = receipts.slice(at, at + chunkSize)
        const ts = this.#host.now()
        await this.#host.commit(some.map(receipt => event(receipt, ts)))
        for (const receipt of some) this.#tell(receipt)
      }
    } catch (error) {
      if (this.#waiting.size + batch.size <= maxKept) this.#waiting = new Map([...batch, ...this.#waiting])
      throw error
    } finally {
      this.#writing = new Map()
    }
  }

  #tell (receipt: Receipt): void {
    const key = keyOf(receipt)
    this.#told.delete(key)
    this.#told.set(key, receipt.seq)
    if (this.#told.size > maxTold) this.#told.delete(this.#told.keys().next().value as string)
  }
}

function keyOf ({ to, slot, conv }: Receipt): string { return `${to} ${slot} ${conv}` }

function event ({ to, slot, conv, by, seq }: Receipt, ts: number): NewEvent {
  const kind = slot === 'self-read' ? 'read' : slot
  return { op: 'event', user: to, slot: `${slot} ${conv}`, mark: seq, ts, content: JSON.stringify({ kind, conv, seq, by, ts }) }
}

/** The other user of a direct conversation (oneself in a conversation with oneself). */
export function peerOf (conv: string, user: string): string {
  // `d:{a}:{b}`, and ids hold no colon.
  return conv.startsWith(`${user}:`, 2) ? conv.slice(user.length + 3) : conv.slice(2, conv.indexOf(':', 2))
}
