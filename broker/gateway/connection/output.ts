import type { Tick } from '../tick.ts'
import type { Traffic } from '../traffic.ts'
import type { Transport } from '../listener/transport.ts'
import { Chunks } from '../chunks.ts'

const firstChunkBytes = 1024
const maxChunkBytes = 65536
/** The large chunks of all connections: each serves one turn, and a fresh one for each would be the collector's main work. */
const chunks = new Chunks([16_384, maxChunkBytes])

/**
 * The outgoing side of a connection. Packets are encoded straight into one chunk that is handed to the kernel at the end of
 * the turn: writing each packet by itself costs more than all else together. An idle connection holds no chunk.
 */
export class Output {
  readonly #transport: Transport
  readonly #tick: Tick
  readonly #traffic: Traffic
  #chunk: Buffer | undefined
  #used = 0
  #full: Buffer[] = []
  #pendingBytes = 0
  #scheduled = false
  #closed = false
  readonly #drained: () => void

  /** `drained` is called when the kernel took everything at once: a socket tells only of what had to wait. */
  constructor (transport: Transport, tick: Tick, traffic: Traffic, drained: () => void) {
    this.#transport = transport
    this.#traffic = traffic
    this.#tick = tick
    this.#drained = drained
  }

  get closed (): boolean { return this.#closed }

  /** Bytes that the kernel has not taken, those of this turn included. */
  get unsentBytes (): number { return this.#pendingBytes + this.#used + this.#transport.unsentBytes }

  /** The buffer to write `bytes` bytes into, from `offset` on; the caller fills all of them before anything else is written. */
  reserve (bytes: number): Buffer {
    if (this.#chunk === undefined || this.#chunk.length - this.#used < bytes) this.#grow(bytes)
    this.offset = this.#used
    this.#used += bytes
    if (!this.#scheduled) {
      this.#scheduled = true
      this.#tick.flushLater(this)
    }
    return this.#chunk as Buffer
  }

  /** Where the last reservation begins. */
  offset = 0

  /** Writes a packet that is encoded already. */
  write (packet: Uint8Array): void {
    if (this.#closed) return
    this.reserve(packet.length).set(packet, this.offset)
  }

  #grow (bytes: number): void {
    let size = firstChunkBytes
    if (this.#chunk !== undefined) {
      size = Math.min(this.#chunk.length * 4, maxChunkBytes)
      this.#full.push(this.#chunk.subarray(0, this.#used))
      this.#pendingBytes += this.#used
    }
    const { headroom } = this.#transport
    this.#chunk = chunks.take(Math.max(size, headroom + bytes))
    this.#used = headroom
  }

  flush (): void {
    this.#scheduled = false
    const chunk = this.#chunk
    const full = this.#full
    const used = this.#used
    this.#chunk = undefined
    this.#used = 0
    if (full.length > 0) {
      this.#full = []
      this.#pendingBytes = 0
    }
    if (this.#closed) return
    this.#traffic.bytesSent += used
    for (const buffer of full) {
      this.#traffic.bytesSent += buffer.length
      this.#transport.write(buffer)
    }
    if (chunk !== undefined && used > this.#transport.headroom) this.#transport.write(chunk.subarray(0, used))
    if (this.#transport.unsentBytes > 0) return
    // The kernel has all of it. What waits in a socket stays as it is until it is sent.
    for (const buffer of full) chunks.give(buffer)
    if (chunk !== undefined) chunks.give(chunk)
    this.#drained()
  }

  /** Drops what is not handed over; later writes do nothing. */
  close (): void { this.#closed = true }
}
