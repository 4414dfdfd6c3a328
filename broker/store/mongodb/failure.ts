/** Errors of the MongoDB store. Their texts never hold the URL: it may contain a password. */
import { MongoBulkWriteError, MongoNetworkError, MongoServerError, MongoServerSelectionError } from 'mongodb'
import type { WriteError } from 'mongodb'
import { StoreFormatError, StoreUnavailableError } from '../errors.ts'

/** The server did not answer, or not in time, or is not the primary. Trying again is safe; it ends by itself. */
export class MongoUnavailableError extends StoreUnavailableError {
  constructor (cause: unknown) {
    super(`MongoDB does not answer: ${text(cause)}`, { cause })
  }
}

/** The server answered that it does not take it: no room, a write that the majority refused, no permission. */
export class MongoRefusedError extends StoreUnavailableError {
  constructor (cause: unknown) {
    super(`MongoDB did not take it: ${text(cause)}`, { cause })
  }
}

function text (cause: unknown): string { return cause instanceof Error ? cause.message : String(cause) }

const duplicateKey = 11000
/**
 * Not primary, stepping down, shutting down, interrupted, time limit; and a write that the majority did not confirm in time
 * (64): it may be there or not.
 */
const passing = new Set([6, 7, 50, 64, 89, 91, 189, 262, 9001, 10058, 10107, 11600, 11602, 13435, 13436])

const brokenSocket = new Set<string | undefined>(['EPIPE', 'ECONNRESET', 'ERR_STREAM_DESTROYED', 'ERR_STREAM_WRITE_AFTER_END'])

/** True when nobody knows whether the command was applied, or when the server could not take it now. */
export function isUnavailable (error: unknown): boolean {
  if (error instanceof StoreUnavailableError || error instanceof MongoNetworkError || error instanceof MongoServerSelectionError) return true
  // Its text quotes what a database holds, and may read like one of those below.
  if (error instanceof StoreFormatError) return false
  if (error instanceof MongoBulkWriteError && isUnconfirmed(error)) return true
  if (error instanceof MongoServerError && typeof error.code === 'number' && passing.has(error.code)) return true
  // A socket that the server has ended is still the driver's for a moment: Node's own error comes through.
  if (error instanceof Error && brokenSocket.has((error as NodeJS.ErrnoException).code ?? '')) return true
  return error instanceof Error && /pool (?:was )?cleared|connection .*closed|interrupted/i.test(error.message)
}

function isUnconfirmed (error: MongoBulkWriteError): boolean {
  if (error.result.getWriteConcernError() !== undefined) return true
  // A lost connection, in the driver's words for bulk writes: no code, and no document that was refused.
  return error.code === undefined && listed(error).length === 0
}

/**
 * The places of the documents that were refused because a unique key is taken, or `undefined` when the write failed in any
 * other way (also when it failed in both). Which key it was is not told by every server, so nobody asks.
 */
export function duplicates (error: unknown): Set<number> | undefined {
  if (!(error instanceof MongoBulkWriteError)) return undefined
  const errors = listed(error)
  if (errors.length === 0 || error.result.getWriteConcernError() !== undefined) return undefined
  if (errors.some(each => each.code !== duplicateKey)) return undefined
  return new Set(errors.map(each => each.index))
}

/** The one document that was to be inserted is there. */
export function isDuplicate (error: unknown): boolean { return error instanceof MongoServerError && error.code === duplicateKey }

/** FerretDB on SQLite answers an update that meets a unique key as its own fault, without the code for it, and names no document. */
export function isUnnamedDuplicate (error: unknown): boolean {
  return error instanceof MongoServerError && duplicates(error) === undefined && error.message.includes('UNIQUE constraint failed')
}

function listed (error: MongoBulkWriteError): WriteError[] {
  const errors = error.writeErrors
  return Array.isArray(errors) ? errors as WriteError[] : [errors as WriteError]
}
