/**
 * Users' event logs. The insert of an event is what counts, and (user, number) is unique; the head is derived: one that is
 * not in memory is read together with what the log holds behind it.
 */
import type { AnyBulkWriteOperation } from 'mongodb'
import { Lru } from '../cache/lru.ts'
import type { NewEvent, Outcome, StoredEvent } from '../store.ts'
import type { Connection } from './connection.ts'
import { oneOf, quick, whole } from './connection.ts'
import type { EventDoc, EventHeadDoc } from './documents.ts'
import { duplicates, isUnnamedDuplicate } from './failure.ts'
import { pieces } from './rows.ts'

export interface EventHead { seq: number, deliveredSeq: number }

const usersOfQuery = 200

export class EventLog {
  readonly #db: Connection
  readonly #cache: Lru<EventHead>
  /** Users of rejected commits, with the last number that was told. */
  readonly #told = new Map<string, number>()
  #changes = 0

  constructor (db: Connection, cacheSize: number) {
    this.#db = db
    this.#cache = new Lru(cacheSize)
  }

  /** Appends events in their order. Inside `exclusive`. */
  async append (ops: readonly NewEvent[]): Promise<Outcome[]> {
    const users = [...new Set(ops.map(op => op.user))]
    const seqs: number[] = []
    try {
      for (const started = performance.now(); ;) {
        const heads = await this.heads(users)
        for (let i = seqs.length; i < ops.length; i++) seqs.push(++(heads.get((ops[i] as NewEvent).user) as EventHead).seq)
        await this.#db.fault('events')
        const refused = await this.#insert(ops, seqs)
        if (refused === undefined) {
          await this.#db.fault('event heads')
          await this.#db.bulk(this.#db.eventHeads, [...heads].map(([user, head]) => forward(user, head)), { ordered: false })
          this.#settle(heads)
          return await this.#outcomes(ops, seqs)
        }
        // Another process appended to the same logs: what was not taken is numbered again.
        seqs.length = refused
        this.#forget(users)
        if (performance.now() - started > 2 * this.#db.timeoutMs) throw new Error('another process goes on writing the same event logs')
      }
    } catch (error) {
      this.#forget(users)
      for (const [i, seq] of seqs.entries()) this.untold((ops[i] as NewEvent).user, seq - 1)
      throw error
    }
  }

  /** Of what a user's log holds behind `seq` nobody may have been told: its commit is rejected. */
  untold (user: string, seq: number): void { this.#told.set(user, Math.min(seq, this.#told.get(user) ?? seq)) }

  /** The commit is answered: what these logs hold is told. */
  told (users: Iterable<string>): void { for (const user of users) this.#told.delete(user) }

  /** Outcomes of events; the first one of a user has what rejected commits have stored all the same. */
  async #outcomes (ops: readonly NewEvent[], seqs: readonly number[]): Promise<Outcome[]> {
    const outcomes = ops.map(({ ts }, i): Outcome => ({ seq: seqs[i] as number, n: 0, id: '', ts, replay: false }))
    if (this.#told.size === 0) return outcomes
    const users = new Set<string>()
    await Promise.all(outcomes.map(async (outcome, i) => {
      const { user } = ops[i] as NewEvent
      const after = this.#told.get(user)
      if (after === undefined || users.has(user)) return
      users.add(user)
      const missed = (await this.events(user, after, outcome.seq - after)).filter(event => event.seq < outcome.seq)
      if (missed.length > 0) outcome.missedEvents = missed
    }))
    return outcomes
  }

  /**
   * Writes the events; resolves to the place of the first one that was refused. An event that is there already is written
   * again as it is. One event a slot, at most: a newer one takes the place of the older one's document.
   */
  async #insert (ops: readonly NewEvent[], seqs: readonly number[]): Promise<number | undefined> {
    const documents = new Map<string, { at: number, doc: Omit<EventDoc, '_id'> }>()
    for (const [at, { user, slot, ts, content }] of ops.entries()) {
      const s = seqs[at] as number
      const id = slot === undefined ? `${user} ${s}` : `${user} s${slot}`
      documents.delete(id) // the last one of a slot keeps its place in the order
      documents.set(id, { at, doc: { u: user, s, ts, p: content } })
    }
    for (const some of pieces([...documents], this.#db.updatesOfCommand)) {
      try {
        await this.#db.events.bulkWrite(some.map(([_id, { doc }]): AnyBulkWriteOperation<EventDoc> => (
          { replaceOne: { filter: { _id }, replacement: doc as EventDoc, upsert: true } }
        )), { ordered: true })
      } catch (error) {
        if (isUnnamedDuplicate(error)) return await this.#firstMissing(some)
        const refused = duplicates(error)
        if (refused === undefined) throw error
        return some[Math.min(...refused)]?.[1].at
      }
    }
    return undefined
  }

