/** Retained messages: which there are in memory, for look-ups; what they are on disk, a row per topic. Bounded in number and bytes. */
import { bounds, retainedKey } from './persistence-records.ts'
import type { RecordChange, RecordsLike } from './persistence-records.ts'
import { bodyOf, decode, encode, isExpired, outlineOf } from './persistence-packets.ts'
import type { PacketLike } from './persistence-packets.ts'
import { TopicTree } from './persistence-topics.ts'

/** A retained message; replaced as a whole. */
interface Row { bytes: number, /** milliseconds since the epoch; 0: never */ expires: number, /** until it is on disk */ fresh: PacketLike | undefined }

/** A change that is visible at once and can be taken back while nothing newer replaced it. */
export interface StagedRetained { changes: RecordChange[], /** They are on disk. */ written: () => void, undo: () => void }

/** A retained message that matched a filter. */
export interface FoundRetained {
  readonly topic: string
  /** As it is now, if that has to be looked up anew only then by a promise; undefined when there is none any more. */
  latest (): PacketLike | undefined | Promise<PacketLike | undefined>
}

export interface RetainedLimits { /** topics */ max: number, /** of topics and payloads */ maxBytes: number }

/** Rows that are read at once, and about how many bytes. */
const pageRows = 64
const pageBytes = 1_048_576

export class RetainedMessages {
  readonly #tree = new TopicTree<Row>()
  readonly #records: Pick<RecordsLike, 'get' | 'range'>
  readonly #limits: RetainedLimits
  #bytes = 0

  constructor (records: Pick<RecordsLike, 'get' | 'range'>, limits: RetainedLimits) {
    this.#records = records
    this.#limits = limits
  }

  get size (): number { return this.#tree.size }
  /** Topic and payload bytes of all retained messages. */
  get bytes (): number { return this.#bytes }

  /** Looks which there are; `onExpired` gets the topics of those whose time has passed. */
  async load (onExpired: (topic: string) => void): Promise<void> {
    const now = Date.now()
    const [from, to] = bounds('r')
    for await (const [key, value] of this.#records.range(from, to)) {
      const topic = key.slice(from.length)
      const { payloadBytes, messageExpiry = 0 } = outlineOf(value)
      if (messageExpiry > 0 && messageExpiry <= now) onExpired(topic)
      else this.#put(topic, { bytes: Buffer.byteLength(topic) + payloadBytes, expires: messageExpiry, fresh: undefined })
    }
  }

  /** There is room for a message of so many bytes: not for a new topic over either limit, nor for a larger one over the byte limit. */
  fits (topic: string, payloadBytes: number): boolean {
    const before = this.#tree.get(topic)
    const growth = Buffer.byteLength(topic) + payloadBytes - (before?.bytes ?? 0)
    return (before !== undefined || this.#tree.size < this.#limits.max) && (growth <= 0 || this.#bytes + growth <= this.#limits.maxBytes)
  }

  /** Replaces, adds or (empty payload) removes [MQTT-3.3.1-10]. `undefined` when it does not fit. */
  stage (packet: PacketLike): StagedRetained | undefined {
    const { topic } = packet
    const before = this.#tree.get(topic)
    const key = retainedKey(topic)
    if (packet.payload.length === 0) {
      if (before === undefined) return { changes: [], written: () => {}, undo: () => {} }
      this.#remove(topic, before)
      return { changes: [{ key, value: null }], written: () => {}, undo: () => { if (this.#tree.get(topic) === undefined) this.#put(topic, before) } }
    }
    const payloadBytes = Buffer.byteLength(packet.payload)
    if (!this.fits(topic, payloadBytes)) return undefined
    const body = bodyOf(packet)
    const fresh = { ...packet }
    if (body.messageExpiry !== undefined) fresh.messageExpiry = body.messageExpiry
    const row = this.#put(topic, { bytes: Buffer.byteLength(topic) + payloadBytes, expires: body.messageExpiry ?? 0, fresh })
    return {
      changes: [{ key, value: encode(body) }],
      written: () => { row.fresh = undefined },
      undo: () => {
        if (this.#tree.get(topic) !== row) return
        if (before === undefined) this.#remove(topic, row)
        else this.#put(topic, before)
      }
    }
  }

  /** Something may match the filter. */
  mayMatch (filter: string): boolean { return /[+#]/.test(filter) ? this.size > 0 : this.#tree.get(filter) !== undefined }

  /** It was written, by another server too; without payload it is gone. `expires`: milliseconds since the epoch, 0: never. */
  note (topic: string, payloadBytes: number, expires: number): void {
    const before = this.#tree.get(topic)
    if (payloadBytes > 0) this.#put(topic, { bytes: Buffer.byteLength(topic) + payloadBytes, expires, fresh: undefined })
    else if (before !== undefined) this.#remove(topic, before)
  }

  /** Unexpired messages that match `filter`, page by page as they are taken, the first of them `share` of a page; `onExpired` gets the topics of the others. */
  async * match (filter: string, onExpired: (topic: string) => void, share = 1): AsyncGenerator<FoundRetained> {
    const found = this.#tree.match(filter)
    let part = share
    for (let more = true; more; part = 1) {
      const page: Array<[string, Row]> = []
      for (let bytes = 0; more && page.length < pageRows * part && bytes < pageBytes * part;) {
        const { done, value } = found.next()
        if (done === true) {
          more = false
          break
        }
        const [topic, row] = value
        if (row.expires > 0 && row.expires <= Date.now()) {
          this.#remove(topic, row)
          onExpired(topic)
          continue
        }
        page.push([topic, row])
        bytes += row.bytes
      }
      const packets = await Promise.all(page.map(([topic, row]) => row.fresh ?? this.#read(topic)))
      for (const [i, [topic, row]] of page.entries()) yield { topic, latest: () => this.#latest(topic, row, packets[i]) }
    }
  }

  /** The messages of several filters, one filter after the other. */
  async * packets (filters: readonly string[], onExpired: (topic: string) => void): AsyncGenerator<PacketLike> {
    for (const filter of filters) {
      for await (const found of this.match(filter, onExpired)) {
        const packet = await found.latest()
        if (packet !== undefined) yield packet
      }
    }
  }

  /** What was read of a row while it is the same, else what took its place. */
  #latest (topic: string, row: Row, packet: PacketLike | undefined): PacketLike | undefined | Promise<PacketLike | undefined> {
    const now = this.#tree.get(topic)
    if (now === row && packet !== undefined) return packet
    if (now === undefined || now.fresh !== undefined) return now?.fresh
    // Without a row it is damaged, or on its way out.
    return now === row ? undefined : this.#read(topic).then(read => this.#latest(topic, now, read))
  }

  async #read (topic: string): Promise<PacketLike | undefined> {
    const row = await this.#records.get(retainedKey(topic))
    if (row === undefined) return undefined
    const { body } = decode(row)
    return isExpired(body) ? undefined : { ...body, cmd: 'publish' }
  }

  #put (topic: string, row: Row): Row {
    const before = this.#tree.set(topic, row)
    this.#bytes += row.bytes - (before?.bytes ?? 0)
    return row
  }

  #remove (topic: string, row: Row): void {
    this.#bytes -= row.bytes
    this.#tree.delete(topic)
  }
}
