/** Folders of stores and backups. */
import { mkdir, open, stat } from 'node:fs/promises'
import { dirname } from 'node:path'

/**
 * Makes a folder and those above it that are missing, for this user alone unless `mode` says otherwise. Rejects with the system's error when that cannot be.
 * `mkdir` with `recursive` does the same, but never ends where a folder that exists takes none (below /proc: ENOENT again and again).
 */
export async function makeFolder (path: string, mode = 0o700): Promise<void> {
  try {
    await mkdir(path, { mode })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST' || code === 'EISDIR' || code === 'EROFS') {
      if ((await stat(path)).isDirectory()) return
      throw Object.assign(new Error(`'${path}' is a file, not a folder`, { cause: error }), { code: 'ENOTDIR' })
    }
    if (code !== 'ENOENT' || dirname(path) === path) throw error
    await makeFolder(dirname(path), mode)
    await mkdir(path, { mode })
  }
}

/** Entries that were made, renamed or removed are on disk when it resolves. */
export async function syncFolder (path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}
