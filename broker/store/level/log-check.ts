/**
 * Checks LevelDB's write-ahead logs before it opens them. LevelDB skips damaged records without a word and goes on with the
 * next block; the classic-level binding does not offer its `paranoid_checks`. Here: a damaged end (a write that was
 * cut) is normal and left to LevelDB; a damaged record with whole ones after it means that stored messages would vanish
 * from the middle, and is refused.
 * Format: https://github.com/google/leveldb/blob/main/doc/log_format.md
 */
import { readFile, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { StoreFormatError } from './failure.ts'

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

/** The newest log and its size in bytes. */
export async function newestLog (path: string): Promise<{ file: string, bytes: number } | undefined> {
  const file = (await logFiles(path)).at(-1)
  return file === undefined ? undefined : { file, bytes: (await stat(file)).size }
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
