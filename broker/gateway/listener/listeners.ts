import { createServer, isIPv6, type AddressInfo, type Server, type Socket } from 'node:net'
import type { Place } from './sockets.ts'
import type { Acceptor, Transport, TransportHandler } from './transport.ts'

/** A TCP socket as a transport. */
class TcpTransport implements Transport {
  readonly headroom = 0
  readonly address: string
  readonly #socket: Socket
  readonly #place: Place
  readonly #lingerMs: number

  /** `lingerMs`: how long a closed connection's peer has for taking what was written. */
  constructor (socket: Socket, place: Place, lingerMs: number) {
    this.#socket = socket
    this.#place = place
    this.#lingerMs = lingerMs
    this.address = socket.remoteAddress ?? ''
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

/** Listens for MQTT over TCP; rejects when the address cannot be used (EADDRINUSE, EACCES, …). */
export async function listenTcp (acceptor: Acceptor, options: { host: string, port: number }): Promise<Listening> {
  const server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 }, socket => {
    const place = acceptor.sockets.enter(socket)
    if (place !== undefined) acceptor.accept(new TcpTransport(socket, place, acceptor.limits.stallTimeoutMs))
  })
  return await listening(server, options)
}

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
