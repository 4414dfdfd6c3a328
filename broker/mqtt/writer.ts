import { property } from './properties.ts'
import type { UserProperties } from './types.ts'

/** The largest variable byte integer (MQTT 5.0, section 1.5.5). */
const maxVarint = 268_435_455

/** Bytes of a variable byte integer. Throws `RangeError` over 268,435,455. */
export function varintBytes (value: number): number {
  if (value < 0x80) return 1
  if (value < 0x4000) return 2
  if (value < 0x20_0000) return 3
  if (value <= maxVarint) return 4
  throw new RangeError(`${value} is over the largest length of a packet`)
}

export function writeVarint (target: Buffer, at: number, value: number): number {
  while (value >= 0x80) {
    target[at++] = (value & 0x7f) | 0x80
    value >>>= 7
  }
  target[at++] = value
  return at
}

/** Collects the data types of MQTT (5.0, section 1.5); for packets that are not on the hot path. */
export class Writer {
  readonly #parts: Buffer[] = []
  #bytes = 0

  byte (value: number): this {
    return this.raw(Buffer.from([value]))
  }

  uint16 (value: number): this {
    return this.raw(Buffer.from([value >> 8, value]))
  }

  uint32 (value: number): this {
    const part = Buffer.allocUnsafe(4)
    part.writeUInt32BE(value)
    return this.raw(part)
  }

  varint (value: number): this {
    const part = Buffer.allocUnsafe(varintBytes(value))
    writeVarint(part, 0, value)
    return this.raw(part)
  }

  text (value: string): this {
    return this.binary(Buffer.from(value, 'utf8'))
  }

  /** Throws `RangeError` over 65,535 bytes. */
  binary (value: Buffer): this {
    if (value.length > 0xffff) throw new RangeError(`${value.length} bytes are over the limit of 65535`)
    return this.uint16(value.length).raw(value)
  }

  userProperties (pairs: UserProperties | undefined): this {
    if (pairs !== undefined) for (const [name, value] of pairs) this.byte(property.userProperty).text(name).text(value)
    return this
  }

  raw (part: Buffer): this {
    this.#parts.push(part)
    this.#bytes += part.length
    return this
  }

  /** What was collected, with its length as a variable byte integer before it. */
  withLength (): Buffer {
    const length = Buffer.allocUnsafe(varintBytes(this.#bytes))
    writeVarint(length, 0, this.#bytes)
    return Buffer.concat([length, ...this.#parts], length.length + this.#bytes)
  }

  /** The packet with this first byte, and what was collected as its body. */
  packet (first: number): Buffer {
    return Buffer.concat([Buffer.from([first]), this.withLength()])
  }
}
