/** Errors of the embedded store. */

/** The folder cannot be used: not a store, a backup, damaged, or of a format version that this program does not know. */
export class StoreFormatError extends Error {
  override readonly name = 'StoreFormatError'
}

/** Another process has the store open. */
export class StoreLockedError extends Error {
  override readonly name = 'StoreLockedError'
  constructor (path: string, cause: unknown) {
    super(`the store '${path}' is open in another process`, { cause })
  }
}

/**
 * A write failed and the store takes no more writes. After a failed sync nobody knows what is on disk, and syncing again
 * would report success for pages that the kernel has dropped, so only opening the store anew ends this state.
 */
export class StoreFailedError extends Error {
  override readonly name: string = 'StoreFailedError'
  constructor (path: string, cause: unknown) {
    super(`the store '${path}' failed and must be opened again: ${text(cause)}`, { cause })
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

/** The store is closed. */
export class StoreClosedError extends Error {
  override readonly name = 'StoreClosedError'
  constructor () { super('the store is closed') }
}

function text (cause: unknown): string { return cause instanceof Error ? cause.message : String(cause) }

/** True for errors that say that the disk (or a quota) is full. */
export function isFull (error: unknown): boolean {
  for (let e = error; e instanceof Error; e = e.cause) {
    if (/No space left on device|Disk quota exceeded|ENOSPC|EDQUOT/.test(e.message)) return true
  }
  return false
}

/** True when LevelDB says that its lock is held. */
export function isLocked (error: unknown): boolean {
  for (let e = error; e instanceof Error; e = e.cause) {
    if ((e as NodeJS.ErrnoException).code === 'LEVEL_LOCKED') return true
  }
  return false
}
