/** Messages that are asked for by their numbers. */
import { decodeMessage } from './codec.ts'
import type { HeadRow, MessageRow } from './codec.ts'
import type { Database } from './database.ts'
import { key, lastNumber, under } from './keys.ts'
import { textsOf } from './runs.ts'
import { segmentsAt } from './segments.ts'

/** `head`: of the conversation; `null` when it has none. */
export interface MessagePlace { conv: string, seq: number, head: HeadRow | null }

/** A message that is looked for, and the places in the answer that it takes. */
interface Wanted { place: MessagePlace, segment: number, name: string, at: number[] }

/**
 * The messages at `places`; `undefined` where there is none, and where it is damaged: then `onDamaged` is called with its place. Most often
 * the last one of a conversation is wanted, which its row is named after; others are looked for as the first row behind their number.
 */
export async function messagesAt (db: Database, places: readonly MessagePlace[], onDamaged: (at: number) => void = () => {}): Promise<Array<MessageRow | undefined>> {
  const lookup = new Lookup(places.length, onDamaged)
  const segments = await segmentsAt(db, places)
  places.forEach((place, i) => {
    const segment = segments[i]
    if (segment !== undefined) lookup.want(place, segment, i)
  })
  await lookup.read(db)
  return lookup.found
}

class Lookup {
  readonly found: Array<MessageRow | undefined>
  readonly #onDamaged: (at: number) => void
  /** What is not found yet, by the key that its row has when it is the last message of a run. */
  readonly #open = new Map<string, Wanted>()

  constructor (size: number, onDamaged: (at: number) => void) {
    this.found = new Array<MessageRow | undefined>(size).fill(undefined)
    this.#onDamaged = onDamaged
  }

  want (place: MessagePlace, segment: number, at: number): void {
    const name = key.message(segment, place.conv, place.seq)
    const same = this.#open.get(name)
    if (same === undefined) this.#open.set(name, { place, segment, name, at: [at] })
    else same.at.push(at)
  }

  async read (db: Database): Promise<void> {
    const all = [...this.#open.values()]
    const damaged: Wanted[] = []
    const texts = await db.getMany(all.map(({ name }) => name), j => { damaged.push(all[j] as Wanted) })
    for (const one of damaged) this.#tell(one)
    all.forEach((one, j) => {
      const text = texts[j]
      if (text !== undefined) this.#take(one, text, one.place.seq)
    })
    const logs = new Map<string, Wanted[]>()
    for (const one of this.#open.values()) {
      const log = `${one.segment} ${one.place.conv}`
      const others = logs.get(log)
      if (others === undefined) logs.set(log, [one])
      else others.push(one)
    }
    await Promise.all([...logs.values()].map(log => this.#within(db, log)))
  }

  /** Messages of one log that are not the last ones of their runs. */
  async #within (db: Database, log: Wanted[]): Promise<void> {
    log.sort((a, b) => a.place.seq - b.place.seq)
    for (const one of log) {
      if (!this.#open.has(one.name)) continue // in the run of one before it
      const { place: { conv, seq, head }, segment, name } = one
      const [row] = await db.together.rows({ gt: name, lt: under(key.messageRows(segment, conv)).lt }, 1)
      if (row !== undefined) this.#take(one, row[1], lastNumber(row[0]))
      if (!this.#open.delete(name)) continue
      // A log has no gaps: the row that holds it was left out.
      if (head !== null && seq > head.purgedSeq && seq <= head.seq) this.#tell(one)
    }
  }

  /** All that is wanted of a run: each is read once, however many messages of it are asked for. */
  #take ({ place: { conv }, segment }: Wanted, run: string, last: number): void {
    const texts = textsOf(run)
    for (let i = texts.length - 1; i >= 0 && this.#open.size > 0; i--) {
      const seq = last - texts.length + 1 + i
      const name = key.message(segment, conv, seq)
      const one = this.#open.get(name)
      if (one === undefined) continue
      this.#open.delete(name)
      for (const at of one.at) this.found[at] = decodeMessage(texts[i] as string, seq)
    }
  }

  #tell (one: Wanted): void {
    this.#open.delete(one.name)
    for (const at of one.at) this.#onDamaged(at)
  }
}
