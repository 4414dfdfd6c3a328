/**
 * Checks LevelDB's write-ahead logs before it opens them. LevelDB skips damaged records without a word and goes on with the
 * next block; the classic-level binding does not offer its `paranoid_checks`. Here: a damaged end (a write that was
 * cut) is normal and left to LevelDB; a damaged record with whole ones after it means that stored messages would vanish
 * from the middle, and is refused.
 * Format: https://github.com/google/leveldb/blob/main/doc/log_format.md
 */
import { open, readFile, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { StoreFormatError } from '../errors.ts'

const blockBytes = 32768
const headerBytes = 7

/** Paths of the `.log` files of a database, the newest last; empty when there is no database. */
export async function logFiles (path: string): Promise<string[]> {
  try {
    const names = (await readdir(path)).filter(name => /^\d+\.log$/.test(name))
    return names.sort((a, b) => parseInt(a, 10) - parseInt(b, 10)).map(name => join(path, name))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

/**
 * Cuts from the logs what was written behind the last acknowledged row, `sequence`: a write that failed may be there in whole,
 * and would come back although it was refused. What is left is synced. Throws when acknowledged rows are not there.
 */
export async function cutLogs (path: string, sequence: bigint): Promise<void> {
  const files = await logFiles(path)
  for (const file of files) {
    const log = await readFile(file)
    const { end, last } = endOf(log, sequence)
    const newest = file === files.at(-1)
    // The newest one without a batch was begun for the write that failed: what was acknowledged is in tables and other logs.
    const lacks = newest ? last !== undefined && last < sequence : end < log.length && (last ?? 0n) < sequence
    if (lacks) {
      throw new Error(`'${file}' lacks rows that were acknowledged: it is whole up to byte ${end}`)
    }
    if (end === log.length) continue
    const handle = await open(file, 'r+')
    try {
      await handle.truncate(end)
      await handle.sync()
    } finally {
      await handle.close()
    }
  }
}

/** The sequence number of the first row in the newest log; `undefined` when it holds none. */
export async function firstSequence (path: string): Promise<bigint | undefined> {
  const file = (await logFiles(path)).at(-1)
  return file === undefined ? undefined : batches(await readFile(file)).next().value?.first
}

/** Bytes of all logs. */
export async function logBytes (path: string): Promise<number> {
  let bytes = 0
  for (const file of await logFiles(path)) bytes += (await stat(file)).size
  return bytes
}

/** Where the last batch ends whose rows are all up to `sequence`, and the sequence number of its last row. */
export function endOf (log: Buffer, sequence: bigint): { end: number, last: bigint | undefined } {
  let end = 0
  let found: bigint | undefined
  for (const batch of batches(log)) {
    const last = batch.first + BigInt(batch.count) - 1n
    if (last > sequence) break
    end = batch.end
    found = last
  }
  return { end, last: found }
}

const batchHeaderBytes = 12
const [full, first, , last] = [1, 2, 3, 4]

/** The records of a log up to its first damage, or its end; each in the parts that the blocks cut it into. */
export function * records (log: Buffer): Generator<{ parts: Buffer[], end: number }, void> {
  let parts: Buffer[] = []
  for (let at = 0; ;) {
    at = skipTrailer(at)
    const length = recordLength(log, at)
    if (length === undefined) return
    const type = log[at + 6] as number
    if (type === full || type === first) parts = []
    parts.push(log.subarray(at + headerBytes, at + length))
    at += length
    if (type === full || type === last) yield { parts, end: at }
  }
}

/** The batches of a log. A batch starts with the sequence number of its first row and the count of its rows. */
function * batches (log: Buffer): Generator<{ first: bigint, count: number, end: number }, void> {
  for (const { parts, end } of records(log)) {
    const [part = Buffer.alloc(0)] = parts
    const header = part.length >= batchHeaderBytes ? part : Buffer.concat(parts)
    if (header.length < batchHeaderBytes) return
    yield { first: header.readBigUInt64LE(0), count: header.readUInt32LE(8), end }
  }
}

/** Throws `StoreFormatError` when a log is damaged before its end. */
export async function checkLogs (path: string): Promise<void> {
  for (const file of await logFiles(path)) {
    const at = damageBeforeEnd(await readFile(file))
    if (at !== undefined) {
      throw new StoreFormatError(`'${file}' is damaged at byte ${at} and goes on after it: opening it would lose stored messages; ` +
        'restore a backup, or remove the damage')
    }
  }
}

/** Where a damaged record starts that has a whole one after it; `undefined` when there is none. */
export function damageBeforeEnd (log: Buffer): number | undefined {
  let at = 0
  for (;;) {
    at = skipTrailer(at)
    if (at + headerBytes > log.length) return undefined
    const length = recordLength(log, at)
    if (length === undefined) break
    at += length
  }
  // Zeros are a part that the disk never got: only unsynced writes, which nobody was promised, can follow them.
  if (log.readUInt32LE(at) === 0 && log.readUInt16LE(at + 4) === 0 && log[at + 6] === 0) return undefined
  const next = at + headerBytes + log.readUInt16LE(at + 4)
  if (next + headerBytes <= log.length && recordLength(log, skipTrailer(next)) !== undefined) return at
  for (let block = (Math.floor(at / blockBytes) + 1) * blockBytes; block + headerBytes <= log.length; block += blockBytes) {
    if (recordLength(log, block) !== undefined) return at
  }
  return undefined
}

/** True when behind `at` there is nothing, or the beginning of one record: what is left of a write that was cut. */
export function isCut (log: Buffer, at: number): boolean {
  for (;;) {
    at = skipTrailer(at)
    if (at + headerBytes > log.length) return true
    const end = headerBytes + log.readUInt16LE(at + 4)
    if (at + end > log.length && at % blockBytes + end <= blockBytes) return true
    // A part of a record that goes on in the next block.
    const length = recordLength(log, at)
    if (length === undefined) return false
    at += length
  }
}

/** The last bytes of a block, too few for a header, are zeros. */
function skipTrailer (at: number): number {
  const left = blockBytes - at % blockBytes
  return left < headerBytes ? at + left : at
}

/** Bytes of the record at `at` with its header; `undefined` when it is not whole. */
function recordLength (log: Buffer, at: number): number | undefined {
  if (at + headerBytes > log.length) return undefined
  const length = log.readUInt16LE(at + 4)
  const type = log[at + 6] as number
  const end = at + headerBytes + length
  if (type < 1 || type > 4 || end > log.length || at % blockBytes + headerBytes + length > blockBytes) return undefined
  const crc = crc32c(log, at + 6, end)
  const masked = ((crc >>> 15 | crc << 17) + 0xa282ead8) >>> 0
  return masked === log.readUInt32LE(at) ? headerBytes + length : undefined
}

const table = new Uint32Array(256)
for (let i = 0; i < 256; i++) {
  let c = i
  for (let bit = 0; bit < 8; bit++) c = (c & 1) !== 0 ? c >>> 1 ^ 0x82f63b78 : c >>> 1
  table[i] = c
}

/** CRC-32C (Castagnoli) of `bytes[from..to)`. */
function crc32c (bytes: Buffer, from: number, to: number): number {
  let c = 0xffffffff
  for (let i = from; i < to; i++) c = c >>> 8 ^ (table[(c ^ (bytes[i] as number)) & 0xff] as number)
  return (c ^ 0xffffffff) >>> 0
}