  /** The place of the first event that is not there as it was written. */
  async #firstMissing (some: ReadonlyArray<readonly [string, { at: number, doc: Omit<EventDoc, '_id'> }]>): Promise<number | undefined> {
    const found = new Map((await this.#db.events.find({ _id: oneOf(some.map(([_id]) => _id)) }, whole).toArray()).map(doc => [doc._id, doc]))
    return some.find(([id, { doc }]) => {
      const there = found.get(id)
      return there?.s !== doc.s || there.p !== doc.p
    })?.[1].at
  }

  /** Ascending, `seq > after`. */
  async events (user: string, after: number, limit: number): Promise<StoredEvent[]> {
    if (limit <= 0) return []
    const docs = await this.#db.events.find({ u: user, s: { $gt: Math.max(0, after) } }, whole).sort({ s: 1 }).limit(limit).toArray()
    return docs.map(doc => ({ seq: doc.s, ts: doc.ts, content: doc.p }))
  }

  async head (user: string): Promise<EventHead> {
    const cached = this.#cache.get(user)
    if (cached !== undefined) return { ...cached }
    return (await this.heads([user])).get(user) as EventHead
  }

  /** Copies of the heads of users' logs. */
  async heads (users: readonly string[]): Promise<Map<string, EventHead>> {
    const heads = new Map<string, EventHead>()
    const missing: string[] = []
    for (const user of users) {
      const head = this.#cache.get(user)
      heads.set(user, { ...head ?? { seq: 0, deliveredSeq: 0 } })
      if (head === undefined) missing.push(user)
    }
    const changes = this.#changes
    await Promise.all(pieces(missing, usersOfQuery).map(async some => {
      const found = new Map((await this.#db.eventHeads.find({ _id: oneOf(some) }, whole).toArray()).map(doc => [doc._id, doc]))
      const ends = some.map(u => ({ u, s: { $gt: found.get(u)?.s ?? 0 } }))
      const behind = await this.#db.events.find({ $or: ends }, whole).project<Pick<EventDoc, 'u' | 's'>>({ _id: 0, u: 1, s: 1 }).toArray()
      for (const user of some) heads.set(user, { seq: found.get(user)?.s ?? 0, deliveredSeq: found.get(user)?.d ?? 0 })
      for (const { u, s } of behind) {
        const head = heads.get(u) as EventHead
        head.seq = Math.max(head.seq, s)
      }
    }))
    if (changes === this.#changes) for (const user of missing) this.#cache.set(user, { ...heads.get(user) as EventHead })
    return heads
  }

  /** Delivered marks forward. Inside `exclusive`. */
  async advance (marks: ReadonlyArray<{ user: string, deliveredSeq: number }>): Promise<void> {
    const heads = await this.heads([...new Set(marks.map(mark => mark.user))])
    const moved = new Map<string, EventHead>()
    for (const { user, deliveredSeq } of marks) {
      const head = heads.get(user) as EventHead
      const to = Math.min(deliveredSeq, head.seq)
      if (to <= head.deliveredSeq) continue
      head.deliveredSeq = to
      moved.set(user, head)
    }
    if (moved.size === 0) return
    try {
      await this.#db.bulk(this.#db.eventHeads, [...moved].map(([user, head]) => forward(user, head)), { ordered: false, writeConcern: quick })
    } catch (error) {
      this.#forget(moved.keys())
      throw error
    }
    this.#settle(moved)
  }

  #settle (heads: ReadonlyMap<string, EventHead>): void {
    this.#changes++
    for (const [user, head] of heads) this.#cache.set(user, head)
  }

  #forget (users: Iterable<string>): void {
    this.#changes++
    for (const user of users) this.#cache.delete(user)
  }
}

function forward (user: string, head: EventHead): AnyBulkWriteOperation<EventHeadDoc> {
  return { updateOne: { filter: { _id: user }, update: { $max: { s: head.seq, d: head.deliveredSeq } }, upsert: true } }
}
