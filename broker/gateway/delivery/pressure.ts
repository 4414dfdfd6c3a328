import type { Stream } from './stream.ts'

/** How often those who press are looked at, milliseconds. */
const checkMs = 10
/** So long at most somebody waits, milliseconds, and one reader is waited for: then not again before it has caught up. */
const mostMs = 2000

/** Somebody who waits until the readers of a log are not far behind any more. */
export interface Waiting { release (): void }

/** A log with streams that are behind although their readers take what they get, since when each, and who waits for them. */
interface Pressed { readonly streams: Map<Stream, number>, readonly waiting: Map<Waiting, number> }

export interface PressureOptions {
  /** Milliseconds of a clock that only goes forward. */
  steady: () => number
  /** Runs a function at the end of this turn of the event loop. */
  later: (run: () => void) => void
}

/**
 * Back-pressure: who publishes faster than the server delivers waits for the readers of what they publish. Readers that do not keep pace with the
 * server are not waited for: they are behind by their own doing, and read on from the store.
 */
export class Pressure {
  readonly #options: PressureOptions
  readonly #logs = new Map<string, Pressed>()
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor (options: PressureOptions) { this.#options = options }

  /** Of the log's readers this one is far behind, and keeps pace. */
  press (stream: Stream): void {
    if (stream.pressing || stream.excused || this.#closed) return
    stream.pressing = true
    const { steady } = this.#options
    const log = this.#logs.get(stream.id)
    if (log === undefined) this.#logs.set(stream.id, { streams: new Map([[stream, steady()]]), waiting: new Map() })
    else log.streams.set(stream, steady())
    this.#timer ??= setInterval(() => { this.#check() }, checkMs)
  }

  /** The stream is not far behind any more, or not by the server's doing. */
  ease (stream: Stream): void {
    if (!stream.pressing) return
    stream.pressing = false
    const log = this.#logs.get(stream.id)
    if (log === undefined) return
    log.streams.delete(stream)
    if (log.streams.size > 0) return
    this.#logs.delete(stream.id)
    if (this.#logs.size === 0) this.#rest()
    // Not from within what sends or ends a stream: who is released goes on at once.
    if (log.waiting.size > 0) this.#options.later(() => { for (const one of log.waiting.keys()) one.release() })
  }

  /** Senders to this log are to wait. */
  on (id: string): boolean { return this.#logs.size > 0 && this.#logs.has(id) }

  /** A sender to this log, on which there is pressure: it is released once. */
  wait (id: string, sender: Waiting): void { this.#logs.get(id)?.waiting.set(sender, this.#options.steady()) }

  /** The sender has gone. */
  leave (id: string, sender: Waiting): void { this.#logs.get(id)?.waiting.delete(sender) }

  #check (): void {
    const oldest = this.#options.steady() - mostMs
    for (const { streams, waiting } of [...this.#logs.values()]) {
      // Whoever else presses meanwhile.
      for (const [sender, since] of [...waiting]) {
        if (since >= oldest) break
        waiting.delete(sender)
        sender.release()
      }
      for (const [stream, since] of [...streams]) {
        if (since < oldest) stream.excused = true
        if (stream.excused || !stream.reader.keepsPace) this.ease(stream)
      }
    }
  }

  #rest (): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** From now on nobody waits. */
  close (): void {
    this.#closed = true
    this.#rest()
    const logs = [...this.#logs.values()]
    this.#logs.clear()
    for (const { streams, waiting } of logs) {
      for (const stream of streams.keys()) stream.pressing = false
      for (const one of waiting.keys()) one.release()
    }
  }
}
