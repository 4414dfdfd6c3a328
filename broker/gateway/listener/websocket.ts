import type { IncomingMessage, Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { WebSocketServer, type ServerOptions, type WebSocket } from 'ws'
import { endWithin } from './listeners.ts'
import { Peers, type Peer } from './peers.ts'
import { setAddress } from './proxies.ts'
import { certifiedUser } from './secure.ts'
import type { Acceptor, Transport, TransportHandler } from './transport.ts'

/** The longest header of a frame that a server sends (RFC 6455, section 5.2). */
const frameHeaderBytes = 10

/**
 * A WebSocket as a transport: bytes in binary frames, wherever MQTT packets begin [MQTT-6.0.0-1], [MQTT-6.0.0-2]. What comes is ws' to read. What
 * goes out is one unmasked frame a turn (RFC 6455, section 5.1), whose header is put in front of the packets: one write instead of two.
 */
class WebSocketTransport implements Transport {
  readonly headroom = frameHeaderBytes
  readonly address: string
  readonly #webSocket: WebSocket
  readonly #socket: Duplex
  readonly certified: string | undefined
  readonly #place: Peer['place'] | undefined

  /** `socket`: what `webSocket` speaks over. */
  constructor (webSocket: WebSocket, socket: Duplex, { address, place, certified }: { address: string, place: Peer['place'] | undefined, certified: string | undefined }) {
    this.#webSocket = webSocket
    this.#socket = socket
    this.#place = place
    this.address = address
    this.certified = certified
  }

  get unsentBytes (): number { return this.#socket.writableLength }

  attach (handler: TransportHandler): void {
    const webSocket = this.#webSocket
    webSocket.on('message', (data: Buffer, isBinary: boolean) => {
      // [MQTT-6.0.0-1]: anything but a binary frame ends the connection.
      if (isBinary) return handler.onData(data)
      webSocket.close(1003, 'MQTT is carried in binary frames')
      handler.onClose()
    })
    webSocket.on('error', () => { webSocket.terminate() })
    webSocket.on('close', () => { handler.onClose() })
    this.#socket.on('drain', () => { handler.onDrain() })
  }

  write (chunk: Buffer): void {
    if (this.#webSocket.readyState !== this.#webSocket.OPEN || !this.#socket.writable) return
    this.#socket.write(chunk.subarray(writeFrameHeader(chunk)))
  }

  pause (): void { if (this.#webSocket.readyState === this.#webSocket.OPEN) this.#webSocket.pause() }
  resume (): void { if (this.#webSocket.readyState === this.#webSocket.OPEN) this.#webSocket.resume() }
  settle (known: boolean): void { this.#place?.settle(known) }
  end (): void { this.#webSocket.close() }
  destroy (): void { this.#webSocket.terminate() }
}

/** Puts the header of a whole binary frame right before its payload, which begins at `frameHeaderBytes`; where the header begins. */
function writeFrameHeader (chunk: Buffer): number {
  const length = chunk.length - frameHeaderBytes
  let at = frameHeaderBytes - 2
  if (length < 126) {
    chunk[at + 1] = length
  } else if (length < 65_536) {
    at -= 2
    chunk[at + 1] = 126
    chunk.writeUInt16BE(length, at + 2)
  } else {
    at -= 8
    chunk[at + 1] = 127
    chunk.writeUInt32BE(Math.floor(length / 2 ** 32), at + 2)
    chunk.writeUInt32BE(length >>> 0, at + 6)
  }
  // FIN, and opcode 2.
  chunk[at] = 0x82
  return at
}

export interface WebSocketOptions {
  path: string
  /** Origins that pages may connect from; the server's own host always may, and clients that are no browsers send none. */
  origins: readonly string[]
  maxFrameBytes: number
  /** Whether a request with this Host is meant for this server. */
  hostAllowed: (host: string | undefined) => boolean
  /** Clients' certificates are asked for. */
  certificates?: boolean
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
  const peers = new Peers()
  const connection = (socket: Socket): void => { peers.enter(socket, acceptor.sockets) }
  // The socket of TLS knows the proxy's address alone.
  const secured = (socket: TLSSocket): void => {
    const peer = peers.of(socket)
    if (peer !== undefined) setAddress(socket, peer.address)
  }
  const upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    const refusal = acceptor.draining === true ? '503 Service Unavailable' : refusalOf(request, options)
    if (refusal !== undefined) {
      acceptor.log.info({ address: request.socket.remoteAddress, origin: request.headers.origin, host: request.headers.host, reason: refusal }, 'upgrade refused')
      socket.on('error', () => { socket.destroy() })
      socket.write(`HTTP/1.1 ${refusal}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
      endWithin(request.socket, acceptor.limits.connectTimeoutMs)
      return
    }
    sockets.handleUpgrade(request, socket, head, webSocket => {
      const certified = options.certificates === true ? certifiedUser(request.socket as TLSSocket) : undefined
      const user = certified === 'wrong' ? undefined : certified?.user
      acceptor.accept(new WebSocketTransport(webSocket, socket, { address: request.socket.remoteAddress ?? '', place: peers.of(request.socket)?.place, certified: user }))
    })
  }
  // Before TLS begins, where there is TLS.
  server.prependListener('connection', connection)
  server.prependListener('secureConnection', secured)
  server.on('upgrade', upgrade)
  return () => {
    server.removeListener('connection', connection)
    server.removeListener('secureConnection', secured)
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
