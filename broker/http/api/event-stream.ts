/** Writes what a reader is delivered as an event stream (HTML, "Server-sent events"). */
import type { ServerResponse } from 'node:http'
import type { Logger } from 'pino'
import type { Outlet, Reader, StreamEnd } from '../../gateway/streams/reader.ts'
import { answerHeaders } from '../problem.ts'

/** Bytes that wait for the client, above which nothing more is read for it; not below a socket's own mark, or no drain would be heard of. */
const crowdedBytes = 65_536

export interface EventStreamOptions {
  /** Milliseconds; see the configuration. */
  heartbeatMs: number
  stallTimeoutMs: number
  retryMs: number
  log: Logger
}

const [lineFeed, carriageReturn, space] = [0x0a, 0x0d, 0x20]
const heartbeat = Buffer.from(':\n\n')
const eventEnd = Buffer.from('\n\n')

export class EventStream implements Outlet {
  readonly #response: ServerResponse
  readonly #options: EventStreamOptions
  #reader: Reader | undefined
  #waiting: Buffer[] = []
  #bytes = 0
  /** Something was held back as it was crowded. */
  #held = false
  #writtenAt = Infinity
  readonly #flush = (): void => { this.flush() }

  constructor (response: ServerResponse, options: EventStreamOptions) {
    this.#response = response
    this.#options = options
  }

  /** Says where the reader is, before it is delivered anything. `headers`: those that the answer has beside. */
  begin (reader: Reader, headers: Record<string, string>): void {
    this.#reader = reader
    const response = this.#response
    // The connection ends with the stream.
    response.shouldKeepAlive = false
    response.writeHead(200, { ...headers, ...answerHeaders, 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' })
    response.socket?.setNoDelay(true).setTimeout(this.#options.stallTimeoutMs)
    response.on('drain', () => { this.#wake() })
    response.on('timeout', () => { this.#stalled() })
    response.once('close', () => { reader.leave() })
    this.#write(Buffer.from(`retry: ${this.#retryMs}\nid: ${reader.id}\nevent: ready\ndata: {}\n\n`))
  }

  get crowded (): boolean {
    const crowded = this.#bytes + this.#response.writableLength >= crowdedBytes
    this.#held ||= crowded
    return crowded
  }

  entry (kind: 'message' | 'event', payload: Uint8Array, id: string): void {
    this.#write(Buffer.concat([Buffer.from(kind === 'message' ? `id: ${id}\ndata: ` : `id: ${id}\nevent: event\ndata: `), oneLine(payload), eventEnd]))
  }

  notice (payload: Uint8Array): void { this.#write(Buffer.concat([Buffer.from('event: notice\ndata: '), oneLine(payload), eventEnd])) }

  rested (): void {}

  tick (now: number): void {
    if (this.#writtenAt === Infinity) this.#writtenAt = now
    if (this.#response.writableLength > 0 || now - this.#writtenAt < this.#options.heartbeatMs) return
    this.#write(heartbeat)
    this.#writtenAt = now
  }

  end (why: StreamEnd, id: string): void {
    const response = this.#response
    if (response.destroyed) return
    const isReset = why === 'moved'
    const text = isReset ? `id: ${id}\nevent: reset\ndata: {}\n\n` : `event: end\ndata: {"code":"${why}"}\n\n`
    this.#write(Buffer.from(`retry: ${this.#retryMs}\n${text}`))
    this.flush()
    response.end()
  }

  #write (bytes: Buffer): void {
    if (this.#waiting.length === 0) queueMicrotask(this.#flush)
    this.#waiting.push(bytes)
    this.#bytes += bytes.length
  }

  /** What came in one turn goes to the kernel at once. */
  flush (): void {
    if (this.#waiting.length === 0) return
    const [only] = this.#waiting
    const bytes = this.#waiting.length === 1 && only !== undefined ? only : Buffer.concat(this.#waiting, this.#bytes)
    this.#waiting = []
    this.#bytes = 0
    this.#writtenAt = Infinity
    if (!this.#response.destroyed) this.#response.write(bytes)
    this.#wake()
  }

  #wake (): void {
    if (!this.#held || this.#response.writableLength >= crowdedBytes) return
    this.#held = false
    this.#reader?.wake()
  }

  #stalled (): void {
    const reader = this.#reader
    if (this.#response.writableLength === 0 || reader === undefined) return
    this.#options.log.info({ user: reader.signed.user }, 'a stream over HTTP was ended: its client takes nothing')
    this.#response.destroy()
  }

  /** Not all at once, when all of a server's come back. */
  get #retryMs (): number { return Math.round(this.#options.retryMs * (1 + Math.random())) }
}

/** JSON as it was sent may have line ends between its parts; within an event they would end the line. */
function oneLine (payload: Uint8Array): Uint8Array {
  if (!payload.includes(lineFeed) && !payload.includes(carriageReturn)) return payload
  return payload.map(byte => byte === lineFeed || byte === carriageReturn ? space : byte)
}
