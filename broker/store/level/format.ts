/**
 * The folder of a store: `sabethes.json` says what it is, `db/` holds LevelDB's files. The marker says `new` before anything is
 * made and `store` when the database is there; from then on nothing is made silently in the place of what is missing. That of a
 * backup is written last, so half a backup is not taken for one.
 */
import { open, readFile, readdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { StoreFormatError } from '../errors.ts'
import { makeFolder, syncFolder } from '../folder.ts'

/** The version of keys and rows that this program writes. Version 2 had no checksums, version 3 no runs (runs.ts, resend-runs.ts). */
export const formatVersion = 4
const oldestFormat = 2
/** The format version in the database of a store that has rows of version 2 among its own. */
export const mixedFormat = '4+2'
const oldMixedFormat = '3+2'

const markerName = 'sabethes.json'
export const folderMode = 0o700
export const fileMode = 0o600

/** A file of a backup, with its SHA-256 in hex. */
export interface BackupFile { name: string, bytes: number, sha256: string }

/** `files`: of backups; those that older versions made have none. */
export interface Marker { format: number, kind: 'new' | 'store' | 'backup', files?: BackupFile[] }

/** True for the format versions of databases that this program reads. */
export function readsFormat (text: string): boolean {
  return text === mixedFormat || text === oldMixedFormat || (Number(text) >= oldestFormat && Number(text) <= formatVersion)
}

/** The format version of a store of version `text` once this program writes to it. */
export function formatAfter (text: string): string { return Number(text) >= 3 ? String(formatVersion) : mixedFormat }

export function databasePath (path: string): string { return join(path, 'db') }

/** Reads what a folder is; `undefined` when it is not there or empty. Throws `StoreFormatError` for anything else. */
export async function readMarker (path: string): Promise<Marker | undefined> {
  let text: string
  try {
    text = await readFile(join(path, markerName), 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    if (await isVacant(path)) return undefined
    throw new StoreFormatError(`'${path}' is not a Sabethes store: it holds files, but no ${markerName}`)
  }
  let marker: Partial<Marker> | null
  try {
    marker = JSON.parse(text) as Partial<Marker> | null
  } catch (error) {
    throw new StoreFormatError(`'${path}' is not a Sabethes store: its ${markerName} cannot be read`, { cause: error })
  }
  const format = marker?.format
  const kind = marker?.kind
  if (typeof format !== 'number' || (kind !== 'new' && kind !== 'store' && kind !== 'backup')) {
    throw new StoreFormatError(`'${path}' is not a Sabethes store: its ${markerName} cannot be read`)
  }
  checkVersion(path, format)
  return marker as Marker
}

export function checkVersion (path: string, format: number): void {
  if (format >= oldestFormat && format <= formatVersion) return
  throw new StoreFormatError(`the store '${path}' has format version ${format}, and this program knows version ${formatVersion}` +
    (format > formatVersion ? ': a newer version of Sabethes wrote it' : ''))
}

/** True when the folder is not there or holds nothing (hidden files and `lost+found` apart). */
export async function isVacant (path: string): Promise<boolean> {
  try {
    return (await readdir(path)).every(name => name.startsWith('.') || name === 'lost+found')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return true
    throw error
  }
}

/** Writes the marker; on disk when it resolves. */
export async function writeMarker (path: string, marker: Omit<Marker, 'format'> & { format?: number }): Promise<void> {
  await makeFolder(path, folderMode)
  const target = join(path, markerName)
  const fresh = join(path, `.${markerName}.new`)
  const file = await open(fresh, 'w', fileMode)
  try {
    await file.writeFile(JSON.stringify({ format: formatVersion, ...marker }) + '\n')
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(fresh, target)
  await syncFolder(path)
  await syncFolder(dirname(path))
}

/** Takes the marker away: what is in the folder is no store until it is written again. */
export async function removeMarker (path: string): Promise<void> {
  await rm(join(path, markerName))
  await syncFolder(path)
}
