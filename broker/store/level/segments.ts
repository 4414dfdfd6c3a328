/**
 * Where messages lie. A message's key begins with the segment that was the current one when it was written; a segment that
 * has its length is never written again. Within a segment the messages of a conversation lie together, so a page of history
 * is read in one piece. Without segments LevelDB would rewrite all that lies around a conversation each time that new
 * messages of it sink to the next level: the more is stored, the more each message costs (ADR 6 has the numbers).
 *
 * The head of a conversation names its newest segment, `j conv first` rows name all of them.
 */
import { StoreDamagedError } from '../errors.ts'
import type { HeadRow } from './codec.ts'
import type { Database } from './database.ts'
import { key, lastNumber, parts, sorted, under } from './keys.ts'

/** A migration writes here: its pages come in the order of the source, and say nothing of segments. */
export const migratedSegment = 1
const firstSegment = 2

/** The segment that new messages go to. */
export class Segments {
  #current: number
  #length: number
  readonly #maxLength: number

  private constructor (current: number, length: number, maxLength: number) {
    this.#current = current
    this.#length = length
    this.#maxLength = maxLength
  }

  /** Goes on with the newest segment. `maxLength`: characters of messages, about; a commit is never divided. */
  static async open (db: Database, maxLength: number): Promise<Segments> {
    let current = firstSegment
    try {
      const newest = await db.last(under(key.messages()))
      if (newest !== undefined) current = Math.max(firstSegment, sorted(parts(newest[0])[1] as string))
    } catch (error) {
      if (!(error instanceof StoreDamagedError)) throw error
      // The newest messages cannot be read: what comes is written behind all segments that conversations name.
      for await (const rows of db.scan(under('j'))) for (const [, segment] of rows) current = Math.max(current, Number(segment) + 1)
    }
    return new Segments(current, await db.size(under(key.messagesIn(current))), maxLength)
  }

  get current (): number { return this.#current }

  /** Messages of so many characters were written. */
  grew (length: number): void {
    this.#length += length
    if (this.#length < this.#maxLength) return
    this.#current += 1
    this.#length = 0
  }
}

export interface LogRange { after: number, before: number, limit: number, reverse: boolean }

/** Bytes that a scan may take at once, for each message that is wanted, and of all. */
const scanBytesEach = 512
const minScanBytes = 16 * 1024
const maxScanBytes = 256 * 1024

/**
 * Rows with a conversation's messages of `after < seq < before`, in order: at least so many of them as there are, up to `limit`. The first and the last
 * row may hold others as well, and there may be more: a row is a run (runs.ts).
 */
export async function * scanLog (db: Database, conv: string, head: HeadRow, range: LogRange): AsyncGenerator<Array<[string, string]>, void> {
  const { after, before, reverse } = range
  let { limit } = range
  const highWaterMarkBytes = Math.min(maxScanBytes, Math.max(minScanBytes, limit * scanBytesEach))
  for await (const segment of segmentsOf(db, conv, head, range)) {
    const keys = { gt: key.message(segment, conv, after), lt: await endOf(db, conv, head, segment, before) }
    for await (const rows of db.scan(keys, { limit, reverse, highWaterMarkBytes })) {
      yield rows
      limit -= rows.length
    }
    if (limit <= 0) return
  }
}

/** The end of the rows of a segment with messages before `before`: behind the first row that ends there or later. */
async function endOf (db: Database, conv: string, head: HeadRow, segment: number, before: number): Promise<string> {
  const { lt } = under(key.messageRows(segment, conv))
  if (before > head.seq || before < 2) return lt
  const [row] = await db.rows({ gt: key.message(segment, conv, before - 2), lt }, 1)
  return row === undefined ? lt : row[0] + '\x00'
}

/** The segments that may hold messages of the range. */
async function * segmentsOf (db: Database, conv: string, head: HeadRow, { after, before, reverse }: LogRange): AsyncGenerator<number, void> {
  if (after + 1 >= head.segmentFirst) {
    yield head.segment
    return
  }
  const { gt, lt } = under(key.segments(conv))
  const start = await db.last({ gt, lt: key.segment(conv, after + 2) })
  const rest = { gt: start?.[0] ?? gt, lt: before === Infinity ? lt : key.segment(conv, before) }
  if (start !== undefined && !reverse) yield Number(start[1])
  for await (const rows of db.scan(rest, { reverse })) {
    for (const [, segment] of rows) yield Number(segment)
  }
  if (start !== undefined && reverse) yield Number(start[1])
}

/** The segments that hold the messages; `undefined` for those that the conversation cannot have. */
export async function segmentsAt (db: Database, at: ReadonlyArray<{ conv: string, seq: number, head: HeadRow | null }>): Promise<Array<number | undefined>> {
  const older = new Map<string, Array<[string, string]>>()
  for (const { conv, seq, head } of at) {
    if (head !== null && seq > 0 && seq < head.segmentFirst) older.set(conv, [])
  }
  await Promise.all([...older.keys()].map(async conv => { older.set(conv, await db.together.rows(under(key.segments(conv)), Infinity)) }))
  return at.map(({ conv, seq, head }) => {
    if (head === null || seq <= 0) return undefined
    if (seq >= head.segmentFirst) return head.segment
    const row = older.get(conv)?.findLast(([name]) => lastNumber(name) <= seq)
    return row === undefined ? undefined : Number(row[1])
  })
}

/** The `j` rows of segments that hold none of a conversation's messages after `purgedSeq`. The newest segment's stays. */
export async function emptySegments (db: Database, conv: string, purgedSeq: number): Promise<string[]> {
  const rows = await db.rows({ gt: under(key.segments(conv)).gt, lt: key.segment(conv, purgedSeq + 2) })
  return rows.slice(0, -1).map(([name]) => name)
}
