/** Errors of the embedded store, and what errors of LevelDB mean. */
import { StoreUnavailableError } from '../errors.ts'

/** Another process has the store open. */
export class StoreLockedError extends Error {
  override readonly name = 'StoreLockedError'
  constructor (path: string, cause: unknown) {
    super(`the store '${path}' is open in another process`, { cause })
  }
}

/** A write failed, and the store takes none until it has been opened anew, which it tries by itself. Reads go on. */
export class StoreFailedError extends StoreUnavailableError {
  override readonly name: string = 'StoreFailedError'
  constructor (path: string, cause: unknown) {
    super(`the store '${path}' failed: ${text(cause)}`, { cause })
  }
}

/** The disk is full. Reads go on; writes are taken again when there is room. */
export class StoreFullError extends StoreFailedError {
  override readonly name = 'StoreFullError'
  constructor (path: string, cause: unknown) {
    super(path, cause)
    this.message = `no room on the disk of the store '${path}': ${text(cause)}`
  }
}

/** The store failed and cannot be opened anew: the process has to end. */
export class StoreLostError extends StoreFailedError {
  override readonly name = 'StoreLostError'
  constructor (path: string, cause: unknown) {
    super(path, cause)
    this.message = `the store '${path}' failed for good: ${text(cause)}`
  }
}

/** LevelDB's own words are the cause of the binding's. */
function text (cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause)
  return cause.cause instanceof Error ? `${cause.message}: ${cause.cause.message}` : cause.message
}

/**
 * What a failure asks for. `full`: room on the disk; `scarce`: file descriptors or memory; both end when others give some
 * back, however long that takes. `damaged`: LevelDB met bytes that it did not write. `broken`: anything else, as an error of
 * the disk.
 */
export type FailureKind = 'full' | 'scarce' | 'damaged' | 'broken'

const kinds: ReadonlyArray<[FailureKind, RegExp]> = [
  ['full', /No space left on device|Disk quota exceeded|ENOSPC|EDQUOT/],
  ['scarce', /Too many open files|Cannot allocate memory|EMFILE|ENFILE|ENOMEM/],
  ['damaged', /^Corruption: /]
]

export function failureKind (error: unknown): FailureKind {
  for (const [kind, pattern] of kinds) {
    for (let e = error; e instanceof Error; e = e.cause) if (pattern.test(e.message)) return kind
  }
  return 'broken'
}

/** True when LevelDB met bytes that it did not write. */
export function isCorruption (error: unknown): boolean { return failureKind(error) === 'damaged' || hasCode(error, 'LEVEL_CORRUPTION') }

/** True when LevelDB says that its lock is held. */
export function isLocked (error: unknown): boolean { return hasCode(error, 'LEVEL_LOCKED') }

/** True when a read came upon a database that is just being opened anew. */
export function isReopening (error: unknown): boolean { return hasCode(error, 'LEVEL_DATABASE_NOT_OPEN') || hasCode(error, 'LEVEL_ITERATOR_NOT_OPEN') }

/** True when it, or what has caused it, has this code. */
export function hasCode (error: unknown, code: string): boolean {
  for (let e = error; e instanceof Error; e = e.cause) if ((e as NodeJS.ErrnoException).code === code) return true
  return false
}
