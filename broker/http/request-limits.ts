/** Bounds what requests cost before anything looks at them. */
import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import { Server as TlsServer } from 'node:tls'

export interface RequestLimits {
  /** Milliseconds from the connection, or from the answer before, to the end of a request's headers. */
  headersTimeoutMs: number
  /** Milliseconds for a whole request; also how long a connection may neither send nor take anything. */
  requestTimeoutMs: number
  /** Milliseconds that a connection without a request is kept. */
  keepAliveTimeoutMs: number
  /** Requests of one address in a second, upgrades not counted. */
  requestsPerSecond: number
  /** Requests that one connection may send without having waited for an answer. */
  pipelinedRequests: number
}

/** What ends the headers of a request. */
const headersEnd = '\r\n\r\n'

/**
 * Ends connections that send more than `max` requests in one piece. The parser makes an object for each request of the piece
 * that it is given and cannot be stopped in between: 64 kB are 2,400 requests, and everybody waits for them.
 */
export function limitPipelining (server: Server, max: number): void {
  const looks = new WeakMap<object, (chunk: Buffer) => void>()
  server.on(server instanceof TlsServer ? 'secureConnection' : 'connection', (socket: Socket) => {
    const look = (chunk: Buffer): void => {
      let at = -headersEnd.length
      for (let heads = 0; heads <= max; heads++) {
        at = chunk.indexOf(headersEnd, at + headersEnd.length)
        if (at < 0) return
      }
      // The parser is next to see the chunk: nothing in it is a request any more.
      chunk.fill(0)
      socket.destroy()
    }
    socket.prependListener('data', look)
    looks.set(socket, look)
  })
  // Behind the upgrade come the bytes of another protocol.
  server.prependListener('upgrade', (_request, socket) => {
    const look = looks.get(socket)
    if (look !== undefined) socket.removeListener('data', look)
  })
}
