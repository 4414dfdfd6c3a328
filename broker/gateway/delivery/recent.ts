import type { Entry } from './stream.ts'

/** Entries of one log that are kept, and bytes of all logs' together. */
const maxEntries = 1024
const maxBytes = 16 * 1024 * 1024

/** Of a log with more readers that are behind it is not looked which of them is last. */
const fewReaders = 8

export interface RecentLimits { maxEntries?: number, maxBytes?: number }

/** Who is a little behind in a log: a stream. */
interface Reader { readonly sentTo: number }

/** The newest entries of a log, without gaps. */
interface Tail {
  entries: Array<Entry | undefined>
  /** Of those in front that were dropped, before the rest moves up. */
  first: number
  bytes: number
  /** Those who go on from here. */
  readonly readers: Set<Reader>
  /** Asked for since the last trim. */
  used: boolean
  /** The newest number at the last trim. */
  old: number
  /** What payloads are copied into, and how far it is full. */
  slab: Uint8Array
  slabAt: number
}

/** A slab's bytes: the first one of a log, and the largest. */
const [leastSlab, mostSlab] = [1024, 16_384]

/**
 * A copy that keeps nothing but its log's payloads. What is committed is often a part of something larger: of one of Node's slabs, or with
 * `engine.thread` of all that was said in one message.
 */
function own (tail: Tail, payload: Uint8Array): Uint8Array {
  if (payload.length === payload.buffer.byteLength) return payload
  if (payload.length > mostSlab / 4) return new Uint8Array(payload)
  if (tail.slabAt + payload.length > tail.slab.length) {
    tail.slab = new Uint8Array(Math.max(payload.length, Math.min(mostSlab, Math.max(leastSlab, tail.slab.length * 2))))
    tail.slabAt = 0
  }
  const at = tail.slabAt
  tail.slab.set(payload, at)
  tail.slabAt += payload.length
  return tail.slab.subarray(at, tail.slabAt)
}

/**
 * What was committed a moment ago to logs of which a connected session is a little behind: it goes on from here, and the store is not asked.
 * A log is kept as long as somebody reads on from it, each entry until all of those have had it, and for two trims at most: what stays longer than a
 * young generation of V8 costs more to collect than to send.
 */
export class Recent {
  readonly #maxEntries: number
  readonly #maxBytes: number
  readonly #tails = new Map<string, Tail>()
  #bytes = 0

  constructor (limits: RecentLimits = {}) {
    this.#maxEntries = limits.maxEntries ?? maxEntries
    this.#maxBytes = limits.maxBytes ?? maxBytes
  }

  /** Bytes of all that is kept. */
  get bytes (): number { return this.#bytes }

  /** The log's next entry, whoever reads it. */
  note (id: string, entry: Entry): void {
    if (this.#tails.size === 0) return
    const tail = this.#tails.get(id)
    if (tail !== undefined) this.#push(id, tail, entry)
  }

  /** A session could not be sent this entry, the newest of its log: from here on the log is kept, until `done`. */
  begin (id: string, entry: Entry, reader: Reader): void {
    const kept = this.#tails.get(id)
    if (kept !== undefined) {
      kept.readers.add(reader)
      return
    }
    const tail: Tail = { entries: [], first: 0, bytes: 0, readers: new Set([reader]), used: true, old: 0, slab: new Uint8Array(0), slabAt: 0 }
    this.#tails.set(id, tail)
    this.#push(id, tail, entry)
  }

  /** The reader has caught up, or has gone. */
  done (id: string, reader: Reader): void {
    if (this.#tails.size === 0) return
    const tail = this.#tails.get(id)
    if (tail?.readers.delete(reader) === true && tail.readers.size === 0) this.#drop(id, tail)
  }

  #push (id: string, tail: Tail, entry: Entry): void {
    const newest = tail.entries.at(-1)
    // Numbers come without gaps; where they did not, what is kept is of no use.
    if (newest !== undefined && entry.seq !== newest.seq + 1) {
      if (entry.seq > newest.seq) this.#drop(id, tail)
      return
    }
    const { seq, payload, expiresAt } = entry
    const kept: Entry = { seq, payload: own(tail, payload) }
    if (expiresAt !== undefined) kept.expiresAt = expiresAt
    tail.entries.push(kept)
    tail.bytes += payload.length
    this.#bytes += payload.length
    if (tail.entries.length - tail.first > this.#maxEntries) this.#shift(tail)
    // The one that has been kept for longest.
    for (const [other, oldest] of this.#bytes > this.#maxBytes ? this.#tails : []) {
      this.#drop(other, oldest)
      if (this.#bytes <= this.#maxBytes) break
    }
  }

  #shift (tail: Tail): void {
    const bytes = (tail.entries[tail.first] as Entry).payload.length
    tail.bytes -= bytes
    this.#bytes -= bytes
    tail.entries[tail.first++] = undefined
    if (tail.first > maxEntries) {
      tail.entries = tail.entries.slice(tail.first)
      tail.first = 0
    }
  }

  #drop (id: string, tail: Tail): void {
    this.#tails.delete(id)
    this.#bytes -= tail.bytes
  }

  /** The log's entries after the last one that the reader was sent, at most `limit` and about `maxBytes` (at least one); `undefined` when they are not kept. */
  after (id: string, reader: Reader, limit: number, maxBytes: number): Entry[] | undefined {
    const tail = this.#tails.get(id)
    const seq = reader.sentTo
    const oldest = tail?.entries[tail.first]
    if (tail === undefined || oldest === undefined || seq + 1 < oldest.seq) return undefined
    const at = tail.first + seq + 1 - oldest.seq
    if (at >= tail.entries.length) return undefined
    tail.used = true
    tail.readers.add(reader)
    let to = at
    for (let bytes = 0; to < tail.entries.length && to < at + limit; to++) {
      bytes += (tail.entries[to] as Entry).payload.length
      if (bytes > maxBytes && to > at) break
    }
    const page = tail.entries.slice(at, to) as Entry[]
    if (tail.readers.size <= fewReaders) this.#shiftHad(tail)
    return page
  }

  /** What all readers have had goes. */
  #shiftHad (tail: Tail): void {
    let had = Infinity
    for (const { sentTo } of tail.readers) had = Math.min(had, sentTo)
    while (tail.first < tail.entries.length && (tail.entries[tail.first] as Entry).seq <= had) this.#shift(tail)
  }

  /** To be called about once a second: what has become old goes, and logs that nobody reads on from. */
  trim (): void {
    for (const [id, tail] of this.#tails) {
      while (tail.first < tail.entries.length && (tail.entries[tail.first] as Entry).seq <= tail.old) this.#shift(tail)
      if (!tail.used || tail.first === tail.entries.length) this.#drop(id, tail)
      tail.used = false
      tail.old = tail.entries.at(-1)?.seq ?? tail.old
    }
  }
}
