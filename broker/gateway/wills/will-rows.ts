/** Wills on disk: those of connections, and those that wait for their delay, so that the end of the server forgets none. */
import { randomBytes } from 'node:crypto'
import type { RecordChange, Records } from '../../link/core.ts'
import type { Will } from '../../mqtt/index.ts'

/** A will with whose it is. */
export interface KeptWill {
  session: string
  user: string
  will: Will
  /** Seconds from the end of the connection on: its delay, or the session's time when that is shorter. */
  delaySeconds: number
  /** When it is due, milliseconds since the epoch; absent while the connection lasts. */
  dueAt?: number
}

const prefix = 'wills/'
/** '0' follows '/'. */
const end = 'wills0'

/**
 * Writes are not waited for: a CONNECT with a will costs no more than one without, and a row reaches the disk with the next write that is synced.
 * One write is in flight; what is asked meanwhile is the next one.
 */
export class WillRows {
  readonly #records: Pick<Records, 'range' | 'write'> | undefined
  readonly #onError: (error: Error) => void
  readonly #changes = new Map<string, Uint8Array | null>()
  #writing: Promise<void> | undefined
  #closed = false

  /** Without `records` nothing outlives the process. */
  constructor (records: Pick<Records, 'range' | 'write'> | undefined, onError: (error: Error) => void) {
    this.#records = records
    this.#onError = onError
  }

  newId (): string { return randomBytes(9).toString('base64url') }

  key (id: string): string { return prefix + id }

  put (id: string, kept: KeptWill): void { this.#change(id, encode(kept)) }

  drop (id: string): void { this.#change(id, null) }

  /**
   * Leaves the row to who removes it from here on: resolves when no write of it is under way. What the store did not take of it is not tried
   * again: it would come behind the removal. Never rejects.
   */
  async leave (id: string): Promise<void> {
    while (this.#writing !== undefined) await this.#writing
    this.#changes.delete(this.key(id))
  }

  /** What is asked later is not written: an answer that comes after the end finds its row at the next start. */
  async close (): Promise<void> {
    this.#closed = true
    while (this.#writing !== undefined) await this.#writing
  }

  /** Those of an earlier run. A row that cannot be read is left where it is, and told of. */
  async * all (unreadable: (row: string, error: Error) => void): AsyncGenerator<[id: string, kept: KeptWill]> {
    if (this.#records === undefined) return
    for await (const [key, value] of this.#records.range(prefix, end)) {
      let kept: KeptWill
      try {
        kept = decode(value)
      } catch (error) {
        unreadable(key, error as Error)
        continue
      }
      yield [key.slice(prefix.length), kept]
    }
  }

  #change (id: string, value: Uint8Array | null): void {
    if (this.#records === undefined || this.#closed) return
    this.#changes.set(this.key(id), value)
    this.#writing ??= this.#write(this.#records).finally(() => { this.#writing = undefined })
  }

  async #write (records: Pick<Records, 'write'>): Promise<void> {
    // A turn later, so that many that come or go at once are one write.
    await new Promise(resolve => { setImmediate(resolve) })
    while (this.#changes.size > 0) {
      const changes: RecordChange[] = [...this.#changes].map(([key, value]) => ({ key, value }))
      this.#changes.clear()
      try {
        await records.write(changes, false)
      } catch (error) {
        // Tried again with the next change; what is newer stays.
        for (const { key, value } of changes) if (!this.#changes.has(key)) this.#changes.set(key, value)
        this.#onError(error as Error)
        return
      }
    }
  }
}

interface Row { s: string, u: string, d: number, at?: number, t: string, p: string, q: 0 | 1 | 2, r?: 1, x?: object, c?: string }

function encode ({ session, user, will, delaySeconds, dueAt }: KeptWill): Buffer {
  const { topic, payload, qos, retain, properties } = will
  const row: Row = { s: session, u: user, d: delaySeconds, t: topic, p: payload.toString('base64'), q: qos }
  if (retain) row.r = 1
  if (dueAt !== undefined) row.at = dueAt
  if (properties !== undefined) {
    const { correlationData, ...rest } = properties
    row.x = rest
    if (correlationData !== undefined) row.c = correlationData.toString('base64')
  }
  return Buffer.from(JSON.stringify(row))
}

/** Throws for what is no row of `encode`. */
function decode (value: Uint8Array): KeptWill {
  const row = JSON.parse(Buffer.from(value).toString()) as Row
  if (!isRow(row)) throw new Error('it has not the members of a will')
  const { s: session, u: user, d: delaySeconds, at, t: topic, p, q: qos, r, x, c } = row
  const will: Will = { topic, payload: Buffer.from(p, 'base64'), qos, retain: r === 1 }
  if (x !== undefined) will.properties = { ...x, ...c !== undefined && { correlationData: Buffer.from(c, 'base64') } }
  return { session, user, will, delaySeconds, ...at !== undefined && { dueAt: at } }
}

function isRow (row: Partial<Row> | null): row is Row {
  if (typeof row !== 'object' || row === null) return false
  const { s, u, d, at, t, p, q, x, c } = row
  const texts = [s, u, t, p, ...c === undefined ? [] : [c]].every(one => typeof one === 'string')
  const numbers = [d, q, ...at === undefined ? [] : [at]].every(Number.isFinite)
  return texts && numbers && (q === 0 || q === 1 || q === 2) && (x === undefined || (typeof x === 'object' && x !== null))
}
