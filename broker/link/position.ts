/** Where a reader stands whose place is kept by itself alone. */
import { createHash } from 'node:crypto'

/** What was stamped before `time` (the server's, milliseconds since the epoch) was had, and nothing that was stamped later, but for `places`: of those streams what was had goes up to a number. */
export interface Position { readonly time: number, /** by `placeName` */ readonly places: ReadonlyMap<string, number> }

/** Bytes of the name of a stream's place. */
export const placeNameBytes = 8

/** The name of a stream's place, one character a byte: short, however long the stream's is. */
export function placeName (stream: string): string { return createHash('sha256').update(stream).digest().toString('latin1', 0, placeNameBytes) }
