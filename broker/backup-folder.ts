/** Where a backup may go. */
import { existsSync, lstatSync, realpathSync } from 'node:fs'
import { basename, dirname, join, sep } from 'node:path'
import { Refusal } from './errors.ts'

/** What the operator can mend by naming another folder; everything else is the server's failure. */
const pathErrors = new Set(['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EISDIR', 'ENAMETOOLONG', 'ELOOP', 'EEXIST', 'ENOENT'])

/** Runs `write` unless `path` (absolute) leads into the data folder or is around it, by whatever links. `Refusal` says what is wrong. */
export async function backUpOutside (dataPath: string, path: string, write: () => Promise<void>): Promise<void> {
  try {
    const [from, to] = [realpathSync(dataPath), realTarget(path)]
    if (isWithin(to, from) || isWithin(from, to)) throw new Refusal('conflict', `${path} is in the data folder or around it: a backup wants a folder of its own`)
    await write()
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (error instanceof Refusal || code === undefined || !pathErrors.has(code)) throw error
    throw new Refusal('bad_payload', `${path} cannot be used: ${message}`)
  }
}

/** Where `path` leads, as far as it exists; a link to nothing leads nowhere that can be checked. */
function realTarget (path: string): string {
  if (existsSync(path)) return realpathSync(path)
  if (lstatSync(path, { throwIfNoEntry: false }) !== undefined) throw new Refusal('bad_payload', `${path} cannot be used: it is a link to nothing`)
  return join(realTarget(dirname(path)), basename(path))
}

function isWithin (path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep)
}
