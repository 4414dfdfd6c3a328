/** Where log lines go: a descriptor that may be slow, or read by nobody. */
import { writeSync } from 'node:fs'

/** Milliseconds between two tries while nobody takes the lines. */
const retryMs = 50
/** Milliseconds for which the end of the process waits for a reader. */
const lastWordsMs = 1000
const lastWordsStepMs = 10

export interface LogOutputOptions {
  /** Bytes of lines that wait for a slow reader; above it lines are dropped and counted. */
  maxBytes: number
  /** The line that tells how many were dropped. */
  dropped: (lines: number) => string
  /** Takes bytes at once, as `fs.writeSync` does: how many it took, or EAGAIN. */
  write?: (bytes: Uint8Array) => number
}

/**
 * Writes lines at once while they are taken, and keeps them otherwise. Nothing waits for the reader: a pipe whose reader
 * stalled would stop every client (Node makes pipes on standard error non-blocking; files and terminals take all at once).
 */
export class LogOutput {
  readonly #options: LogOutputOptions
  readonly #write: (bytes: Uint8Array) => number
  #waiting: Buffer[] = []
  #waitingBytes = 0
  #dropped = 0
  #timer: NodeJS.Timeout | undefined
  readonly #atExit = (): void => { this.flushSync() }

  constructor (options: LogOutputOptions) {
    this.#options = options
    // It is this property that makes a pipe non-blocking; in a worker thread it is not there, and the main thread has read it.
    const { fd = 2 } = process.stderr as { fd?: number }
    this.#write = options.write ?? (bytes => writeSync(fd, bytes))
    process.on('exit', this.#atExit)
  }

  write (line: string): void {
    const bytes = Buffer.from(line)
    if (this.#waitingBytes + bytes.length > this.#options.maxBytes) {
      this.#dropped++
      return
    }
    this.#waiting.push(bytes)
    this.#waitingBytes += bytes.length
    // While somebody waits the timer asks: not every line anew.
    if (this.#timer === undefined) this.#drain()
  }

  /** Writes what waits; gives a slow reader a second. pino calls it behind a line of level fatal. */
  flushSync (): void {
    const until = performance.now() + lastWordsMs
    const lock = new Int32Array(new SharedArrayBuffer(4))
    while (!this.#drain() && performance.now() < until) Atomics.wait(lock, 0, 0, lastWordsStepMs)
  }

  /** Writes what waits, and lets go. */
  close (): void {
    this.flushSync()
    clearTimeout(this.#timer)
    process.removeListener('exit', this.#atExit)
  }

  /** True when nothing waits any more. */
  #drain (): boolean {
    clearTimeout(this.#timer)
    this.#timer = undefined
    while (this.#waiting.length > 0 || this.#dropped > 0) {
      const [bytes] = this.#waiting
      if (bytes === undefined) {
        this.#tellDropped()
        continue
      }
      const taken = this.#try(bytes)
      if (taken < bytes.length) {
        this.#waiting[0] = bytes.subarray(taken)
        this.#waitingBytes -= taken
        this.#timer = setTimeout(() => { this.#drain() }, retryMs).unref()
        return false
      }
      this.#waiting.shift()
      this.#waitingBytes -= bytes.length
    }
    return true
  }

  #tellDropped (): void {
    const bytes = Buffer.from(this.#options.dropped(this.#dropped))
    this.#dropped = 0
    this.#waiting.push(bytes)
    this.#waitingBytes += bytes.length
  }

  /** Bytes that were taken. Lines that can never be (the reader is gone, the disk is full) count as taken: a log does not end its server. */
  #try (bytes: Buffer): number {
    try {
      return this.#write(bytes)
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === 'EAGAIN' ? 0 : bytes.length
    }
  }
}
