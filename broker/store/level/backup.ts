/** Copies of a store: `backup` writes one while the store is in use, `restore` makes a store of it. */
import { copyFile, mkdir, open, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import type { Progress } from '../store.ts'
import type { Database } from './database.ts'
import { StoreFormatError } from './failure.ts'
import { databasePath, isVacant, readMarker, syncFolder, writeMarker } from './format.ts'

const bytes = { keyEncoding: 'view', valueEncoding: 'view' } as const
const stepRows = 1000

/** Copies every row as of now into the empty folder `path`; `progress` counts rows. What fails leaves no half copy. */
export async function backupLevel (db: Database, path: string, progress?: Progress): Promise<void> {
  await refuseOccupied(path)
  const source = await db.level()
  const snapshot = source.snapshot()
  const target = new ClassicLevel<Uint8Array, Uint8Array>(databasePath(path), { ...bytes, errorIfExists: true })
  try {
    await mkdir(path, { recursive: true })
    const iterator = source.iterator<Uint8Array, Uint8Array>({ ...bytes, snapshot, highWaterMarkBytes: 1024 * 1024 })
    try {
      await target.open()
      let done = 0
      for (;;) {
        const rows = await iterator.nextv(stepRows)
        if (rows.length === 0) break
        const batch = target.batch()
        for (const [key, value] of rows) batch.put(key, value)
        await batch.write()
        done += rows.length
        progress?.(done, undefined)
      }
    } finally {
      await iterator.close()
    }
    // Turns the log into tables, which LevelDB syncs.
    await target.compactRange(new Uint8Array([0]), new Uint8Array([0xff]))
    await target.close()
    await writeMarker(path, 'backup')
  } catch (error) {
    await target.close()
    await rm(databasePath(path), { recursive: true, force: true })
    throw error
  } finally {
    await snapshot.close()
  }
}

/** Makes a store in the empty folder `to` of the backup in `from`; `progress` counts bytes. */
export async function restoreLevelBackup (from: string, to: string, progress?: Progress): Promise<void> {
  const marker = await readMarker(from)
  if (marker?.kind !== 'backup') throw new StoreFormatError(`'${from}' is not a backup of a Sabethes store`)
  await refuseOccupied(to)
  const source = databasePath(from)
  const target = databasePath(to)
  const files: Array<{ name: string, bytes: number }> = []
  for (const name of await readdir(source)) {
    if (name !== 'LOCK' && !name.startsWith('LOG')) files.push({ name, bytes: (await stat(join(source, name))).size })
  }
  const total = files.reduce((sum, file) => sum + file.bytes, 0)
  let done = 0
  try {
    await mkdir(target, { recursive: true })
    for (const file of files) {
      await copyFile(join(source, file.name), join(target, file.name))
      const copy = await open(join(target, file.name), 'r+')
      try {
        await copy.sync()
      } finally {
        await copy.close()
      }
      done += file.bytes
      progress?.(done, total)
    }
    await syncFolder(target)
    await writeMarker(to, 'store')
  } catch (error) {
    await rm(target, { recursive: true, force: true })
    throw error
  }
}

async function refuseOccupied (path: string): Promise<void> {
  if (!await isVacant(path)) throw new StoreFormatError(`'${path}' is not empty`)
}
