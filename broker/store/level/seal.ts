/**
 * Checksums of rows. LevelDB has one for each block of a table and does not compare it when it reads: its `verify_checksums`
 * and `paranoid_checks` are off and the classic-level binding does not offer them, and compaction would give altered bytes a
 * new and right one. So a row carries its own, of key and value, that is compared at each read.
 *
 * A sealed value ends in U+001F and six characters of six bits: the CRC-32 of the key and the value.
 */
import { crc32 } from 'node:zlib'

const mark = 0x1f
export const sealLength = 7

/**
 * Kinds of rows (the first letter of their keys) without a checksum, because they are many and altered ones harm no message: memories
 * of what was sent, cursors, and the purge's list.
 */
const unsealed = new Set(['c', 'd', 'i', 'k', 't', 'v'])

/** True for rows that carry a checksum. */
export function isSealed (key: string): boolean { return !unsealed.has(key[0] as string) }

export function seal (key: string, value: string): string {
  // U+D800 to U+DFFF without their other half are stored as U+FFFD.
  const sum = sumOf(key, value)
  return value + String.fromCharCode(mark, 32 + (sum & 63), 32 + (sum >>> 6 & 63), 32 + (sum >>> 12 & 63), 32 + (sum >>> 18 & 63), 32 + (sum >>> 24 & 63), 32 + (sum >>> 30))
}

export function sealBytes (key: string, value: Uint8Array): Uint8Array {
  const sealed = new Uint8Array(value.length + sealLength)
  sealed.set(value)
  sealed.set([mark, ...sixes(crc32(value, crc32(key)))], value.length)
  return sealed
}

/** Seals the first `length` bytes of `bytes`, which has room for the checksum behind them; the length with it. */
export function sealIn (key: string, bytes: Uint8Array, length: number): number {
  bytes[length] = mark
  bytes.set(sixes(crc32(bytes.subarray(0, length), crc32(key))), length + 1)
  return length + sealLength
}

/**
 * The value without its checksum; `undefined` when key or value are not what was written. `mixed`: the store has rows from
 * before there were checksums, which are taken as they are. Their text never has U+001F: it is JSON, or numbers.
 */
export function unseal (key: string, stored: string, mixed: boolean): string | undefined {
  const end = stored.length - sealLength
  if (end < 0 || stored.charCodeAt(end) !== mark) return mixed ? stored : undefined
  const value = stored.slice(0, end)
  return matches(sumOf(key, value), i => stored.charCodeAt(end + 1 + i)) ? value : undefined
}

/** `unseal` of bytes. Those of before may end in any payload: in one of 256 the mark stands where a checksum would begin. */
export function unsealBytes (key: string, stored: Uint8Array, mixed: boolean): Uint8Array | undefined {
  const end = stored.length - sealLength
  if (end < 0 || stored[end] !== mark) return mixed ? stored : undefined
  const value = stored.subarray(0, end)
  if (matches(crc32(value, crc32(key)), i => stored[end + 1 + i] as number)) return value
  return mixed && !isChecksum(stored.subarray(end + 1)) ? stored : undefined
}

/** The same as `crc32(value, crc32(key))`, as no key ends in half a surrogate pair: a call costs more than putting the two together. */
function sumOf (key: string, value: string): number { return crc32(key + value) }

/** True for what `sixes` may have made: of random bytes one in 65,000. */
function isChecksum (bytes: Uint8Array): boolean { return bytes.every((byte, i) => byte >= 32 && byte < (i < 5 ? 96 : 36)) }

type Six = [number, number, number, number, number, number]

function sixes (sum: number): Six {
  return [32 + (sum & 63), 32 + (sum >>> 6 & 63), 32 + (sum >>> 12 & 63), 32 + (sum >>> 18 & 63), 32 + (sum >>> 24 & 63), 32 + (sum >>> 30)]
}

function matches (sum: number, at: (i: number) => number): boolean {
  for (let i = 0, rest = sum; i < 6; i++, rest >>>= 6) if (at(i) !== 32 + (rest & 63)) return false
  return true
}
