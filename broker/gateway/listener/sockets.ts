import type { Socket } from 'node:net'
import { network } from '../../network.ts'

/** A socket's place in the counts. */
export interface Place {
  /** Who uses the socket is known (true), or no longer matters (false): only sockets of strangers give way to new ones. */
  settle (known: boolean): void
}

interface Entry extends Place { end (): void }
interface Address { count: number, readonly strangers: Set<Entry> }

export interface SocketLimits {
  /** Sockets in all, and from one address (one /64 of IPv6). */
  connections: number
  connectionsPerAddress: number
}

/** Sockets of strangers that one address may have before its own oldest gives way to its next, instead of the oldest of all. */
const strangersInPeace = 8

/**
 * Counts the sockets of every listener from their first moment until they are closed: a socket costs a descriptor whatever it
 * says, and one that says nothing as much as any. When all places are taken, the oldest socket of a stranger gives way, so
 * that who only opens sockets keeps nobody out.
 */
export class Sockets {
  readonly #limits: SocketLimits
  readonly #onFull: (address: string) => void
  readonly #addresses = new Map<string, Address>()
  /** In the order of their coming. */
  readonly #strangers = new Set<Entry>()
  #count = 0

  /** `onFull` hears of each socket that found no free place, with its address. */
  constructor (limits: SocketLimits, onFull: (address: string) => void) {
    this.#limits = limits
    this.#onFull = onFull
  }

  get count (): number { return this.#count }

  /** Counts a socket until it is closed; `undefined` when there is no place for it, and it is destroyed. */
  enter (socket: Pick<Socket, 'remoteAddress' | 'destroy' | 'once' | 'on'>): Place | undefined {
    const address = network(socket.remoteAddress ?? '')
    if (!this.#room(address)) {
      socket.on('error', () => { socket.destroy() })
      socket.destroy()
      return undefined
    }
    const of = this.#addresses.get(address) ?? { count: 0, strangers: new Set() }
    this.#addresses.set(address, of)
    let left = false
    const settle = (known: boolean): void => {
      if (left) return
      for (const set of [this.#strangers, of.strangers]) {
        if (known) set.delete(entry)
        else set.add(entry)
      }
    }
    const leave = (): void => {
      if (left) return
      settle(true)
      left = true
      this.#count--
      if (--of.count === 0) this.#addresses.delete(address)
    }
    const end = (): void => {
      leave()
      socket.destroy()
    }
    const entry: Entry = { settle, end }
    this.#count++
    of.count++
    settle(false)
    socket.once('close', leave)
    return entry
  }

  /** True when there is a place, if need be that of a stranger. */
  #room (address: string): boolean {
    const { connections, connectionsPerAddress } = this.#limits
    const of = this.#addresses.get(address)
    const tooManyHere = of !== undefined && of.count >= connectionsPerAddress
    if (!tooManyHere && this.#count < connections) return true
    this.#onFull(address)
    const own = tooManyHere || (of !== undefined && of.strangers.size >= strangersInPeace)
    const [oldest] = own ? of?.strangers ?? [] : this.#strangers
    oldest?.end()
    return oldest !== undefined
  }
}
