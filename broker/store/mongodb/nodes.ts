/**
 * Which server processes share the database. Each has a row that it renews; a row that has not changed for `leaseMs`, while the one who looks could
 * read it all along, is removed, and with that its process is over. No clock is compared with another one: only the lengths of their seconds are.
 * Who could not read the database has seen nothing, so nobody is given up because the database was away.
 */
import { randomBytes } from 'node:crypto'
import { StoreUnavailableError } from '../errors.ts'
import type { Nodes } from '../store.ts'
import { quick } from './connection.ts'
import type { Connection } from './connection.ts'

export interface NodeOptions {
  /** The same with each start of one server, and of no other one: a process that opens the database ends what it was before. */
  name: string
  /** The row is gone although the process is there: it has been given up, and has to end. */
  onLost: (error: Error) => void
  /** Milliseconds between two renewals. Default 2000. */
  renewMs?: number
  /** Milliseconds without one after which a process is given up. Default 15 000. */
  leaseMs?: number
}

export class MongoNodes implements Nodes {
  readonly self: string | undefined
  readonly #db: Connection
  readonly #options: NodeOptions | undefined
  readonly #renewMs: number
  readonly #leaseMs: number
  /** What the rows of others said, and since when they are known to have said it. */
  readonly #seen = new Map<string, { renewals: number, sinceMs: number }>()
  #lookedAtMs = -Infinity
  #timer: NodeJS.Timeout | undefined
  #round: Promise<void> | undefined
  #closed: Promise<void> | undefined

  /** Without `options` it looks, and has no row: for who is no server. */
  constructor (db: Connection, options: NodeOptions | undefined) {
    this.#db = db
    this.#options = options
    this.#renewMs = options?.renewMs ?? 2_000
    this.#leaseMs = options?.leaseMs ?? 15_000
    this.self = options === undefined ? undefined : randomBytes(9).toString('base64url')
  }

  /** To be called before anything is written under the name of `self`: who has no row is over. */
  async register (): Promise<void> {
    if (this.#options === undefined || this.self === undefined) return
    const { name } = this.#options
    await this.#db.nodes.insertOne({ _id: this.self, name, n: 0 })
    await this.#db.nodes.deleteMany({ name, _id: { $ne: this.self } })
    this.#schedule()
  }

  async over (nodes: readonly string[]): Promise<string[]> {
    if (nodes.length === 0) return []
    const found = await this.#db.read(() => this.#db.nodes.find({ _id: { $in: [...nodes] } }, { readPreference: 'primary' }).toArray())
    const there = new Set(found.map(({ _id }) => _id))
    return nodes.filter(node => !there.has(node))
  }

  /** The process ends: whoever looks knows at once. Never rejects. */
  close (): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close (): Promise<void> {
    clearTimeout(this.#timer)
    await this.#round
    const { self } = this
    if (self === undefined) return
    // A database that is away gives this process up by itself.
    await this.#db.finish(() => this.#db.nodes.deleteOne({ _id: self })).catch(ignored)
  }

  #schedule (): void {
    this.#timer = setTimeout(() => {
      this.#round = this.#renew().catch(ignored).finally(() => {
        this.#round = undefined
        if (this.#closed === undefined) this.#schedule()
      })
    }, this.#renewMs)
    this.#timer.unref()
  }

  async #renew (): Promise<void> {
    const { self } = this
    if (self === undefined) return
    const { matchedCount } = await this.#db.read(() => this.#db.nodes.updateOne({ _id: self }, { $inc: { n: 1 } }, { writeConcern: quick }))
    if (matchedCount > 0) return await this.#look(self)
    this.#closed ??= Promise.resolve()
    this.#options?.onLost(new Error(`this server's row of the collection nodes is gone: it was not renewed for ${this.#leaseMs} ms and another server has given this one up, or another one runs with a copy of its data folder`))
  }

  async #look (self: string): Promise<void> {
    const beganMs = performance.now()
    // What happened between is not known: all have their whole time once more.
    if (beganMs - this.#lookedAtMs > this.#leaseMs / 2) this.#seen.clear()
    const rows = await this.#db.read(() => this.#db.nodes.find({ _id: { $ne: self } }, { readPreference: 'primary' }).toArray())
    this.#lookedAtMs = beganMs
    const readMs = performance.now()
    const there = new Set(rows.map(({ _id }) => _id))
    for (const node of this.#seen.keys()) if (!there.has(node)) this.#seen.delete(node)
    for (const { _id, n } of rows) {
      const seen = this.#seen.get(_id)
      if (seen?.renewals !== n) this.#seen.set(_id, { renewals: n, sinceMs: readMs })
      else if (beganMs - seen.sinceMs >= this.#leaseMs) await this.#db.read(() => this.#db.nodes.deleteOne({ _id, n }))
    }
  }
}

/** The next round is the next try; that the database is away is told by those whose work it stops. */
function ignored (error: unknown): void {
  if (!(error instanceof StoreUnavailableError)) throw error
}
