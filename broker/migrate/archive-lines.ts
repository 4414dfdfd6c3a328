/**
 * The lines of an export: newline-delimited JSON (https://github.com/ndjson/ndjson-spec). The first one says what it is, each row is one (`{"user":{…}}`),
 * kinds follow each other as in `transferKinds`, and the last one has their numbers and sums: without it an export is not whole.
 */
import { TransferError, transferKinds } from '../store/transfer.ts'
import type { TransferKind, TransferRows } from '../store/transfer.ts'
import type { KindDigest } from './digest.ts'

export const archiveVersion = 1

export interface ArchiveHeader {
  /** Version of the format. */
  version: number
  /** Of this export alone. */
  id: string
  /** The store that it was made of. */
  source: string
  /** Milliseconds since the epoch. */
  createdAt: number
}

export type ArchiveLine =
  | { is: 'header', header: ArchiveHeader }
  | { is: 'row', kind: TransferKind, row: TransferRows[TransferKind] }
  | { is: 'end', kinds: Record<TransferKind, KindDigest> }

export function headerLine (header: ArchiveHeader): string { return JSON.stringify({ sabethes: header }) + '\n' }
export function endLine (kinds: Record<TransferKind, KindDigest>): string { return JSON.stringify({ end: kinds }) + '\n' }

/** The bytes of a record are base64. */
export function rowLine<K extends TransferKind> (kind: K, row: TransferRows[K]): string {
  const shown = kind === 'record' ? { ...row, value: Buffer.from((row as TransferRows['record']).value).toString('base64') } : row
  return `{"${kind}":${JSON.stringify(shown)}}\n`
}

/** Throws `TransferError` with what is no line of an export; `at`: how it is called then. */
export function readLine (text: string, at: string): ArchiveLine {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new TransferError(`${at} is not JSON`, { cause })
  }
  const [name, content, ...more] = Object.entries(isObject(value) ? value : {}).flat()
  if (typeof name !== 'string' || !isObject(content) || more.length > 0) throw new TransferError(`${at} is no line of an export`)
  if (name === 'sabethes') return { is: 'header', header: readHeader(content, at) }
  if (name === 'end') return { is: 'end', kinds: content as unknown as Record<TransferKind, KindDigest> }
  if (!(transferKinds as readonly string[]).includes(name)) throw new TransferError(`${at} is of a kind that this version does not know: '${name}'`)
  const kind = name as TransferKind
  if (kind === 'record') content.value = new Uint8Array(Buffer.from(String(content.value), 'base64'))
  return { is: 'row', kind, row: content as unknown as TransferRows[TransferKind] }
}

function readHeader (content: Record<string, unknown>, at: string): ArchiveHeader {
  const { version, id, source, createdAt } = content
  if (version !== archiveVersion) throw new TransferError(`${at}: the format of this export has version ${String(version)}, and this program knows version ${archiveVersion}`)
  if (typeof id !== 'string' || typeof source !== 'string' || typeof createdAt !== 'number') throw new TransferError(`${at} is not the header of an export`)
  return { version, id, source, createdAt }
}

function isObject (value: unknown): value is Record<string, unknown> { return typeof value === 'object' && value !== null && !Array.isArray(value) }
