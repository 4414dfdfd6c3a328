/**
 * Appending events. Their insert is what counts. Unlike those of messages, their numbers have gaps: a newer event of a slot leaves
 * the older one's. So that of two processes neither writes over what the other wrote, nor into a gap that readers have behind them:
 * - an event is only written where there is none, and a slot's only over an older one;
 * - the head moves on only from before the first number of the commit. When it has moved there already, another process did that, and
 *   some number of the commit may be such a gap: all of this log are numbered again, behind what is there now;
 * - a number is left only when the head is that far. An event that a later one of the same commit replaces has its place until then.
 */
import type { AnyBulkWriteOperation } from 'mongodb'
import type { NewEvent } from '../store.ts'
import type { Connection } from './connection.ts'
import { oneOf, whole } from './connection.ts'
import type { EventDoc, EventHeadDoc } from './documents.ts'
import { duplicates, isUnnamedDuplicate } from './failure.ts'
import { slotId } from './event-marks.ts'
import { pieces } from './rows.ts'

export interface EventHead { seq: number, deliveredSeq: number }

/** The heads of event logs, in memory or as they are stored. */
export interface EventHeads {
  /** Copies. */
  heads (users: readonly string[]): Promise<Map<string, EventHead>>
  forget (users: Iterable<string>): void
}

/** Appends the events of one commit. */
export class EventAppend {
  /** The numbers, by place; of a commit that failed those that it tried. */
  readonly seqs: number[] = []
  readonly #db: Connection
  readonly #heads: EventHeads
  readonly #ops: readonly NewEvent[]
  /** The last event of each slot: what comes before it in this commit is replaced at once. */
  readonly #slots = new Map<string, number>()

  constructor (db: Connection, heads: EventHeads, ops: readonly NewEvent[]) {
    this.#db = db
    this.#heads = heads
    this.#ops = ops
    for (const [at, op] of ops.entries()) if (op.slot !== undefined) this.#slots.set(slotId(op), at)
  }

