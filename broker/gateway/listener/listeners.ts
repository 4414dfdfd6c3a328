import { createServer, isIPv6, type AddressInfo, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type Server as TlsServer, type TlsOptions, type TLSSocket } from 'node:tls'
import { Peers, type Peer } from './peers.ts'
import { certifiedUser } from './secure.ts'
import type { Acceptor, Transport, TransportHandler } from './transport.ts'

/** A TCP socket, or TLS on one, as a transport. */
class TcpTransport implements Transport {
  readonly headroom = 0
  readonly address: string
  readonly certified: string | undefined
  readonly #socket: Socket
  readonly #place: Peer['place']
  readonly #lingerMs: number

  /** `lingerMs`: how long a closed connection's peer has for taking what was written. */
  constructor (socket: Socket, { address, place }: Peer, lingerMs: number, certified?: string) {
    this.#socket = socket
    this.#place = place
    this.#lingerMs = lingerMs
    this.address = address
    this.certified = certified
  }

  get unsentBytes (): number { return this.#socket.writableLength }

  attach (handler: TransportHandler): void {
    const socket = this.#socket
    socket.on('data', (chunk: Buffer) => { handler.onData(chunk) })
    socket.on('drain', () => { handler.onDrain() })
    // 'close' follows every error; what went wrong with a client's network is not the server's to log.
    socket.on('error', () => { socket.destroy() })
    socket.on('close', () => { handler.onClose() })
  }

  write (chunk: Buffer): void { if (this.#socket.writable) this.#socket.write(chunk) }
  pause (): void { this.#socket.pause() }
  resume (): void { this.#socket.resume() }

  settle (known: boolean): void { this.#place.settle(known) }
  end (): void { endWithin(this.#socket, this.#lingerMs) }

  destroy (): void { this.#socket.destroy() }
}

/** Closes a socket when it has sent what was written, at the latest after `lingerMs`: a peer that reads nothing would keep it for ever. */
export function endWithin (socket: Socket, lingerMs: number): void {
  socket.destroySoon()
  if (socket.destroyed) return
  const timer = setTimeout(() => { socket.destroy() }, lingerMs)
  timer.unref()
  socket.once('close', () => { clearTimeout(timer) })
}

/** Where a listener really is. `close` takes no more connections; those that are open are their owners' to end. */
export interface Listening { host: string, port: number, close (): void }

/** A server of MQTT over TCP, which does not listen yet. */
export function serveTcp (acceptor: Acceptor): Server {
  return createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 }, socket => {
    const place = acceptor.sockets.enter(socket)
    if (place !== undefined) acceptor.accept(new TcpTransport(socket, { address: socket.remoteAddress ?? '', place }, acceptor.limits.stallTimeoutMs))
  })
}

/** A server of MQTT over TLS, which does not listen yet. */
export function serveTls (acceptor: Acceptor, options: TlsOptions): TlsServer {
  const peers = new Peers()
  const server = createTlsServer(options)
  // Before TLS begins; who has no place is spared the handshake.
  server.prependListener('connection', (socket: Socket) => { peers.enter(socket, acceptor.sockets) })
  server.on('secureConnection', (socket: TLSSocket) => {
    const peer = peers.of(socket)
    // Gone meanwhile.
    if (peer === undefined || socket.destroyed) {
      socket.destroy()
      return
    }
    const certified = options.requestCert === true ? certifiedUser(socket) : { user: undefined }
    if (certified === 'wrong') {
      acceptor.log.info({ address: peer.address }, 'the certificate of a client was not taken')
      socket.destroy()
      return
    }
    acceptor.accept(new TcpTransport(socket, peer, acceptor.limits.stallTimeoutMs, certified.user))
  })
  // The socket is ended by TLS; what went wrong with a stranger's handshake is not the server's to log.
  server.on('tlsClientError', (_error, socket) => { socket.destroy() })
  return server
}

/** Listens for MQTT over TCP; rejects when the address cannot be used (EADDRINUSE, EACCES, …). */
export async function listenTcp (acceptor: Acceptor, options: { host: string, port: number }): Promise<Listening> { return await listening(serveTcp(acceptor), options) }

/** Starts a server of any kind and tells where it is. */
export async function listening (server: Server, { host, port }: { host: string, port: number }): Promise<Listening> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port, backlog: 4096 }, () => {
      server.removeListener('error', reject)
      resolve()
    })
  })
  const address = server.address() as AddressInfo
  return {
    host: isIPv6(address.address) ? `[${address.address}]` : address.address,
    port: address.port,
    close: () => { server.close() }
  }
}
