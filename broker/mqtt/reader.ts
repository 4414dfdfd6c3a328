import { malformed } from './protocol-error.ts'
import { filterOf, textOf, topicOf } from './text.ts'
import type { FrameLimits } from './types.ts'

/** Reads the data types of MQTT (5.0, section 1.5) one after the other. Throws `ProtocolError` (0x81) where the packet ends too early. */
export class Reader {
  readonly buf: Buffer
  at: number
  readonly end: number

  constructor (buf: Buffer, start: number, end: number) {
    this.buf = buf
    this.at = start
    this.end = end
  }

  byte (): number {
    return this.buf[this.#next(1)] as number
  }

  uint16 (): number {
    const at = this.#next(2)
    return (this.buf[at] as number) << 8 | (this.buf[at + 1] as number)
  }

  uint32 (): number {
    return this.buf.readUInt32BE(this.#next(4))
  }

  /** A variable byte integer, in the fewest bytes ([MQTT-1.5.5-1]). */
  varint (): number {
    let value = 0
    for (let place = 0; place < 4; place++) {
      const byte = this.byte()
      value += (byte & 0x7f) << (7 * place)
      if (byte < 0x80) {
        if (byte === 0 && place > 0) break
        return value
      }
    }
    throw malformed('a variable byte integer is longer than it may be')
  }

  /** Binary data, a view of the packet. */
  binary (): Buffer {
    const length = this.uint16()
    const at = this.#next(length)
    return this.buf.subarray(at, at + length)
  }

  text (): string {
    const length = this.uint16()
    const at = this.#next(length)
    return textOf(this.buf, at, at + length)
  }

  topic (limits: FrameLimits): string {
    const length = this.uint16()
    const at = this.#next(length)
    return topicOf(this.buf, at, at + length, limits)
  }

  filter (limits: FrameLimits): string {
    const length = this.uint16()
    const at = this.#next(length)
    return filterOf(this.buf, at, at + length, limits)
  }

  packetId (): number {
    const packetId = this.uint16()
    if (packetId === 0) throw malformed('the packet id is 0')
    return packetId
  }

  /** Throws unless everything was read. */
  finish (): void {
    if (this.at !== this.end) throw malformed('bytes follow the packet\'s content')
  }

  #next (bytes: number): number {
    const at = this.at
    if (bytes > this.end - at) throw malformed('the packet ends too early')
    this.at = at + bytes
    return at
  }
}
