/**
 * The errors of the store contract: what went wrong is told apart by these classes, whatever the backend. Callers ask with
 * `instanceof`; the names are for logs.
 */

/**
 * The store did not take it, or does not answer: nothing of it counts as stored, and the same thing may be asked again.
 * Whoever asks is told `unavailable`, and nothing is acknowledged.
 */
export class StoreUnavailableError extends Error {
  override readonly name: string = 'StoreUnavailableError'
}

/** The store is closed. */
export class StoreClosedError extends StoreUnavailableError {
  override readonly name = 'StoreClosedError'
  constructor () { super('the store is closed') }
}

/** The store cannot be used: not a store, a backup, incomplete, half filled, or of a format version that this program does not know. */
export class StoreFormatError extends Error {
  override readonly name = 'StoreFormatError'
}

/** What is asked for is stored and cannot be read: its bytes on the disk are not those that were written. Asking again does not help. */
export class StoreDamagedError extends Error {
  override readonly name = 'StoreDamagedError'
}
