/** Copies of a store: `backup` writes one while the store is in use, `restore` makes a store of it. */
import { createHash } from 'node:crypto'
import { open, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { StoreDamagedError, StoreFormatError } from '../errors.ts'
import { makeFolder, syncFolder } from '../folder.ts'
import type { Progress } from '../store.ts'
import type { Database } from './database.ts'
import { isCorruption } from './failure.ts'
import { databasePath, fileMode, folderMode, formatVersion, isVacant, readMarker, writeMarker } from './format.ts'
import type { BackupFile } from './format.ts'
import { key } from './keys.ts'
import { tighten } from './permissions.ts'
import { isSealed, sealBytes, unsealBytes } from './seal.ts'

const bytes = { keyEncoding: 'utf8', valueEncoding: 'view' } as const
const stepRows = 1000
const copyBytes = 1024 * 1024

/**
 * Copies every row as of now into the empty folder `path`; `progress` counts rows. What fails leaves no half copy. A damaged
 * row is copied as it is, and is as damaged in the copy; rows from before there were checksums get one.
 */
export async function backupLevel (db: Database, path: string, progress?: Progress): Promise<void> {
  await refuseOccupied(path)
  // Before LevelDB would make it by itself, without end where it cannot.
  await makeFolder(path, folderMode)
  const source = await db.level()
  const snapshot = source.snapshot()
  const target = new ClassicLevel<string, Uint8Array>(databasePath(path), { ...bytes, errorIfExists: true })
  try {
    const iterator = source.iterator<string, Uint8Array>({ ...bytes, snapshot, highWaterMarkBytes: 1024 * 1024 })
    try {
      await target.open()
      await tighten(path)
      let done = 0
      for (;;) {
        const rows = await iterator.nextv(stepRows)
        if (rows.length === 0) break
        const batch = target.batch()
        for (const [name, value] of rows) batch.put(name, name === key.format() ? Buffer.from(String(formatVersion)) : sealed(name, value, db.reader.mixed))
        await batch.write()
        done += rows.length
        progress?.(done, undefined)
      }
    } finally {
      await iterator.close()
    }
    // Turns the log into tables, which LevelDB syncs.
    await target.compactRange('\x00', '\uffff', { keyEncoding: 'utf8' })
    await target.close()
    await tighten(path)
    await writeMarker(path, { kind: 'backup', files: await digests(databasePath(path)) })
  } catch (error) {
    await target.close()
    await rm(databasePath(path), { recursive: true, force: true })
    if (isCorruption(error)) throw new StoreDamagedError('the store cannot be copied, because it is damaged: sabethes doctor --deep says where', { cause: error })
    throw error
  } finally {
    await snapshot.close()
  }
}

function sealed (name: string, value: Uint8Array, mixed: boolean): Uint8Array {
  return mixed && isSealed(name) && unsealBytes(name, value, false) === undefined && unsealBytes(name, value, true) !== undefined ? sealBytes(name, value) : value
}

/** The files of a database but those that say nothing of its content. */
async function filesOf (folder: string): Promise<string[]> {
  return (await readdir(folder)).filter(name => name !== 'LOCK' && !name.startsWith('LOG'))
}

async function digests (folder: string): Promise<BackupFile[]> {
  const files: BackupFile[] = []
  for (const name of await filesOf(folder)) {
    const hash = createHash('sha256')
    let size = 0
    await pieces(join(folder, name), piece => {
      size += piece.length
      hash.update(piece)
    })
    files.push({ name, bytes: size, sha256: hash.digest('hex') })
  }
  return files
}

/** Makes a store in the empty folder `to` of the backup in `from`; `progress` counts bytes. Throws when a file is not as it was written. */
export async function restoreLevelBackup (from: string, to: string, progress?: Progress): Promise<void> {
  const marker = await readMarker(from)
  if (marker?.kind !== 'backup') throw new StoreFormatError(`'${from}' is not a backup of a Sabethes store`)
  await refuseOccupied(to)
  const source = databasePath(from)
  const target = databasePath(to)
  const names = marker.files?.map(({ name }) => name) ?? await filesOf(source)
  let total = 0
  for (const name of names) total += await sizeOf(join(source, name), from)
  if (!names.includes('CURRENT')) throw damagedBackup(from, 'db/CURRENT is missing')
  let done = 0
  try {
    await makeFolder(target, folderMode)
    for (const name of names) {
      const known = marker.files?.find(file => file.name === name)
      const copied = await copy(join(source, name), join(target, name), size => { progress?.(done += size, total) })
      if (known !== undefined && (copied.bytes !== known.bytes || copied.sha256 !== known.sha256)) {
        throw damagedBackup(from, `db/${name} is not as it was written (${copied.bytes} bytes, SHA-256 ${copied.sha256}; it had ${known.bytes}, ${known.sha256})`)
      }
    }
    await syncFolder(target)
    await tighten(to)
    await writeMarker(to, { kind: 'store', format: marker.format })
  } catch (error) {
    await rm(target, { recursive: true, force: true })
    throw error
  }
}

async function sizeOf (file: string, from: string): Promise<number> {
  try {
    return (await stat(file)).size
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    throw damagedBackup(from, `${file} is missing`)
  }
}

function damagedBackup (from: string, what: string): StoreFormatError {
  return new StoreFormatError(`the backup '${from}' is damaged: ${what}. Nothing was restored; use another backup`)
}

/** Copies a file; on disk when it resolves. */
async function copy (from: string, to: string, progress: (bytes: number) => void): Promise<{ bytes: number, sha256: string }> {
  const hash = createHash('sha256')
  let size = 0
  const target = await open(to, 'wx', fileMode)
  try {
    await pieces(from, async piece => {
      await target.writeFile(piece)
      hash.update(piece)
      size += piece.length
      progress(piece.length)
    })
    await target.sync()
  } finally {
    await target.close()
  }
  return { bytes: size, sha256: hash.digest('hex') }
}

async function pieces (file: string, each: (piece: Uint8Array) => void | Promise<void>): Promise<void> {
  const source = await open(file, 'r')
  const buffer = new Uint8Array(copyBytes)
  try {
    for (;;) {
      const { bytesRead } = await source.read(buffer, 0, copyBytes)
      if (bytesRead === 0) return
      await each(buffer.subarray(0, bytesRead))
    }
  } finally {
    await source.close()
  }
}

async function refuseOccupied (path: string): Promise<void> {
  if (!await isVacant(path)) throw new StoreFormatError(`'${path}' is not empty`)
}
