/** Keys and the batching writer of the ordinary topics' rows. */

/** One change of a row; `value: null` removes it. */
export interface RecordChange { key: string, value: Uint8Array | null }

/** The key-value space that the persistence needs (the store's `Records` fits); keys are compared as UTF-8. */
export interface RecordsLike {
  get (key: string): Promise<Uint8Array | undefined>
  /** Rows with `from <= key < to`, in order. */
  range (from: string, to: string, limit?: number): AsyncIterable<[string, Uint8Array]>
  /** Atomic; on disk when `sync`. */
  write (ops: RecordChange[], sync: boolean): Promise<void>
}

/** `r/{topic}` retained, `u/{client}/{filter}` subscription, `q/{client}/{seq}` queued body or reference to one, `b/{number}` shared body, `s/{client}/{seq}` its state, … */
export type RowKind = 'r' | 'u' | 'q' | 'b' | 's' | 'i' | 'w' | 'p'

// Client ids are any UTF-8, '/' included: escaped so that '/' ends the id in a key.
const escape = (id: string) => id.replaceAll('%', '%25').replaceAll('/', '%2F')
const unescape = (id: string) => id.replaceAll('%2F', '/').replaceAll('%25', '%')
const seqDigits = 14

export function retainedKey (topic: string): string { return `r/${topic}` }
export function subscriptionKey (client: string, filter: string): string { return `u/${escape(client)}/${filter}` }
export function bodyKey (client: string, seq: number): string { return numbered('q', client, seq) }
/** A body that several queues refer to. */
export function sharedKey (id: number): string { return `b/${String(id).padStart(seqDigits, '0')}` }
export function stateKey (client: string, seq: number): string { return numbered('s', client, seq) }
export function incomingKey (client: string, packetId: number): string { return numbered('i', client, packetId) }
export function willKey (client: string): string { return `w/${escape(client)}` }
export function sessionKey (client: string): string { return `p/${escape(client)}` }

function numbered (kind: RowKind, client: string, n: number): string {
  return `${kind}/${escape(client)}/${String(n).padStart(seqDigits, '0')}`
}

/** The bounds of all rows of a kind, or of one client's rows of that kind ('0' follows '/' in UTF-8). */
export function bounds (kind: RowKind, client?: string): [string, string] {
  const root = client === undefined ? kind : `${kind}/${escape(client)}`
  return [`${root}/`, `${root}0`]
}

/** Splits a row's key into the client id and what follows it. */
export function splitKey (key: string): { client: string, rest: string } {
  const slash = key.indexOf('/', 2)
  return slash < 0
    ? { client: unescape(key.slice(2)), rest: '' }
    : { client: unescape(key.slice(2, slash)), rest: key.slice(slash + 1) }
}

interface Request { changes: RecordChange[], sync: boolean, resolve?: (() => void) | undefined, reject?: (error: unknown) => void }

/**
 * One write in flight; what arrives meanwhile is the next one (natural group commit, no timer). Requests are applied and
 * answered in the order of the calls.
 */
export class BatchWriter {
  readonly #records: RecordsLike
  readonly #onError: (error: unknown) => void
  #pending: Request[] = []
  /** Changes that nobody waited for and whose write failed: they go with the next write. By key, so they stay bounded. */
  #carried = new Map<string, RecordChange>()
  #running = false

  constructor (records: RecordsLike, onError: (error: unknown) => void) {
    this.#records = records
    this.#onError = onError
  }

  /** Resolves when the changes are on disk (synced unless `sync` is false); if it rejects, none of them is. */
  write (changes: RecordChange[], sync = true): Promise<void> {
    return new Promise((resolve, reject) => { this.#push({ changes, sync, resolve, reject }) })
  }

  /** Writes without anybody waiting; tried again with the next write when it fails. `written` is called when the first try succeeds. */
  later (changes: RecordChange[], sync = false, written?: () => void): void {
    this.#push({ changes, sync, resolve: written })
  }

  /** Resolves when everything that was asked before is written (or failed). */
  flush (): Promise<void> {
    return this.#running ? new Promise(resolve => { this.#push({ changes: [], sync: false, resolve, reject: () => resolve() }) }) : Promise.resolve()
  }

  #push (request: Request): void {
    this.#pending.push(request)
    if (this.#running) return
    this.#running = true
    // A microtask later, so that what one read of a socket brings is one batch.
    queueMicrotask(() => { this.#run().catch(this.#onError) })
  }

  async #run (): Promise<void> {
    while (this.#pending.length > 0) {
      const batch = this.#pending
      this.#pending = []
      const changes = [...this.#carried.values()]
      let sync = false
      for (const request of batch) {
        changes.push(...request.changes)
        sync ||= request.sync
      }
      try {
        if (changes.length > 0) await this.#records.write(changes, sync)
        this.#carried.clear()
        for (const request of batch) request.resolve?.()
      } catch (error) {
        this.#onError(error)
        for (const request of batch) {
          if (request.reject !== undefined) request.reject(error)
          else for (const change of request.changes) this.#carried.set(change.key, change)
        }
      }
    }
    this.#running = false
  }
}
