/**
 * When a database whose write failed is opened anew, and what must hold before.
 *
 * What was acknowledged was synced before, so a failed write or sync concerns only what was refused. Nothing is synced a second time
 * through the same file: after a failed fsync the kernel takes pages for clean that the disk never got. Opening anew makes LevelDB
 * write what its log holds into new files, which it syncs; so what counts from then on does not rest on pages of a failed sync.
 */
import { open, statfs } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { failureKind } from './failure.ts'
import type { FailureKind } from './failure.ts'
import { databasePath } from './format.ts'
import { logBytes } from './log-check.ts'
import { orphans } from './manifest.ts'

/** Tries to open anew after an error that does not end by itself; with the delays below about 15 s. */
export const maxTries = 8
const maxDelayMs = 4000
/** Of what ends by itself: it must be noticed soon. */
const maxWaitMs = 1000
const maxDamagedDelayMs = 30_000
/** Room for what LevelDB writes beside the tables of its logs: a manifest, a new log. */
const spareBytes = 512 * 1024
/** Descriptors that opening needs at once: log, manifest, folder, lock, table, and some for compaction. */
const spareDescriptors = 16

/** A database that takes no writes. */
export class Trouble {
  error: unknown
  kind: FailureKind
  /** Attempts to open anew that failed, or were followed by a failing write. */
  tries: number
  /** Of the monotonic clock, milliseconds. */
  nextAt = 0
  readonly #intervalMs: number

  constructor (error: unknown, tries: number, intervalMs: number) {
    this.error = error
    this.kind = failureKind(error)
    this.tries = tries
    this.#intervalMs = intervalMs
    this.wait()
  }

  /** Another try failed. */
  failed (error: unknown): void {
    this.error = error
    this.kind = failureKind(error)
    this.tries += 1
    this.wait()
  }

  /** Puts the next try off. */
  wait (): void {
    const most = this.kind === 'damaged' ? maxDamagedDelayMs : this.kind === 'broken' ? maxDelayMs : maxWaitMs
    this.nextAt = performance.now() + Math.min(most, this.#intervalMs * 2 ** Math.min(10, this.tries))
  }

  /** True when nothing is to be hoped for. */
  get hopeless (): boolean { return this.kind === 'broken' && this.tries >= maxTries }
}

/** True when opening has what it needs; it cannot be undone, and reads go on until then. */
export async function canReopen (path: string): Promise<boolean> {
  // LevelDB writes what its logs hold into tables when it opens.
  const { bavail, bsize } = await statfs(path)
  const folder = databasePath(path)
  const needed = await logBytes(folder) + spareBytes
  let room = bavail * bsize
  if (room < needed) for (const { bytes } of await orphans(folder)) room += bytes
  return room >= needed && await hasDescriptors()
}

async function hasDescriptors (): Promise<boolean> {
  const handles: FileHandle[] = []
  try {
    for (let i = 0; i < spareDescriptors; i++) handles.push(await open('/dev/null', 'r'))
    return true
  } catch (error) {
    if (failureKind(error) !== 'scarce') throw error
    return false
  } finally {
    for (const handle of handles) await handle.close()
  }
}
