/**
 * Events that say how far something is (`mark`), where several servers write: which of them say less than what their slot holds. Receipts of one
 * conversation are made by several servers, and an older one must not take the place of a newer one.
 */
import { Lru } from '../cache/lru.ts'
import type { NewEvent, Outcome } from '../store.ts'
import type { Connection } from './connection.ts'
import { oneOf, whole } from './connection.ts'
import type { EventDoc } from './documents.ts'
import { pieces } from './rows.ts'

const slotsOfQuery = 1000

/** What a slot holds: its mark, its event's number and time. */
interface Held { mark: number, seq: number, ts: number }

/** The id of the document that holds the event of a slot. */
export function slotId ({ user, slot }: NewEvent): string { return `${user} s${slot ?? ''}` }

export class EventMarks {
  readonly #db: Connection
  /** Of logs that are this process' own. */
  readonly #known: Lru<Held>
  readonly #owns: (user: string) => boolean
  #changes = 0

  constructor (db: Connection, size: number, owns: (user: string) => boolean) {
    this.#db = db
    this.#known = new Lru(size)
    this.#owns = owns
  }

  /** The outcomes of those that say nothing new, by place. One that is stored already, by another process for this one, is answered as it was then. Inside `exclusive`. */
  async behind (ops: readonly NewEvent[]): Promise<Map<number, Outcome>> {
    const held = await this.#read(ops.filter(({ mark, slot }) => mark !== undefined && slot !== undefined))
    const outcomes = new Map<number, Outcome>()
    for (const [at, op] of ops.entries()) {
      if (op.mark === undefined || op.slot === undefined) continue
      const { mark, seq, ts } = held.get(slotId(op)) ?? { mark: -1, seq: 0, ts: 0 }
      if (op.mark > mark) held.set(slotId(op), { mark: op.mark, seq: 0, ts: op.ts })
      else if (op.mark === mark && op.ts === ts && seq > 0) outcomes.set(at, { seq, n: 0, id: '', ts, replay: false })
      else outcomes.set(at, { seq: 0, n: 0, id: '', ts: op.ts, replay: true })
    }
    return outcomes
  }

  async #read (ops: readonly NewEvent[]): Promise<Map<string, Held>> {
    const held = new Map<string, Held>()
    const missing = new Set<string>()
    for (const op of ops) {
      const id = slotId(op)
      const known = this.#owns(op.user) ? this.#known.get(id) : undefined
      if (known === undefined) missing.add(id)
      else held.set(id, known)
    }
    await Promise.all(pieces([...missing], slotsOfQuery).map(async some => {
      const found = await this.#db.events.find({ _id: oneOf(some) }, whole).project<Pick<EventDoc, '_id' | 's' | 'ts' | 'm'>>({ s: 1, ts: 1, m: 1 }).toArray()
      for (const { _id, m, s, ts } of found) if (m !== undefined) held.set(_id, { mark: m, seq: s, ts })
    }))
    return held
  }

  /** They are stored. `begun`: what `begin` said. */
  settle (ops: readonly NewEvent[], outcomes: readonly Outcome[], begun: number): void {
    for (const [i, op] of ops.entries()) {
      if (op.mark === undefined || op.slot === undefined) continue
      if (begun === this.#changes && this.#owns(op.user)) this.#known.set(slotId(op), { mark: op.mark, seq: (outcomes[i] as Outcome).seq, ts: op.ts })
      else this.#known.delete(slotId(op))
    }
  }

  /** To be called before the rows are read. */
  begin (): number { return this.#changes }

  forget (): void {
    this.#changes++
    this.#known.clear()
  }
}
