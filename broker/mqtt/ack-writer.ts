import { property } from './properties.ts'
import { varintBytes, writeVarint } from './writer.ts'
import type { AckType } from './types.ts'

/** Packet id and reason code. */
const headBytes = 3

/**
 * Writes acknowledgements of MQTT 5 (PUBACK, PUBREC; sections 3.4 and 3.5) that say two things of each message, as user properties whose names are always
 * the same. They are on the hot path: one for each message. Names and values are printable ASCII.
 */
export class AckWriter {
  readonly #first: Buffer
  readonly #second: Buffer

  constructor (first: string, second: string) {
    this.#first = nameOf(first)
    this.#second = nameOf(second)
  }

  /** Bytes of the packet. */
  size (first: string, second: string): number {
    const properties = this.#propertyBytes(first, second)
    const remaining = headBytes + varintBytes(properties) + properties
    return 1 + varintBytes(remaining) + remaining
  }

  /** Writes the packet, with the reason code 0, at `at`; returns the offset after it. `target` has room for `size`. */
  write (target: Buffer, at: number, type: AckType, packetId: number, first: string, second: string): number {
    const properties = this.#propertyBytes(first, second)
    target[at++] = type << 4
    at = writeVarint(target, at, headBytes + varintBytes(properties) + properties)
    target[at++] = packetId >> 8
    target[at++] = packetId
    target[at++] = 0
    at = writeVarint(target, at, properties)
    return writePair(target, writePair(target, at, this.#first, first), this.#second, second)
  }

  #propertyBytes (first: string, second: string): number { return this.#first.length + 2 + first.length + this.#second.length + 2 + second.length }
}

/** A user property up to its value. */
function nameOf (name: string): Buffer { return Buffer.from([property.userProperty, 0, name.length, ...Buffer.from(name, 'latin1')]) }

function writePair (target: Buffer, at: number, name: Buffer, value: string): number {
  // A few bytes: calling what copies and encodes would take longer.
  for (let i = 0; i < name.length; i++) target[at++] = name[i] as number
  target[at++] = value.length >> 8
  target[at++] = value.length
  for (let i = 0; i < value.length; i++) target[at++] = value.charCodeAt(i)
  return at
}
