import { Framer, type FrameSink } from '../../mqtt/index.ts'
import { network } from '../../network.ts'
import type { Turns } from '../../turns.ts'
import type { Clock } from '../clock.ts'
import type { Transport } from '../listener/transport.ts'
import { Allowance } from './allowance.ts'

/** The connection, as reading from it needs it. */
export interface ReadingPeer {
  readonly transport: Transport
  readonly user: string
  readonly isClosed: boolean
  /** Takes one packet: its first byte, and `buf[start, end)` behind its fixed header, which begins at `frameStart`. */
  packet (first: number, buf: Buffer, start: number, end: number, frameStart: number): void
  /** The client broke the protocol's rules. */
  refuse (err: unknown): void
  close (): void
}

export interface ReadingContext {
  readonly clock: Clock
  /** Connections that are beyond their allowance, in turn by user. */
  readonly turns: Turns
  readonly limits: { readonly connectBytes: number }
}

/** Cuts what a connection brings into packets, and hands them on as far and as fast as the connection is to be read. */
export class Reading {
  readonly allowance: Allowance
  /** The peer has gone, and what it sent is not all taken in yet. */
  gone = false
  /** When the last packet came, by the gateway's clock. */
  lastPacket: number
  /** Since the last sweep. */
  packets = 0
  bytes = 0
  readonly #peer: ReadingPeer
  readonly #context: ReadingContext
  readonly #framer: Framer
  /** The engine lets the session wait for its sender's rate. */
  #paced = false
  /** Beyond its allowance: goes on when its turn comes. */
  #waits = false
  #holds = 0

  constructor (peer: ReadingPeer, context: ReadingContext) {
    this.#peer = peer
    this.#context = context
    this.#framer = new Framer({ maxPacketBytes: context.limits.connectBytes })
    this.lastPacket = context.clock.now
    this.allowance = new Allowance(context.clock.now)
  }

  readonly #sink: FrameSink = (first, buf, start, end, frameStart) => {
    if (this.#peer.isClosed) return
    this.lastPacket = this.#context.clock.now
    this.packets++
    this.#peer.packet(first, buf, start, end, frameStart)
  }

  /** Bytes of the packet at hand, when it is too large and only its head was read; otherwise 0. */
  get cutBytes (): number { return this.#framer.cutBytes }
  /** Something keeps it from being read. */
  get held (): boolean { return this.#holds > 0 }
  /** Others have their turn first. */
  get waits (): boolean { return this.#waits }
  /** What came is not all taken in, and will be. */
  get unread (): boolean { return (this.#waits || this.#paced) && this.#framer.pendingBytes > 0 }

  take (chunk: Buffer): void {
    this.bytes += chunk.length
    this.allowance.earn(this.#context.clock.refresh())
    try {
      this.#framer.feed(chunk, this.#sink)
      if (this.#framer.skipping) this.lastPacket = this.#context.clock.now
    } catch (err) {
      this.#peer.refuse(err)
    }
  }

  /** From now on packets may have this size. `skips`: larger ones are read over. */
  open (maxPacketBytes: number, skips: boolean): void {
    this.#framer.maxPacketBytes = maxPacketBytes
    this.#framer.skips = skips
  }

  /** Stops handing out packets until `release`; holds add up. */
  hold (): void {
    if (this.#holds++ > 0) return
    this.#framer.pause()
    this.#peer.transport.pause()
  }

  release (): void {
    const peer = this.#peer
    if (this.#holds === 0 || --this.#holds > 0 || peer.isClosed) return
    // The keep alive counts from here: what the client said meanwhile is not read yet.
    this.lastPacket = this.#context.clock.refresh()
    peer.transport.resume()
    try {
      this.#framer.resume(this.#sink)
    } catch (err) {
      peer.refuse(err)
    }
    if (this.gone && this.#holds === 0) peer.close()
  }

  /** Holds the connection as long as the engine says; saying it again changes nothing. */
  pace (held: boolean): void {
    if (held === this.#paced) return
    this.#paced = held
    if (held) this.hold()
    else this.release()
  }

  /** Lets the other connections have their turn first when this one has used up its allowance. */
  yield (): void {
    if (!this.allowance.spent || this.#waits) return
    this.#waits = true
    this.hold()
    const { user, transport } = this.#peer
    this.#context.turns.add(user === '' ? network(transport.address) : user, () => { this.#goOn() })
  }

  #goOn (): void {
    this.#waits = false
    if (this.#peer.isClosed) return
    const { clock, turns } = this.#context
    this.allowance.slice(clock.refresh(), turns.size === 0)
    this.release()
  }

  close (): void { this.#framer.close() }
}
