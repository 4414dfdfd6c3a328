import type { Stream } from './stream.ts'

/** How often it is looked at whether those who press keep pace, milliseconds. */
const checkMs = 10

/** Somebody who waits until the readers of a log are not far behind any more. */
export interface Waiting { release (): void }

/** A stream that is behind although its reader takes what it gets. */
interface Pressed { readonly streams: Set<Stream>, readonly waiting: Waiting[] }

/**
 * Back-pressure: who publishes faster than the server delivers waits for the readers of what they publish. Readers that do not keep pace with the
 * server are not waited for: they are behind by their own doing, and read on from the store.
 */
export class Pressure {
  readonly #logs = new Map<string, Pressed>()
  #timer: NodeJS.Timeout | undefined
  #closed = false

  /** Of the log's readers somebody is far behind, and keeps pace. */
  press (stream: Stream): void {
    if (stream.pressing || this.#closed) return
    stream.pressing = true
    const log = this.#logs.get(stream.id)
    if (log === undefined) this.#logs.set(stream.id, { streams: new Set([stream]), waiting: [] })
    else log.streams.add(stream)
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
    for (const one of log.waiting) one.release()
  }

  /** Senders to this log are to wait. */
  on (id: string): boolean { return this.#logs.size > 0 && this.#logs.has(id) }

  /** A sender to this log, on which there is pressure: it is released once. */
  wait (id: string, sender: Waiting): void { this.#logs.get(id)?.waiting.push(sender) }

  #check (): void {
    for (const { streams } of [...this.#logs.values()]) {
      for (const stream of [...streams]) if (!stream.reader.keepsPace) this.ease(stream)
    }
  }

  #rest (): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** From now on nobody waits. */
  close (): void {
    this.#closed = true
    for (const { streams } of [...this.#logs.values()]) for (const stream of [...streams]) this.ease(stream)
  }
}
