/** Senders over HTTP, one request after the other on a connection of their own, and readers of event streams. Raw sockets, as the MQTT side has. */
import { connect, type Socket } from 'node:net'
import { StampReader, template, writeCounter, type BodyKind } from './body.ts'

function opened (port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1')
    socket.setNoDelay(true)
    socket.once('error', reject)
    socket.once('connect', () => {
      socket.off('error', reject)
      resolve(socket)
    })
  })
}

const authorization = (user: string): string => `Authorization: Basic ${Buffer.from(`${user}:`).toString('base64')}\r\n`
const headersEnd = '\r\n\r\n'

/** `POST /v1/to/u/{to}`, again and again. */
export class HttpSender {
  readonly #socket: Socket
  readonly #request: Buffer
  readonly #counterOffsets: number[]
  sent = 0
  acked = 0
  fault: string | undefined
  /** Called with the milliseconds that an answer took. */
  onAnswer: (ms: number) => void = () => {}
  #at = 0

  private constructor (socket: Socket, user: string, to: string, stream: number, body: BodyKind, payloadBytes: number) {
    this.#socket = socket
    const { payload, counterOffsets } = template(body, stream, payloadBytes)
    const head = Buffer.from(`POST /v1/to/u/${to} HTTP/1.1\r\nHost: localhost\r\n${authorization(user)}Content-Type: ${body === 'json' ? 'application/json' : 'text/plain'}\r\nContent-Length: ${payload.length}${headersEnd}`)
    this.#request = Buffer.concat([head, payload])
    this.#counterOffsets = counterOffsets.map(offset => head.length + offset)
    let text = ''
    socket.setEncoding('latin1').on('data', (some: string) => {
      text += some
      const end = text.indexOf(headersEnd)
      const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? Number.NaN)
      if (end < 0 || text.length < end + headersEnd.length + length) return
      if (!text.startsWith('HTTP/1.1 201 ')) this.fault ??= text.slice(0, 300)
      text = ''
      this.acked++
      this.onAnswer(performance.now() - this.#at)
    })
    socket.on('error', error => { this.fault ??= error.message })
  }

  static async open (port: number, user: string, to: string, stream: number, body: BodyKind, payloadBytes: number): Promise<HttpSender> {
    return new HttpSender(await opened(port), user, to, stream, body, payloadBytes)
  }

  send (): void {
    this.sent++
    for (const offset of this.#counterOffsets) writeCounter(this.#request, offset, this.sent)
    this.#at = performance.now()
    this.#socket.write(this.#request)
  }

  close (): void { this.#socket.destroy() }
}

/** `GET /v1/stream`. */
export class StreamReader {
  readonly #socket: Socket
  readonly #stamp = new StampReader()
  #rest: Buffer = Buffer.alloc(0)
  received = 0
  /** Called when messages have come. */
  onMore: (() => void) | undefined
  /** Messages that were repeated, overtaken or lost. */
  wrong = 0
  /** Its first event has come. */
  ready = false
  fault: string | undefined

  private constructor (socket: Socket, user: string) {
    this.#socket = socket
    socket.on('data', (some: Buffer) => { this.#take(some) })
    socket.on('error', error => { this.fault ??= error.message })
    socket.on('close', () => { this.fault ??= 'the stream has ended' })
    socket.write(`GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n${authorization(user)}${'\r\n'}`)
  }

  static async open (port: number, user: string): Promise<StreamReader> { return new StreamReader(await opened(port), user) }

  #take (some: Buffer): void {
    let bytes = this.#rest.length === 0 ? some : Buffer.concat([this.#rest, some])
    for (let end = bytes.indexOf('\n\n'); end >= 0; end = bytes.indexOf('\n\n')) {
      this.#event(bytes.subarray(0, end))
      bytes = bytes.subarray(end + 2)
    }
    this.#rest = Buffer.from(bytes)
    this.onMore?.()
  }

  #event (event: Buffer): void {
    const at = event.indexOf('\ndata: ')
    if (event.includes('event: ready')) this.ready = true
    if (at < 0 || event.includes('\nevent: ') || !this.#stamp.read(event, at + 7, event.length)) return
    if (this.#stamp.counter !== this.received + 1) this.wrong++
    this.received++
  }

  close (): void {
    this.fault ??= ''
    this.#socket.destroy()
  }
}
