/**
 * The key-value space of ordinary MQTT. Calls that wait for the server share one write. A call is not atomic here: rows are
 * put before rows are removed, so what a crash in the middle leaves is more rows, never fewer.
 */
import { Binary } from 'mongodb'
import type { Records } from '../store.ts'
import type { Connection } from './connection.ts'
import { durable, quick, whole } from './connection.ts'
import { StoreClosedError } from '../errors.ts'
import { isDuplicate } from './failure.ts'

const rowsOfQuery = 500

export class MongoRecords implements Records {
  readonly #db: Connection
  #waiting: { rows: Map<string, Uint8Array | null>, sync: boolean, done: Promise<void> } | undefined
  #tail: Promise<void> = Promise.resolve()

  constructor (db: Connection) { this.#db = db }

  async get (name: string): Promise<Uint8Array | undefined> {
    const doc = await this.#db.read(() => this.#db.records.findOne({ _id: name }))
    return doc === null ? undefined : bytes(doc.v)
  }

  async create (name: string, value: Uint8Array): Promise<Uint8Array> {
    if (this.#db.closing) throw new StoreClosedError()
    // Behind the writes that were taken, and those that are taken from now on come behind it.
    this.#waiting = undefined
    const done = this.#tail.then(() => this.#db.finish(async () => {
      const filter = { _id: name }
      for (;;) {
        try {
          await this.#db.records.insertOne({ ...filter, v: new Binary(value) })
          return value
        } catch (error) {
          if (!isDuplicate(error)) throw error
        }
        const present = await this.#db.records.findOne(filter)
        if (present !== null) return bytes(present.v)
      }
    }))
    this.#tail = done.then(() => undefined, () => undefined)
    return await done
  }

  async swap (name: string, from: Uint8Array, to: Uint8Array | null): Promise<boolean> {
    const { records } = this.#db
    const filter = { _id: name, v: new Binary(from) }
    return await this.#db.read(async () => to === null
      ? (await records.deleteOne(filter)).deletedCount > 0
      : (await records.updateOne(filter, { $set: { v: new Binary(to) } })).matchedCount > 0)
  }

  async * range (from: string, to: string, limit = Infinity): AsyncGenerator<[string, Uint8Array], void> {
    let filter: { $gte: string, $lt: string } | { $gt: string, $lt: string } = { $gte: from, $lt: to }
    for (let left = limit; left > 0;) {
      const some = Math.min(left, rowsOfQuery)
      const docs = await this.#db.read(() => this.#db.records.find({ _id: filter }, whole).sort({ _id: 1 }).limit(some).toArray())
      for (const doc of docs) yield [doc._id, bytes(doc.v)]
      if (docs.length < some) return
      left -= docs.length
      filter = { $gt: (docs.at(-1) as { _id: string })._id, $lt: to }
    }
  }

  async write (ops: Array<{ key: string, value: Uint8Array | null }>, sync: boolean): Promise<void> {
    if (ops.length === 0) return
    if (this.#db.closing) throw new StoreClosedError()
    if (this.#waiting === undefined) {
      const group = { rows: new Map<string, Uint8Array | null>(), sync: false, done: Promise.resolve() }
      group.done = this.#tail.then(() => {
        if (this.#waiting === group) this.#waiting = undefined
        return this.#db.finish(() => this.#put(group.rows, group.sync))
      })
      // The error belongs to the callers; the queue goes on.
      this.#tail = group.done.then(() => undefined, () => undefined)
      this.#waiting = group
    }
    for (const { key, value } of ops) this.#waiting.rows.set(key, value)
    this.#waiting.sync ||= sync
    await this.#waiting.done
  }

  /** Waits for the writes that were taken. */
  async settled (): Promise<void> { await this.#tail }

  async #put (rows: ReadonlyMap<string, Uint8Array | null>, sync: boolean): Promise<void> {
    const writeConcern = sync ? { ...durable, wtimeoutMS: this.#db.timeoutMs } : quick
    const put = [...rows].flatMap(([_id, value]) => value === null ? [] : [{ replaceOne: { filter: { _id }, replacement: { v: new Binary(value) }, upsert: true } }])
    const gone = [...rows].flatMap(([_id, value]) => value === null ? [_id] : [])
    if (put.length > 0) await this.#db.bulk(this.#db.records, put, { ordered: false, writeConcern })
    if (gone.length > 0) await this.#db.records.deleteMany({ _id: { $in: gone } }, { writeConcern })
  }
}

function bytes (value: Binary): Uint8Array { return new Uint8Array(value.value()) }
