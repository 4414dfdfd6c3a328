/**
 * What queued messages take on disk. A message that is queued for several sessions is stored once; their queues refer to it. How often is
 * counted in memory, read off the queues at the start, so that the last one that lets go removes the row.
 */
import { sharedKey } from './persistence-records.ts'
import type { RecordChange } from './persistence-records.ts'
import type { Properties } from './persistence-packets.ts'

/** What a queue's row takes beside its body. */
const rowBytes = 100
/** Instead of a header's length, which a row of `encode` begins with: the row refers to a shared body. */
const referenceMark = 0xffffffff

/** Where an entry's body is: above 0 the number of a shared one, otherwise the bytes of its own row, negative. */
export type BodyPlace = number

/** What a session's delivery has of its own when the body is shared. */
export interface Reference { body: number, qos: 0 | 1 | 2, retain: boolean, identifiers: number[] }

export class Bodies {
  readonly #shared = new Map<number, { references: number, bytes: number }>()
  #bytes = 0
  #last = 0

  /** Of all queues, shared bodies counted once. */
  get bytes (): number { return this.#bytes }

  /** A new shared body of so many bytes; without references until `take`. */
  add (bytes: number): number {
    this.#shared.set(++this.#last, { references: 0, bytes })
    this.#bytes += bytes
    return this.#last
  }

  /** At the start: a row that is there. */
  found (id: number, bytes: number): void {
    this.#shared.set(id, { references: 0, bytes })
    this.#bytes += bytes
    if (id > this.#last) this.#last = id
  }

  /** At the start, when all queues have taken theirs: rows that nobody refers to. */
  orphans (): RecordChange[] {
    const changes: RecordChange[] = []
    for (const [id, { references, bytes }] of this.#shared) {
      if (references > 0) continue
      this.#shared.delete(id)
      this.#bytes -= bytes
      changes.push({ key: sharedKey(id), value: null })
    }
    return changes
  }

  /** An entry is there. */
  take (place: BodyPlace): void {
    this.#bytes += rowBytes
    if (place <= 0) {
      this.#bytes -= place
      return
    }
    const shared = this.#shared.get(place)
    if (shared !== undefined) shared.references++
  }

  /** An entry, or its body, goes. */
  leave (place: BodyPlace): RecordChange[] {
    this.#bytes -= rowBytes
    if (place <= 0) {
      this.#bytes += place
      return []
    }
    const shared = this.#shared.get(place)
    if (shared === undefined || --shared.references > 0) return []
    this.#shared.delete(place)
    this.#bytes -= shared.bytes
    return [{ key: sharedKey(place), value: null }]
  }

  /** Bytes that an entry stands for in its own queue, as if the body were its own. */
  bytesOf (place: BodyPlace): number { return rowBytes + (place > 0 ? this.#shared.get(place)?.bytes ?? 0 : -place) }
}

export function encodeReference ({ body, qos, retain, identifiers }: Reference): Buffer {
  const rest = Buffer.from(JSON.stringify([body, qos, retain ? 1 : 0, ...identifiers]))
  const mark = Buffer.allocUnsafe(4)
  mark.writeUInt32BE(referenceMark)
  return Buffer.concat([mark, rest])
}

/** `undefined` when the row holds a body of its own. */
export function decodeReference (bytes: Uint8Array): Reference | undefined {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (buffer.length < 4 || buffer.readUInt32BE(0) !== referenceMark) return undefined
  const [body = 0, qos = 0, retain = 0, ...identifiers] = JSON.parse(buffer.toString('utf8', 4)) as number[]
  return { body, qos: qos as 0 | 1 | 2, retain: retain === 1, identifiers }
}

/** The properties of a delivery with the identifiers of its subscriptions. */
export function withIdentifiers (properties: Properties | undefined, identifiers: readonly number[]): { properties?: Properties } {
  if (identifiers.length > 0) return { properties: { ...properties, subscriptionIdentifier: [...identifiers] } }
  return properties === undefined ? {} : { properties }
}
