import { Duplex } from 'node:stream'
import type { OrdinaryPeer } from '../gateway/ordinary-topics.ts'
import { packetTypes } from '../mqtt/index.ts'

/**
 * What Aedes takes for the client's socket. What it writes is cut into packets: its CONNACK is dropped (the connection has
 * sent one), acknowledgements are counted, the rest goes into the connection's output.
 */
export class AedesStream extends Duplex {
  readonly #peer: OrdinaryPeer
  /** Unsent bytes above which QoS 0 is dropped; above twice as many the connection ends. */
  readonly #outputBytes: number
  #rest: Buffer | undefined
  #holding = false

  constructor (peer: OrdinaryPeer, outputBytes: number) {
    super({ allowHalfOpen: false, emitClose: true })
    this.#peer = peer
    this.#outputBytes = outputBytes
  }

  /** A client's packet for Aedes. When Aedes is behind, the connection is not read until it asks for more. */
  feed (packet: Buffer): void {
    if (this.destroyed || this.push(packet) || this.#holding) return
    this.#holding = true
    this.#peer.hold()
  }

  override _read (): void {
    if (!this.#holding) return
    this.#holding = false
    this.#peer.release()
  }

  override _write (chunk: Buffer, _encoding: string, done: (err?: Error) => void): void {
    this.#packets(chunk)
    done()
  }

  override _writev (chunks: Array<{ chunk: Buffer }>, done: (err?: Error) => void): void {
    this.#packets(Buffer.concat(chunks.map(one => one.chunk)))
    done()
  }

  #packets (data: Buffer): void {
    let buf = this.#rest === undefined ? data : Buffer.concat([this.#rest, data])
    this.#rest = undefined
    for (;;) {
      const end = packetEnd(buf)
      if (end === undefined) break
      this.#packet(buf.subarray(0, end))
      buf = buf.subarray(end)
    }
    if (buf.length > 0) this.#rest = buf
  }

  #packet (packet: Buffer): void {
    const peer = this.#peer
    const type = (packet[0] as number) >> 4
    if (type === packetTypes.connack || peer.closed) return
    // Aedes does not look at the client's Maximum Packet Size [MQTT-3.1.2-25].
    if (type === packetTypes.publish) {
      if (packet.length > peer.maximumPacketBytes) return
      // Nothing in Aedes holds a message back for a client that does not read: QoS 0 is dropped, then the connection ends, and a
      // persistent session finds the rest in its queue.
      const { unsentBytes } = peer
      if (unsentBytes > this.#outputBytes && ((packet[0] as number) & 6) === 0) return
      if (unsentBytes > this.#outputBytes * 2) return peer.cutOff()
    }
    peer.write(packet)
    if (type === packetTypes.puback || type === packetTypes.pubrec) peer.acknowledged()
  }
}

/** Where the first packet of `buf` ends; undefined when it is not whole. */
function packetEnd (buf: Buffer): number | undefined {
  let length = 0
  for (let i = 1; i < 5; i++) {
    const byte = buf[i]
    if (byte === undefined) return undefined
    length |= (byte & 0x7f) << (7 * (i - 1))
    if ((byte & 0x80) === 0) return buf.length >= i + 1 + length ? i + 1 + length : undefined
  }
  return undefined
}
