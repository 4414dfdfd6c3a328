import type { Engine } from '../../link/port.ts'
import { streamKind, uncounted, unknownHead, type Entry, type Reader, type Stream, type StreamKind } from './stream.ts'

/** Of one read; the window bounds how many are sent again. */
const resendBytes = 1_048_576

/** Where an entry is. */
export interface Place { stream: string, seq: number }

/** The last number of each stream. */
export function ends (places: readonly Place[]): Map<string, number> {
  const last = new Map<string, number>()
  for (const { stream, seq } of places) last.set(stream, Math.max(seq, last.get(stream) ?? 0))
  return last
}

/** What the user may still see of these places, by stream and number. Ends early when `closed` says so. */
export async function entriesAt (engine: Pick<Engine, 'read'>, user: string, places: readonly Place[], closed: () => boolean): Promise<Map<string, Map<number, Entry>>> {
  const numbers = new Map<string, number[]>()
  for (const { stream, seq } of places) {
    const seqs = numbers.get(stream)
    if (seqs === undefined) numbers.set(stream, [seq])
    else seqs.push(seq)
  }
  return new Map(await Promise.all([...numbers].map(async ([stream, seqs]) => [stream, await entriesOf(engine, user, stream, seqs, closed)] as const)))
}

/** What is left of these numbers of a stream, read in pages: they mostly follow each other. */
async function entriesOf (engine: Pick<Engine, 'read'>, user: string, stream: string, seqs: readonly number[], closed: () => boolean): Promise<Map<number, Entry>> {
  const wanted = [...new Set(seqs)].sort((a, b) => a - b)
  const found = new Map<number, Entry>()
  while (wanted.length > 0 && !closed()) {
    const first = wanted[0] as number
    const page = await engine.read({ user, stream, after: first - 1, limit: wanted.length, maxBytes: resendBytes })
    // The store does not know them yet: whoever reads the stream gets to them.
    if (page.last < first) break
    const entries = new Map(page.entries.map(entry => [entry.seq, entry]))
    while (wanted.length > 0 && (wanted[0] as number) <= Math.max(first, page.last)) {
      const seq = wanted.shift() as number
      const entry = entries.get(seq)
      if (entry !== undefined) found.set(seq, entry)
    }
  }
  return found
}

/** The session, as sending again needs it. */
interface Resending {
  readonly user: string
  readonly closed: boolean
  readonly streams: ReadonlyMap<string, Stream>
  qosOf (kind: StreamKind, id: string): -1 | 0 | 1
  addStream (id: string, cursor: number, head: number): Stream | undefined
  leftStream (id: string, cursor: number): Stream
  send (stream: Stream, entry: Entry): void
}

/** Sends what is left of these places once more; there is room for all of them. */
export async function sendAgain (session: Resending, engine: Pick<Engine, 'read'>, places: readonly Place[]): Promise<void> {
  const found = await entriesAt(engine, session.user, places, () => session.closed)
  if (session.closed) return
  const left = new Map<string, Stream>()
  for (const { stream: id, seq } of places) {
    const entry = found.get(id)?.get(seq)
    if (entry === undefined) continue
    let stream = session.streams.get(id) ?? left.get(id)
    if (stream === undefined && session.qosOf(streamKind(id), id) === 1) stream = session.addStream(id, seq - 1, unknownHead)
    if (stream === undefined) left.set(id, stream = session.leftStream(id, seq - 1))
    stream.redeliverTo = Math.max(stream.redeliverTo, seq)
    session.send(stream, entry)
  }
}

/** Gives these places room in the window, without sending them. */
export function holdAll (session: Reader & { hold (stream: Stream, seq: number): void }, places: readonly Place[]): void {
  const left = new Map<string, Stream>()
  for (const { stream: id, seq } of places) {
    const stream = left.get(id) ?? uncounted(session, id)
    stream.closed = true
    left.set(id, stream)
    session.hold(stream, seq)
  }
}
