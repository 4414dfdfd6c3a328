/**
 * The folder of a store: `sabethes.json` says what it is, `db/` holds LevelDB's files. The marker is written before the
 * first row of a store and after the last row of a backup, so half a backup is not taken for one.
 */
import { mkdir, open, readFile, readdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { StoreFormatError } from './failure.ts'

/** The version of keys and rows that this program reads and writes. */
export const formatVersion = 2

const markerName = 'sabethes.json'

export interface Marker { format: number, kind: 'store' | 'backup' }

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
  if (typeof format !== 'number' || (marker?.kind !== 'store' && marker?.kind !== 'backup')) {
    throw new StoreFormatError(`'${path}' is not a Sabethes store: its ${markerName} cannot be read`)
  }
  checkVersion(path, format)
  return { format, kind: marker.kind }
}

export function checkVersion (path: string, format: number): void {
  if (format === formatVersion) return
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
export async function writeMarker (path: string, kind: Marker['kind']): Promise<void> {
  await mkdir(path, { recursive: true })
  const target = join(path, markerName)
  const fresh = join(path, `.${markerName}.new`)
  const file = await open(fresh, 'w')
  try {
    await file.writeFile(JSON.stringify({ format: formatVersion, kind }) + '\n')
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

/** Makes names that were added to a folder durable. */
export async function syncFolder (path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
