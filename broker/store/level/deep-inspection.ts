/**
 * What `sabethes doctor --deep` finds in a store that no server has open: every row is read and held against its checksum, and rows
 * that say something of each other are compared. It changes nothing but what each opening changes.
 */
import { StoreDamagedError } from '../errors.ts'
import { headCodec } from './codec.ts'
import type { HeadRow, MessageRow } from './codec.ts'
import { Database } from './database.ts'
import { readMarker } from './format.ts'
import { key, lastNumber, lastPart, parts, under } from './keys.ts'
import { shownKey } from './reader.ts'
import { decodeRun } from './runs.ts'

/** `text`: one finding a line. `rows`: how many were read; `damaged`: how many things are wrong. */
export interface DeepFindings { ok: boolean, rows: number, damaged: number, text: string }

/** Findings that are told one by one. */
const maxTold = 50
const letters = 'bcdefghijklmnopqrstuvwxyz'

/** Throws what opening throws. `progress` counts rows. */
export async function inspectLevelDeep (path: string, progress?: (rows: number) => void): Promise<DeepFindings> {
  const kind = (await readMarker(path))?.kind
  if (kind === undefined || kind === 'new') return { ok: true, rows: 0, damaged: 0, text: 'no store yet' }
  const db = new Database({ path, blockCacheBytes: 8 * 1024 * 1024, writeBufferBytes: 1024 * 1024, retryIntervalMs: 100, create: false })
  await db.open()
  const found = new Map<string, string>()
  const wrong: Wrong = (what, text) => { found.set(what, text) }
  db.reader.onDamage = (row, error) => { wrong(row, error === undefined ? `row '${shownKey(row)}' is altered` : `rows from '${shownKey(row)}' on cannot be read: ${causeOf(error)}`) }
  let rows: number
  try {
    rows = await inspectRows(db, wrong, progress)
  } finally {
    await db.close()
  }
  return report([...found.values()], rows, db.reader.mixed)
}

type Wrong = (what: string, text: string) => void

/** Reads every row, and compares the logs with their heads; resolves to how many rows there are. */
async function inspectRows (db: Database, wrong: Wrong, progress: ((rows: number) => void) | undefined): Promise<number> {
  const heads = new Map<string, HeadRow>()
  const logs = new Logs(wrong)
  let rows = 0
  for (const letter of letters) {
    const read = letter === 'q' ? db.reader.scanBytes(under(letter)) : db.scan(under(letter))
    try {
      for await (const some of read) {
        for (const [name, value] of some as Array<[string, string]>) {
          if (letter === 'h') heads.set(lastPart(name), headCodec.decode(value, name))
          if (letter === 'l') logs.add(name, value)
        }
        rows += some.length
        progress?.(rows)
      }
    } catch (error) {
      // Told by the reader: what lies behind it is looked at message by message.
      if (!(error instanceof StoreDamagedError)) throw error
    }
  }
  for (const [conv, head] of heads) logs.compare(conv, head)
  for (const conv of logs.convs()) if (!heads.has(conv)) wrong(key.head(conv), `conversation '${conv}' has messages and no head: it is made again with the next message`)
  return rows
}

function report (told: readonly string[], rows: number, mixed: boolean): DeepFindings {
  const more = told.length > maxTold ? [`and ${told.length - maxTold} more`] : []
  const old = mixed ? ['rows of before version 3 have no checksum: a backup and its restore gives them one'] : []
  const advice = told.length === 0 ? [] : ['what is whole is served; what is damaged comes back with a backup from before: sabethes restore FOLDER --force']
  return { ok: told.length === 0, rows, damaged: told.length, text: [`${rows} rows read, ${told.length} damaged`, ...told.slice(0, maxTold), ...more, ...advice, ...old].join('\n') }
}

function causeOf (error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? error.cause.message : error.message
}

/** Which numbers of each conversation were seen: as ranges, which are few where nothing is wrong. */
class Logs {
  readonly #ranges = new Map<string, Array<{ first: number, last: number, n: number }>>()
  readonly #wrong: Wrong
  constructor (wrong: Wrong) { this.#wrong = wrong }

  convs (): IterableIterator<string> { return this.#ranges.keys() }

  add (name: string, text: string): void {
    const conv = parts(name)[2] as string
    for (const message of decodeRun(text, lastNumber(name))) this.#add(name, conv, message)
  }

  #add (name: string, conv: string, { seq, n, counts }: MessageRow): void {
    let ranges = this.#ranges.get(conv)
    if (ranges === undefined) this.#ranges.set(conv, ranges = [])
    const range = ranges.find(one => one.last === seq - 1)
    if (range === undefined) {
      ranges.push({ first: seq, last: seq, n })
      return
    }
    if (n !== range.n + (counts ? 1 : 0)) this.#wrong(name, `message ${seq} of '${conv}' has the running number ${n} behind ${range.n}`)
    Object.assign(range, { last: seq, n })
  }

  /** Every number from the mark of the purge to the head, and the running number of the last one. */
  compare (conv: string, head: HeadRow): void {
    const ranges = (this.#ranges.get(conv) ?? []).sort((a, b) => a.first - b.first)
    let next = head.purgedSeq + 1
    const missing: string[] = []
    for (const { first, last } of ranges) {
      if (last < next) continue
      if (first > next) missing.push(next === first - 1 ? `${next}` : `${next} to ${first - 1}`)
      next = last + 1
    }
    if (next <= head.seq) missing.push(next === head.seq ? `${next}` : `${next} to ${head.seq}`)
    if (missing.length > 0) this.#wrong(key.head(conv) + '\x00', `conversation '${conv}': message ${missing.join(', ')} cannot be read`)
    if (next > head.seq + 1) this.#wrong(key.head(conv), `conversation '${conv}': its head says ${head.seq}, and it has messages up to ${next - 1}`)
    else if (ranges.at(-1)?.last === head.seq && ranges.at(-1)?.n !== head.n) this.#wrong(key.head(conv), `conversation '${conv}': its head counts ${head.n}, and its last message ${ranges.at(-1)?.n}`)
  }
}
