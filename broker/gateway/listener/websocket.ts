import type { IncomingMessage, Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocketServer, type ServerOptions, type WebSocket } from 'ws'
import { endWithin } from './listeners.ts'
import type { Place } from './sockets.ts'
import type { Acceptor, Transport, TransportHandler } from './transport.ts'

/** A WebSocket as a transport: bytes in binary frames, wherever MQTT packets begin [MQTT-6.0.0-1], [MQTT-6.0.0-2]. */
class WebSocketTransport implements Transport {
  readonly address: string
  readonly #socket: WebSocket
  readonly #place: Place | undefined
  #queued = 0

  constructor (socket: WebSocket, address: string, place: Place | undefined) {
    this.#socket = socket
    this.#place = place
    this.address = address
  }

  get unsentBytes (): number { return this.#socket.bufferedAmount }

  attach (handler: TransportHandler): void {
    const socket = this.#socket
    socket.on('message', (data: Buffer, isBinary: boolean) => {
      // [MQTT-6.0.0-1]: anything but a binary frame ends the connection.
      if (isBinary) return handler.onData(data)
      socket.close(1003, 'MQTT is carried in binary frames')
      handler.onClose()
    })
    socket.on('error', () => { socket.terminate() })
    socket.on('close', () => { handler.onClose() })
    this.#drained = () => {
      if (--this.#queued === 0) handler.onDrain()
    }
  }

  #drained = (): void => {}

  write (chunk: Buffer): void {
    if (this.#socket.readyState !== this.#socket.OPEN) return
    this.#queued++
    this.#socket.send(chunk, { binary: true, compress: false }, this.#drained)
  }

  pause (): void { if (this.#socket.readyState === this.#socket.OPEN) this.#socket.pause() }
  resume (): void { if (this.#socket.readyState === this.#socket.OPEN) this.#socket.resume() }
  settle (known: boolean): void { this.#place?.settle(known) }
  end (): void { this.#socket.close() }
  destroy (): void { this.#socket.terminate() }
}

export interface WebSocketOptions {
  path: string
  /** Origins that pages may connect from; the server's own host always may, and clients that are no browsers send none. */
  origins: readonly string[]
  maxFrameBytes: number
  /** Whether a request with this Host is meant for this server. */
  hostAllowed: (host: string | undefined) => boolean
}

/** Serves MQTT over WebSocket on an HTTP server, and counts that server's sockets. Returns the function that stops it. */
export function serveWebSocket (acceptor: Acceptor, server: Server, options: WebSocketOptions): () => void {
  const settings: ServerOptions & { closeTimeout: number } = {
    noServer: true,
    maxPayload: options.maxFrameBytes,
    perMessageDeflate: false,
    // A client that does not answer the closing handshake is not waited for.
    closeTimeout: 2000,
    // [MQTT-6.0.0-3]: the subprotocol is 'mqtt'; 3.1 clients say 'mqttv3.1'.
    handleProtocols: offered => offered.has('mqtt') ? 'mqtt' : offered.has('mqttv3.1') ? 'mqttv3.1' : false
  }
  const sockets = new WebSocketServer(settings)
  const places = new WeakMap<Duplex, Place>()
  const connection = (socket: Socket): void => {
    const place = acceptor.sockets.enter(socket)
    if (place !== undefined) places.set(socket, place)
  }
  const upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    const refusal = refusalOf(request, options)
    if (refusal !== undefined) {
      acceptor.log.info({ address: request.socket.remoteAddress, origin: request.headers.origin, host: request.headers.host, reason: refusal }, 'upgrade refused')
      socket.on('error', () => { socket.destroy() })
      socket.write(`HTTP/1.1 ${refusal}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
      endWithin(request.socket, acceptor.limits.connectTimeoutMs)
      return
    }
    sockets.handleUpgrade(request, socket, head, webSocket => {
      acceptor.accept(new WebSocketTransport(webSocket, request.socket.remoteAddress ?? '', places.get(socket)))
    })
  }
  server.on('connection', connection)
  server.on('upgrade', upgrade)
  return () => {
    server.removeListener('connection', connection)
    server.removeListener('upgrade', upgrade)
    sockets.close()
  }
}

function refusalOf (request: IncomingMessage, options: WebSocketOptions): string | undefined {
  const path = (request.url ?? '').split('?', 1)[0]
  if (!options.hostAllowed(request.headers.host)) return '403 Forbidden'
  if (path !== options.path) return '404 Not Found'
  const offered = request.headers['sec-websocket-protocol']?.split(',').map(name => name.trim()) ?? []
  if (!offered.includes('mqtt') && !offered.includes('mqttv3.1')) return '400 Bad Request'
  const { origin } = request.headers
  if (origin === undefined || options.origins.includes('*') || options.origins.includes(origin)) return undefined
  return sameHost(origin, request.headers.host) ? undefined : '403 Forbidden'
}

function sameHost (origin: string, host: string | undefined): boolean {
  return URL.canParse(origin) && new URL(origin).host === host
}
