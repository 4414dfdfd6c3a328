import { Socket } from 'node:net'
import type { Place, Sockets } from './sockets.ts'

/** What is known of a connection's peer before TLS begins. */
export interface Peer { address: string, place: Place }

/**
 * The sockets beneath those of TLS, which do not tell what they are on: both have the same peer, by its address and port. Counted from the first
 * moment: a handshake costs more than anything else that a stranger can ask for.
 */
export class Peers {
  readonly #peers = new Map<string, Peer>()

  /** False: there is no place, and the socket was ended. */
  enter (socket: Socket, sockets: Sockets): boolean {
    const key = keyOf(socket)
    const place = sockets.enter(socket)
    if (place === undefined) return false
    const peer = { address: socket.remoteAddress ?? '', place }
    this.#peers.set(key, peer)
    socket.once('close', () => { if (this.#peers.get(key) === peer) this.#peers.delete(key) })
    return true
  }

  of (socket: Socket): Peer | undefined { return this.#peers.get(keyOf(socket)) }
}

const getAddress = Object.getOwnPropertyDescriptor(Socket.prototype, 'remoteAddress')?.get

/** Of the connection itself, whatever a proxy says of it. */
export function ownAddress (socket: Socket): string | undefined { return getAddress?.call(socket) as string | undefined }

function keyOf (socket: Socket): string { return `${ownAddress(socket) ?? ''} ${socket.remotePort ?? 0} ${socket.localAddress ?? ''}` }
