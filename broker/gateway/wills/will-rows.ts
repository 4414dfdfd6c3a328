/** Wills on disk: those of connections, and those that wait for their delay, so that the end of the server forgets none. */
import { randomBytes } from 'node:crypto'
import { Few } from '../../few.ts'
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

/** What a server needs of a store that it shares with others: the rows of each of them are apart. */
export interface SharedRows {
  /** This process. */
  readonly self: string
  /** Which of these are over for good. Rejects when that cannot be told. */
  over (nodes: readonly string[]): Promise<string[]>
  /** Changes a row, or removes it (`null`), while it holds `from`; false: it does not, and is as it was. */
  swap (key: string, from: Uint8Array, to: Uint8Array | null): Promise<boolean>
}

/** A row that another process, or an earlier version, left. */
export interface LeftWill { id: string, /** as stored */ value: Uint8Array, kept: KeptWill }

const prefix = 'wills/'
/** '0' follows '/'. */
const end = 'wills0'
/** Rows that are changed at a time. */
const swapsAtOnce = 16

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
  readonly #swaps = new Few(swapsAtOnce)
  /** Rows of which a change is under way that has to find them. */
  readonly #deferred = new Map<string, Promise<void>>()
  readonly shared: SharedRows | undefined

  /** Without `records` nothing outlives the process. */
  constructor (records: Pick<Records, 'range' | 'write'> | undefined, shared: SharedRows | undefined, onError: (error: Error) => void) {
    this.#records = records
    this.#onError = onError
    this.shared = shared
  }

  /** Where others share the store, it begins with this process and the session, by which they find it. */
  newId (session: string, name = randomBytes(9).toString('base64url')): string { return this.shared === undefined ? name : `${this.shared.self}/${session} ${name}` }

  key (id: string): string { return prefix + id }

  put (id: string, kept: KeptWill): void { this.#change(id, encode(kept)) }

  drop (id: string): void { this.#change(id, null) }

  /** The time at which a will is due, which waits from now on. A row that another process has removed meanwhile stays removed. */
  defer (id: string, kept: KeptWill, dueAt: number): void {
    if (this.shared === undefined) return this.put(id, { ...kept, dueAt })
    const done = this.#defer(this.shared, id, kept, dueAt).catch((error: unknown) => { this.#onError(error as Error) }).finally(() => { this.#deferred.delete(id) })
    this.#deferred.set(id, done)
  }

  async #defer ({ swap }: SharedRows, id: string, kept: KeptWill, dueAt: number): Promise<void> {
    while (this.#writing !== undefined) await this.#writing
    // It has not come to be: nobody can have removed it.
    if (this.#changes.has(this.key(id))) return this.put(id, { ...kept, dueAt })
    await new Promise<void>(resolve => { this.#swaps.enter(resolve) })
    try {
      await swap(this.key(id), encode(kept), encode({ ...kept, dueAt }))
    } finally {
      this.#swaps.leave()
    }
  }

  /** A will that waited is sent by this process from here on: false when another one has its row, or the session went on there. */
  async take (id: string): Promise<boolean> {
    if (this.shared === undefined || this.#records === undefined) return true
    await this.#deferred.get(id)
    while (this.#writing !== undefined) await this.#writing
    const key = this.key(id)
    // The store has not taken it.
    if (this.#changes.has(key)) return true
    let mine = false
    for await (const [found, value] of this.#records.range(key, key + ' ', 1)) {
      mine = found === key && await this.shared.swap(key, value, encode({ ...decode(value), dueAt: sent }))
    }
    return mine
  }

  /** Makes a row of another process this one's, with its name; undefined: another one was first. */
  async claim ({ id, value, kept }: LeftWill): Promise<string | undefined> {
    const own = this.newId(kept.session, nameOf(id))
    // First: a crash in between leaves two rows of one name, never none.
    await this.#records?.write([{ key: this.key(own), value: encode({ ...kept, dueAt: sent }) }], false)
    if (await this.shared?.swap(this.key(id), value, null) === true) return own
    this.drop(own)
    return undefined
  }

  /** False: its process has changed it meanwhile. */
  async remove ({ id, value }: LeftWill): Promise<boolean> { return await this.shared?.swap(this.key(id), value, null) ?? true }

  /** Of a process that is over. */
  async begin ({ id, value, kept }: LeftWill, dueAt: number): Promise<void> { await this.shared?.swap(this.key(id), value, encode({ ...kept, dueAt })) }

  /** What another process has of a session. */
  async * ofSession (node: string, session: string): AsyncGenerator<LeftWill> {
    const start = `${prefix}${node}/${session}`
    for await (const one of this.#rows(`${start} `, `${start}!`, () => {})) if (one.kept.session === session) yield one
  }

  /** The rows of processes that are over, and of earlier versions. */
  async * left (unreadable: (row: string, error: Error) => void): AsyncGenerator<LeftWill> {
    if (this.#records === undefined || this.shared === undefined) return
    const { self, over } = this.shared
    const nodes: string[] = []
    // One look for each process that has rows, however many those are.
    for (let from = prefix, more = true; more;) {
      more = false
      for await (const [key] of this.#records.range(from, end, 1)) {
        more = true
        const [node = '', ...rest] = key.slice(prefix.length).split('/')
        if (rest.length > 0 && node !== self) nodes.push(node)
        if (rest.length === 0) yield * this.#rows(key, `${key} `, unreadable)
        from = rest.length > 0 ? `${prefix}${node}0` : `${key} `
      }
    }
    if (nodes.length === 0) return
    for (const node of await over(nodes)) yield * this.#rows(`${prefix}${node}/`, `${prefix}${node}0`, unreadable)
  }

  async * #rows (from: string, to: string, unreadable: (row: string, error: Error) => void): AsyncGenerator<LeftWill> {
    if (this.#records === undefined) return
    for await (const [key, value] of this.#records.range(from, to)) {
      let kept: KeptWill
      try {
        kept = decode(value)
      } catch (error) {
        unreadable(key, error as Error)
        continue
      }
      yield { id: key.slice(prefix.length), value, kept }
    }
  }

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
    await Promise.all(this.#deferred.values())
    this.#closed = true
    while (this.#writing !== undefined) await this.#writing
  }

  /** Those of an earlier run. A row that cannot be read is left where it is, and told of. */
  async * all (unreadable: (row: string, error: Error) => void): AsyncGenerator<[id: string, kept: KeptWill]> {
    if (this.#records === undefined) return
    for await (const { id, kept } of this.#rows(prefix, end, unreadable)) yield [id, kept]
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

/** The due time of what is being sent: whoever finds it sends it. */
const sent = 1

/** What a will is called, whoever has its row. */
export function nameOf (id: string): string { return id.slice(id.lastIndexOf(' ') + 1) }

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
