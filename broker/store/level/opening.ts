/** How LevelDB is opened: its settings, what a server that was killed has left, and what the errors mean. */
import { statfs } from 'node:fs/promises'
import { ClassicLevel } from 'classic-level'
import { StoreFormatError } from '../errors.ts'
import { StoreFailedError, StoreFullError, StoreLockedError, failureKind, isLocked } from './failure.ts'
import { databasePath, formatAfter, formatVersion, readsFormat } from './format.ts'
import { key } from './keys.ts'
import { missingFile, removeOrphans } from './manifest.ts'

export type Level = ClassicLevel<string, string>

export interface LevelSettings {
  /** Bytes of LevelDB's cache of blocks. */
  blockCacheBytes: number
  /** Bytes that LevelDB collects in memory and log before it writes a table. */
  writeBufferBytes: number
}

/** LevelDB's own default. Up to 1,000 tables are mapped into memory and hold no descriptor; of others it holds at most a fifth of the process's limit. */
const maxOpenFiles = 1000
/** A part of the disk that the log may take, so that a small disk has room to go on after it was full. */
const logShare = 1 / 48
const minWriteBufferBytes = 1024 * 1024

/** `writeBufferBytes`, or less on a small disk. */
export async function writeBufferFor (path: string, writeBufferBytes: number): Promise<number> {
  const { blocks, bsize } = await statfs(path)
  return Math.min(writeBufferBytes, Math.max(minWriteBufferBytes, Math.floor(blocks * bsize * logShare)))
}

/** LevelDB of the store `path`; it starts to open as soon as it is made. */
export function makeLevel (path: string, create: boolean, { blockCacheBytes, writeBufferBytes }: LevelSettings): Level {
  return new ClassicLevel<string, string>(databasePath(path), {
    keyEncoding: 'utf8',
    valueEncoding: 'utf8',
    createIfMissing: create,
    cacheSize: blockCacheBytes,
    writeBufferSize: writeBufferBytes,
    maxOpenFiles,
    // Fewer and larger tables than LevelDB's 2 MB: less compaction work a message.
    maxFileSize: 8 * 1024 * 1024
  })
}

/** Opens it for the first time in this process. Throws `StoreFormatError` (incomplete), `StoreLockedError`, `StoreFailedError` (what else LevelDB reports). */
export async function openFirst (path: string, create: boolean, settings: LevelSettings): Promise<Level> {
  const missing = create ? undefined : await missingFile(databasePath(path))
  if (missing !== undefined) throw incomplete(path, `${missing} is missing`)
  try {
    return await openOrClean(path, create, settings)
  } catch (error) {
    if (isLocked(error)) throw new StoreLockedError(path, error)
    const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
    const text = cause instanceof Error ? cause.message : String(cause)
    if (/missing files|No such file|does not exist/.test(text)) throw incomplete(path, text, cause)
    throw failureKind(cause) === 'full' ? new StoreFullError(path, cause) : new StoreFailedError(path, cause)
  }
}

async function openOrClean (path: string, create: boolean, settings: LevelSettings): Promise<Level> {
  const first = makeLevel(path, create, settings)
  try {
    await first.open()
    return first
  } catch (error) {
    await first.close()
    if (create || failureKind(error) !== 'full') throw error
    // What a server that was killed on a full disk has left.
    await removeOrphans(databasePath(path))
    const second = makeLevel(path, false, settings)
    await second.open()
    return second
  }
}

/** The format version to write, once the stored one is known to be readable. Throws `StoreFormatError`. */
export async function formatOf (path: string, level: Level): Promise<string> {
  const format = await level.get(key.format())
  if (format === undefined) {
    if ((await level.keys({ limit: 1 }).all()).length > 0) {
      throw new StoreFormatError(`'${path}' is not a Sabethes store: its database holds rows, but no format version`)
    }
    return String(formatVersion)
  }
  if (!readsFormat(format)) throw new StoreFormatError(`the database of '${path}' has format version ${format}, and this program knows version ${formatVersion}`)
  return formatAfter(format)
}

function incomplete (path: string, text: string, cause?: unknown): StoreFormatError {
  return new StoreFormatError(`the store '${path}' is incomplete: ${text}. It is not opened, because stored messages would be missing: ` +
    'bring the missing files back, or restore a backup (sabethes restore FOLDER --force)', { cause })
}
