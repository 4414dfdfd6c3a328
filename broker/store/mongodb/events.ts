/**
 * Users' event logs. The insert of an event is what counts, and (user, number) is unique; the head is derived: one that is
 * not in memory is read together with what the log holds behind it.
 */
import { Lru } from '../cache/lru.ts'
import type { NewEvent, Outcome, StoredEvent } from '../store.ts'
import type { Connection } from './connection.ts'
import { oneOf, quick, whole } from './connection.ts'
import type { EventDoc } from './documents.ts'
import { EventAppend, forward } from './event-append.ts'
import type { EventHead, EventHeads } from './event-append.ts'
import { pieces } from './rows.ts'

const usersOfQuery = 200

export class EventLog implements EventHeads {
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
    const append = new EventAppend(this.#db, this, ops)
    try {
      this.#settle(await append.run())
      return await this.#outcomes(ops, append.seqs)
    } catch (error) {
      this.forget(ops.map(op => op.user))
      for (const [i, seq] of append.seqs.entries()) this.untold((ops[i] as NewEvent).user, seq - 1)
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
      this.forget(moved.keys())
      throw error
    }
    this.#settle(moved)
  }

  #settle (heads: ReadonlyMap<string, EventHead>): void {
    this.#changes++
    for (const [user, head] of heads) this.#cache.set(user, head)
  }

  /** They are read anew. */
  forget (users: Iterable<string>): void {
    this.#changes++
    for (const user of users) this.#cache.delete(user)
  }
}
