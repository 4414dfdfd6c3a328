/** Who may read a store: its owner alone. LevelDB makes files as the process's umask allows; these are the ones that a wider umask left open. */
import { chmod, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { databasePath, fileMode, folderMode } from './format.ts'

/** A file or folder that others than its owner may read or write; `ours`: this process may change that. */
export interface OpenPath { path: string, mode: number, ours: boolean }

/** What of a store is open to others. The folder's other files are looked at too, folders in it are not. */
export async function openPaths (path: string): Promise<OpenPath[]> {
  const found: OpenPath[] = []
  const look = async (one: string): Promise<void> => {
    const { mode, uid } = await stat(one)
    if ((mode & 0o077) !== 0) found.push({ path: one, mode: mode & 0o777, ours: process.getuid?.() === 0 || process.getuid?.() === uid })
  }
  for (const folder of [path, databasePath(path)]) {
    try {
      await look(folder)
      for (const entry of await readdir(folder, { withFileTypes: true })) if (entry.isFile()) await look(join(folder, entry.name))
    } catch (error) {
      // Not made yet, or a table that compaction has just removed.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }
  return found
}

/** Closes what is open to others; resolves to what it may not change. */
export async function tighten (path: string): Promise<OpenPath[]> {
  const left: OpenPath[] = []
  for (const open of await openPaths(path)) {
    if (!open.ours) {
      left.push(open)
      continue
    }
    const isFolder = open.path === path || open.path === databasePath(path)
    try {
      await chmod(open.path, isFolder ? folderMode : fileMode)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      // File systems without permissions, and read-only ones.
      if (code === 'EPERM' || code === 'EROFS' || code === 'ENOTSUP') left.push(open)
      else if (code !== 'ENOENT') throw error
    }
  }
  return left
}
