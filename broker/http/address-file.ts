/** `server.json` in the data folder: where the server that runs on it listens. */
import { closeSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { isAlive, socketToReach } from './control-socket.ts'

/** The name of the file in the data folder. */
export const addressFileName = 'server.json'

const listenAddress = z.object({ host: z.string().min(1), port: z.int().min(1).max(65_535) })
const content = z.object({ pid: z.int().min(1), prefix: z.string().min(1), wsPath: z.string(), mqtt: listenAddress, http: listenAddress })

/** What the file holds: JSON; members may be added. */
export type RunningAddress = z.output<typeof content>

/**
 * Writes the file for its own user alone, whole or not at all; returns what removes it. It may outlive a server that was
 * killed: `runningAddress` does not take it then, and the next start replaces it. On a full disk there is none, and `onFull` hears of it:
 * a server that could open its store is not to fail for want of this.
 */
export function writeAddressFile (dataPath: string, address: RunningAddress, onFull: (error: Error) => void): () => void {
  const path = join(dataPath, addressFileName)
  const fresh = `${path}.new`
  rmSync(fresh, { force: true })
  try {
    writeWhole(fresh, JSON.stringify(address) + '\n')
    renameSync(fresh, path)
  } catch (error) {
    rmSync(fresh, { force: true })
    if (!['ENOSPC', 'EDQUOT'].includes(codeOf(error))) throw error
    // What an earlier server left names ports that are not this one's.
    rmSync(path, { force: true })
    onFull(error as Error)
  }
  return () => { if (read(path)?.pid === address.pid) rmSync(path, { force: true }) }
}

function writeWhole (path: string, text: string): void {
  const file = openSync(path, 'wx', 0o600)
  try {
    const bytes = Buffer.from(text)
    // A disk that fills up may take a part of it.
    if (writeSync(file, bytes) < bytes.length) throw Object.assign(new Error(`no room for ${path}`), { code: 'ENOSPC' })
  } finally {
    closeSync(file)
  }
}

/**
 * Where the server of the data folder `dataPath` listens; `undefined` when none runs (whatever the file says), when the
 * file is not there or no such file, or when this user may not look.
 */
export async function runningAddress (dataPath: string): Promise<RunningAddress | undefined> {
  const address = read(join(dataPath, addressFileName))
  if (address === undefined) return undefined
  try {
    return await isAlive(socketToReach(dataPath)) ? address : undefined
  } catch (error) {
    if (isDenied(error)) return undefined
    throw error
  }
}

function read (path: string): RunningAddress | undefined {
  try {
    return content.safeParse(JSON.parse(readFileSync(path, 'utf8'))).data
  } catch (error) {
    if (error instanceof SyntaxError || isDenied(error) || ['ENOENT', 'ENOTDIR', 'EISDIR', 'ENAMETOOLONG'].includes(codeOf(error))) return undefined
    throw error
  }
}

function isDenied (error: unknown): boolean { return ['EACCES', 'EPERM'].includes(codeOf(error)) }
function codeOf (error: unknown): string { return (error as NodeJS.ErrnoException).code ?? '' }
