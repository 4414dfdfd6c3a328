/**
 * Users' event logs. The insert of an event is what counts, and (user, number) is unique; the head is derived: one that is
 * not in memory is read together with what the log holds behind it. Of logs that another process owns nothing is kept in memory.
 */
import { Lru } from '../cache/lru.ts'
import type { NewEvent, Outcome, StoredEvent } from '../store.ts'
import type { Connection } from './connection.ts'
import { oneOf, quick, whole } from './connection.ts'
import type { EventDoc } from './documents.ts'
import { EventAppend, forward } from './event-append.ts'
import { EventMarks } from './event-marks.ts'
import type { EventHead, EventHeads } from './event-append.ts'
import { pieces } from './rows.ts'

const usersOfQuery = 200

export class EventLog implements EventHeads {
  readonly #db: Connection
  readonly #cache: Lru<EventHead>
  /** Users of rejected commits, with the last number that was told. */
  readonly #told = new Map<string, number>()
  /** Hears of logs that are written here and belong to another process, in the words of `SharedStore.forget`. */
  onForeign: (row: string) => void = () => {}
  /** Where several processes write. */
  readonly #marks: EventMarks | undefined
  readonly #owns: (user: string) => boolean
  #changes = 0
  /** How often others have told what they wrote. */
  #othersTold = 0

  /** `owns`: whether this process writes a log (`e:{user}`); absent: all, and nobody else does. */
  constructor (db: Connection, cacheSize: number, owns?: (log: string) => boolean) {
    this.#db = db
    this.#cache = new Lru(cacheSize)
    this.#owns = owns === undefined ? () => true : user => owns(`e:${user}`)
    if (owns !== undefined) this.#marks = new EventMarks(db, cacheSize, this.#owns)
  }

  /** Appends events in their order. Inside `exclusive`. */
  async append (ops: readonly NewEvent[]): Promise<Outcome[]> {
    const marks = this.#marks
    if (marks === undefined) return await this.#append(ops)
    const begun = marks.begin()
    const behind = await marks.behind(ops)
    const ahead = ops.filter((_, at) => !behind.has(at))
    const appended = ahead.length === 0 ? [] : await this.#append(ahead)
    marks.settle(ahead, appended, begun)
    let next = 0
    return ops.map((_, at) => behind.get(at) ?? appended[next++] as Outcome)
  }

  async #append (ops: readonly NewEvent[]): Promise<Outcome[]> {
    const append = new EventAppend(this.#db, this, ops)
    const told = this.#othersTold
    try {
      this.#settle(await append.run(), told)
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
    const cached = this.#owns(user) ? this.#cache.get(user) : undefined
    if (cached !== undefined) return { ...cached }
    return (await this.heads([user])).get(user) as EventHead
  }

  /** Copies of the heads of users' logs. */
  async heads (users: readonly string[]): Promise<Map<string, EventHead>> {
    const heads = new Map<string, EventHead>()
    const missing: string[] = []
    for (const user of users) {
      const head = this.#owns(user) ? this.#cache.get(user) : undefined
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
    if (changes === this.#changes) for (const user of missing) if (this.#owns(user)) this.#cache.set(user, { ...heads.get(user) as EventHead })
    return heads
  }

  /** Delivered marks forward. Inside `exclusive`. */
  async advance (marks: ReadonlyArray<{ user: string, deliveredSeq: number }>): Promise<void> {
    const told = this.#othersTold
    const heads = await this.#marked(marks)
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
    this.#settle(moved, told)
  }

  /** What a device has received is there: a head before it is one that another process has moved on a moment ago. */
  async #marked (marks: ReadonlyArray<{ user: string, deliveredSeq: number }>): Promise<Map<string, EventHead>> {
    const users = [...new Set(marks.map(mark => mark.user))]
    const heads = await this.heads(users)
    const late = marks.filter(({ user, deliveredSeq }) => deliveredSeq > (heads.get(user) as EventHead).seq)
    if (this.#marks === undefined || late.length === 0) return heads
    for (const { user } of late) this.#cache.delete(user)
    return await this.heads(users)
  }

  /** `told`: what had been told by others when the heads were read. */
  #settle (heads: ReadonlyMap<string, EventHead>, told: number): void {
    if (this.#marks !== undefined) this.forget(heads.keys())
    this.#changes++
    if (told === this.#othersTold) for (const [user, head] of heads) if (this.#owns(user)) this.#cache.set(user, head)
  }

  /** They are read anew. */
  forget (users: Iterable<string>): void {
    this.#changes++
    for (const user of users) {
      this.#cache.delete(user)
      if (!this.#owns(user)) this.onForeign(`e:${user}`)
    }
  }

  /** Another process has written these logs (all: when absent). */
  forgetLogs (users?: readonly string[]): void {
    this.#changes++
    this.#othersTold++
    this.#marks?.forget()
    if (users === undefined) this.#cache.clear()
    else for (const user of users) this.#cache.delete(user)
  }
}
