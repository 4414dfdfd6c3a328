import type { Engine } from '../../link/port.ts'
import type { Stream } from './stream.ts'

const reportIntervalMs = 20

/** Collects the cursors that moved, and tells the engine of them as one batch. */
export class Cursors {
  readonly #engine: Pick<Engine, 'advance'>
  #moved: Stream[] = []
  #timer: NodeJS.Timeout | undefined

  constructor (engine: Pick<Engine, 'advance'>) { this.#engine = engine }

  /** The stream's cursor moved: it is reported within 20 ms. At QoS 0 there is no cursor, the stream only leaves memory. */
  moved (stream: Stream): void {
    if (stream.dirty) return
    stream.dirty = true
    this.#moved.push(stream)
    if (this.#timer === undefined) {
      this.#timer = setTimeout(() => { this.#timer = undefined; this.flush() }, reportIntervalMs)
      this.#timer.unref()
    }
  }

  /** Where a session begins in streams that it has no cursor of; and `seen`, when it has gone through all of a kind. */
  begin ({ id, user }: { id: string, user: string }, starts: ReadonlyArray<{ stream: string, seq: number }>, seen: string | undefined): void {
    const all = seen === undefined ? starts : [...starts, { stream: seen, seq: 1 }]
    if (all.length > 0) this.#engine.advance(all.map(({ stream, seq }) => ({ session: id, persistent: true, user, stream, seq, sent: seq, begins: true })))
  }

  /** Reports the stream's cursor at once if it moved. */
  report (stream: Stream): void {
    if (!stream.dirty) return
    stream.dirty = false
    if (stream.qos === 1 && !stream.reader.cold) this.#engine.advance([moveOf(stream)])
  }

  /** Reports all cursors that moved. Direct and own streams that are caught up leave memory. */
  flush (): void {
    const moved = this.#moved
    if (moved.length === 0) return
    this.#moved = []
    const moves = []
    for (const stream of moved) {
      if (!stream.dirty) continue
      stream.dirty = false
      if (stream.qos === 1 && !stream.reader.cold) moves.push(moveOf(stream))
      const lazy = stream.kind === 'direct' || stream.kind === 'own'
      if (lazy && stream.inflight === 0 && !stream.queued && stream.sentTo >= stream.head && !stream.closed) {
        stream.closed = true
        stream.reader.passed?.note(stream.id, stream.sentTo)
        stream.reader.streams.delete(stream.id)
      }
    }
    if (moves.length > 0) this.#engine.advance(moves)
  }

  close (): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.flush()
  }
}

function moveOf (stream: Stream): Parameters<Engine['advance']>[0][number] {
  const { reader } = stream
  return { session: reader.id, persistent: reader.stored, user: reader.user, stream: stream.id, seq: stream.acked, sent: stream.sentTo }
}
