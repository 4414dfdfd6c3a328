/** Where the control socket of a data folder is. Server and client follow the same rule. */
import { createHash } from 'node:crypto'
import { lstatSync, mkdirSync, readlinkSync, realpathSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'

/** sun_path holds 104 bytes on macOS and BSD, 108 on Linux, with the closing NUL. */
const maxPathBytes = 100

/** The name of the socket (or of a link to it) in the data folder. */
export const socketName = 'control.sock'

export interface SocketPlace {
  /** The socket itself. */
  path: string
  /** In the data folder, a link to `path`, when the folder's own path is too long for a socket. */
  link: string | undefined
}

/** The socket of the data folder `dataPath`; touches nothing. */
export function socketPlace (dataPath: string): SocketPlace {
  const folder = realFolder(dataPath)
  const direct = join(folder, socketName)
  if (Buffer.byteLength(direct) <= maxPathBytes) return { path: direct, link: undefined }
  const name = createHash('sha256').update(folder).digest('hex').slice(0, 24) + '.sock'
  const owned = `sabethes-${process.getuid?.() ?? 0}`
  const temporary = join(tmpdir(), owned, name)
  return { path: Buffer.byteLength(temporary) <= maxPathBytes ? temporary : join('/tmp', owned, name), link: direct }
}

/** The socket that a client connects to: where the link points (the server may have had another TMPDIR), or the rule. */
export function socketToReach (dataPath: string): string {
  const { path, link } = socketPlace(dataPath)
  const real = link === undefined ? path : target(link) ?? path
  if (link !== undefined) checkPrivate(dirname(real))
  return real
}

/** True when something answers on the socket `path`. */
export function isAlive (path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', (error: NodeJS.ErrnoException) => {
      // ENOTSOCK and ECONNREFUSED: nobody listens; a full backlog (EAGAIN) means that somebody does.
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED' || error.code === 'ENOTSOCK') resolve(false)
      else if (error.code === 'EAGAIN') resolve(true)
      else reject(error)
    })
  })
}

/** Rejects when a living server answers on a socket of the data folder. */
export async function refuseSecond (dataPath: string): Promise<void> {
  for (const path of new Set([socketToReach(dataPath), socketPlace(dataPath).path])) {
    if (await isAlive(path)) throw new Error(`another server is running on ${dataPath} (it answers on ${path})`)
  }
}

/** Makes the private folder of a socket outside the data folder. */
export function makePrivateFolder (folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  checkPrivate(folder)
}

/**
 * The temporary folder is everyone's: a folder that somebody else made there could hold a socket that collects passwords.
 * A folder that does not exist passes.
 */
function checkPrivate (folder: string): void {
  const stat = lstatSync(folder, { throwIfNoEntry: false })
  if (stat === undefined) return
  const uid = process.getuid?.()
  if (!stat.isDirectory() || (uid !== undefined && stat.uid !== uid) || (stat.mode & 0o077) !== 0) {
    throw new Error(`${folder} is not a folder that only this user can open: remove it, or use a data folder with a shorter path`)
  }
}

/** Two ways to the same folder give one socket. */
function realFolder (path: string): string {
  try {
    return realpathSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return resolve(path)
    throw error
  }
}

function target (link: string): string | undefined {
  try {
    return readlinkSync(link)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'EINVAL') return undefined
    throw error
  }
}