  /** Resolves to the new heads. Inside `exclusive`. */
  async run (): Promise<Map<string, EventHead>> {
    const done = new Map<string, EventHead>()
    let open = new Set(this.#ops.map(op => op.user))
    let left = this.#ops.map((_, at) => at)
    for (const started = performance.now(); ;) {
      const heads = await this.#heads.heads([...open])
      for (const at of left) this.seqs[at] = ++(heads.get((this.#ops[at] as NewEvent).user) as EventHead).seq
      await this.#db.fault('events')
      left = await this.#insert(left)
      if (left.length === 0) {
        await this.#db.fault('event heads')
        const passed = await this.#forward(heads)
        for (const [user, head] of heads) if (!passed.has(user)) done.set(user, head)
        if (passed.size === 0) break
        left = await this.#takeBack(heads, passed)
        open = passed
      }
      // Another process appended to the same logs: what is left is numbered again.
      this.#heads.forget(open)
      if (performance.now() - started > 2 * this.#db.timeoutMs) throw new Error('another process goes on writing the same event logs')
    }
    await this.#remove(this.#places(at => this.#isReplaced(at)))
    return done
  }

  #places (which: (at: number) => boolean): number[] { return [...this.#ops.keys()].filter(which) }

  #isReplaced (at: number): boolean {
    const op = this.#ops[at] as NewEvent
    return op.slot !== undefined && this.#slots.get(slotId(op)) !== at
  }

  #id (at: number): string {
    const op = this.#ops[at] as NewEvent
    return op.slot === undefined || this.#isReplaced(at) ? `${op.user} ${this.seqs[at] as number}` : slotId(op)
  }

  /** Writes events; resolves to the places of those that were refused, and of those behind them. */
  async #insert (left: readonly number[]): Promise<number[]> {
    let begun = 0
    for (const some of pieces(left, this.#db.updatesOfCommand)) {
      begun += some.length
      try {
        await this.#db.events.bulkWrite(some.map(at => this.#write(at)), { ordered: true })
      } catch (error) {
        if (!isTaken(error)) throw error
        return [...await this.#missing(some), ...left.slice(begun)]
      }
    }
    return []
  }

  /** What is there is no match, and then its key is taken. */
  #write (at: number): AnyBulkWriteOperation<EventDoc> {
    const { user, ts, content, mark: m } = this.#ops[at] as NewEvent
    const s = this.seqs[at] as number
    const replacement = { u: user, s, ts, p: content, ...m !== undefined && { m } } as EventDoc
    return { replaceOne: { filter: { _id: this.#id(at), u: user, s: { $lt: s } }, replacement, upsert: true } }
  }

  /** The places of events that are not there as they were written. */
  async #missing (some: readonly number[]): Promise<number[]> {
    const found = new Map((await this.#db.events.find({ _id: oneOf(some.map(at => this.#id(at))) }, whole).toArray()).map(doc => [doc._id, doc]))
    return some.filter(at => {
      const there = found.get(this.#id(at))
      const { ts, content } = this.#ops[at] as NewEvent
      return there === undefined || there.s !== this.seqs[at] || there.p !== content || there.ts !== ts
    })
  }

  /** Moves the heads on; resolves to the users whose heads had been moved there by another process. */
  async #forward (heads: ReadonlyMap<string, EventHead>): Promise<Set<string>> {
    const first = new Map<string, number>()
    for (const [at, { user }] of this.#ops.entries()) first.set(user, Math.min(first.get(user) ?? Infinity, this.seqs[at] as number))
    const passed = new Set<string>()
    for (const some of pieces([...heads], this.#db.updatesOfCommand)) {
      for (let left = some; left.length > 0;) {
        try {
          await this.#db.eventHeads.bulkWrite(left.map(([user, head]) => forward(user, head, first.get(user))), { ordered: false })
          break
        } catch (error) {
          if (!isTaken(error)) throw error
          const stored = await this.#stored(left.map(([user]) => user))
          // FerretDB ends with the first one that is taken, and does not say which. What is there may be this commit's or not: it counts as not.
          const behind: typeof left = []
          for (const [user, head] of left) {
            if ((stored.get(user) ?? 0) < (first.get(user) as number)) behind.push([user, head])
            else passed.add(user)
          }
          if (behind.length === left.length) throw error
          left = behind
        }
      }
    }
    return passed
  }

  async #stored (users: readonly string[]): Promise<Map<string, number>> {
    return new Map((await this.#db.eventHeads.find({ _id: oneOf(users) }, whole).toArray()).map(doc => [doc._id, doc.s]))
  }

  /** Leaves the numbers of these users' events; resolves to the places of the events. */
  async #takeBack (heads: ReadonlyMap<string, EventHead>, users: ReadonlySet<string>): Promise<number[]> {
    await this.#db.bulk(this.#db.eventHeads, [...users].map(user => forward(user, heads.get(user) as EventHead)), { ordered: false })
    const places = this.#places(at => users.has((this.#ops[at] as NewEvent).user))
    await this.#remove(places.filter(at => (this.#ops[at] as NewEvent).slot === undefined || this.#isReplaced(at)))
    return places
  }

  async #remove (places: readonly number[]): Promise<void> {
    for (const some of pieces(places, this.#db.updatesOfCommand)) await this.#db.events.deleteMany({ _id: oneOf(some.map(at => this.#id(at))) })
  }
}

/** Moves a head on; with `first` only when it is before that number: otherwise its key is taken. */
export function forward (user: string, head: EventHead, first?: number): AnyBulkWriteOperation<EventHeadDoc> {
  const filter = first === undefined ? { _id: user } : { _id: user, s: { $lt: first } }
  return { updateOne: { filter, update: { $max: { s: head.seq, d: head.deliveredSeq } }, upsert: true } }
}

/** Servers differ in which one they say it was, so what is there is looked up. */
function isTaken (error: unknown): boolean { return duplicates(error) !== undefined || isUnnamedDuplicate(error) }
