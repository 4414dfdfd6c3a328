/** One session's outgoing queue: what it was sent and has not acknowledged, and what it has not been sent. */
import { bodyKey, stateKey } from './persistence-records.ts'
import type { RecordChange } from './persistence-records.ts'
import type { Bodies, BodyPlace } from './persistence-bodies.ts'
import type { Body, PacketLike } from './persistence-packets.ts'

/** A queued message; one whose body is not in memory is read from its row when the client connects. */
export interface Entry {
  seq: number
  qos: 0 | 1 | 2
  /** `undefined` when there is none any more. */
  place?: BodyPlace
  messageId?: number
  /** Which connection it was last sent on (0 = one before the start of the process); absent = never sent. */
  sentOn?: number
  /** It left the queue. */
  gone?: boolean
  /** PUBREC came: the body is gone, only PUBREL is due. */
  released: boolean
  body?: Body
  /** As Aedes named the packet; how its live delivery finds the entry. */
  brokerId?: string
  brokerCounter?: number
}

/** A state row. */
interface State { id: number, rel?: 1 }

const maxPacketId = 65535
/** As broker id of a message that Aedes did not name yet, or named before this process: its counter is the entry's number. */
export const storedBroker = 'stored'
const keyOf = (brokerId: string, counter: number) => `${counter} ${brokerId}`

/**
 * Entries of a connected session are in memory, by number, packet id and broker counter, so an acknowledgement costs O(1).
 * For a session that is away only the numbers of the first and the last entry are, and where the bodies between them lie.
 */
export class OutgoingQueue {
  readonly client: string
  /** Numbers `coldFrom <= seq < coldTo` are on disk only, without gaps, and before every entry in `entries`. */
  coldFrom: number
  coldTo: number
  next: number
  /** Messages that went to make room. */
  lost = 0
  /** In the order of their numbers. */
  entries = new Map<number, Entry>()
  readonly #byId = new Map<number, Entry>()
  readonly #byBroker = new Map<string, Entry>()
  readonly #minId: number
  readonly #bodies: Bodies
  /** Places of the cold entries, from the number `#coldBase` on; absent where there is no body. */
  #coldPlaces: Array<BodyPlace | undefined> = []
  #coldBase = 0
  /** Bytes that the queued messages would take by themselves. */
  #bytes = 0
  /** Begins far from where those of the connection do, so that none is used again soon. */
  #lastId: number

  /**
   * @param minId the lowest packet id that the queue chooses by itself
   * @param first the number of the first message
   */
  constructor (client: string, bodies: Bodies, minId = 1, first = 1) {
    this.client = client
    this.#bodies = bodies
    this.#minId = minId
    this.#lastId = (minId + maxPacketId) >> 1
    this.coldFrom = this.coldTo = this.next = first
  }

  get size (): number { return this.coldTo - this.coldFrom + this.entries.size }
  /** Of the queued messages, as if none were shared. */
  get bytes (): number { return this.#bytes }

  /** Appends; the changes hold the new row and the removal of the oldest entries over the limits. The newest one always stays. */
  append (body: Body, qos: 1 | 2, row: { place: BodyPlace, value: Buffer }, limits: { max: number, maxBytes: number }, changes: RecordChange[]): { entry: Entry, dropped: number } {
    const bytes = this.#bodies.bytesOf(row.place)
    let dropped = 0
    while (this.size > 0 && (this.size >= limits.max || this.#bytes + bytes > limits.maxBytes)) {
      changes.push(...this.#dropOldest())
      dropped++
    }
    if (this.size === 0) this.coldFrom = this.coldTo = this.next
    const entry: Entry = { seq: this.next++, qos, released: false, body, place: row.place }
    this.#take(row.place)
    this.entries.set(entry.seq, entry)
    changes.push({ key: bodyKey(this.client, entry.seq), value: row.value })
    return { entry, dropped }
  }

  #take (place: BodyPlace): void {
    this.#bodies.take(place)
    this.#bytes += this.#bodies.bytesOf(place)
  }

  /** The body of an entry goes; `undefined`: it had none. */
  #leave (place: BodyPlace | undefined): RecordChange[] {
    if (place === undefined) return []
    this.#bytes -= this.#bodies.bytesOf(place)
    return this.#bodies.leave(place)
  }

  /** Drops a sixteenth, the oldest, at least one. How many went. */
  shed (changes: RecordChange[]): number {
    const count = Math.ceil(this.size / 16)
    for (let i = 0; i < count; i++) changes.push(...this.#dropOldest())
    return count
  }

  /** Does nothing when the entry is gone, or only a number by now. */
  bind (entry: Entry, brokerId: string, brokerCounter: number): void {
    if (this.entries.get(entry.seq) !== entry) return
    this.#unbind(entry)
    entry.brokerId = brokerId
    entry.brokerCounter = brokerCounter
    this.#byBroker.set(keyOf(brokerId, brokerCounter), entry)
  }

  /** The entry of a packet of Aedes; its packet id says nothing, as Aedes numbers packets that are not in the queue too. */
  find ({ brokerId, brokerCounter }: Pick<PacketLike, 'brokerId' | 'brokerCounter'>): Entry | undefined {
    if (brokerId === undefined || brokerCounter === undefined) return undefined
    return brokerId === storedBroker ? this.entries.get(brokerCounter) : this.#byBroker.get(keyOf(brokerId, brokerCounter))
  }

  byId (messageId: number): Entry | undefined { return this.#byId.get(messageId) }

  /** Gives an entry its packet id: `wanted` if no other message in flight has it [MQTT-2.3.1-4]. */
  identify (entry: Entry, wanted: number | undefined, inUse?: ReadonlySet<number>): number {
    if (entry.messageId !== undefined) return entry.messageId
    entry.messageId = this.freeId(wanted, inUse)
    this.#byId.set(entry.messageId, entry)
    return entry.messageId
  }

  /** `wanted`, or another id that no message in flight has; `inUse`: ids of those that are not of the queue, too. */
  freeId (wanted: number | undefined, inUse?: ReadonlySet<number>): number {
    const taken = (id: number): boolean => this.#byId.has(id) || inUse?.has(id) === true
    if (wanted !== undefined && !taken(wanted)) return wanted
    const ids = maxPacketId - this.#minId + 1
    let tries = 0
    do { this.#lastId = this.#lastId >= maxPacketId ? this.#minId : this.#lastId + 1 } while (taken(this.#lastId) && ++tries < ids)
    return this.#lastId
  }

  /** The state row of an entry that has a packet id. */
  stateChange (entry: Entry): RecordChange {
    const state: State = { id: entry.messageId as number }
    if (entry.released) state.rel = 1
    return { key: stateKey(this.client, entry.seq), value: Buffer.from(JSON.stringify(state)) }
  }

  /** PUBREC: from here on only the packet id counts. */
  release (entry: Entry): RecordChange[] {
    entry.released = true
    delete entry.body
    this.#unbind(entry)
    const left = this.#leave(entry.place)
    delete entry.place
    return [this.stateChange(entry), { key: bodyKey(this.client, entry.seq), value: null }, ...left]
  }

  /** A PUBREC for a message that is not in the queue: PUBREL is due all the same [MQTT-4.3.3-1]. */
  adopt (messageId: number): RecordChange[] {
    if (this.size === 0) this.coldFrom = this.coldTo = this.next
    const entry: Entry = { seq: this.next++, qos: 2, released: true, messageId }
    this.entries.set(entry.seq, entry)
    this.#byId.set(messageId, entry)
    return [this.stateChange(entry)]
  }

  remove ({ seq }: Entry): RecordChange[] {
    const entry = this.entries.get(seq)
    if (entry === undefined) return []
    this.entries.delete(seq)
    entry.gone = true
    if (entry.messageId !== undefined) this.#byId.delete(entry.messageId)
    this.#unbind(entry)
    return [...this.#rowsOf(entry.seq), ...this.#leave(entry.place)]
  }

  /** From here on it is found by its number: sent again under a name that finds nothing, it would be another message with another packet id. */
  #unbind (entry: Entry): void {
    if (entry.brokerId === undefined || entry.brokerCounter === undefined) return
    this.#byBroker.delete(keyOf(entry.brokerId, entry.brokerCounter))
    delete entry.brokerId
    delete entry.brokerCounter
  }

  #dropOldest (): RecordChange[] {
    this.lost++
    if (this.coldFrom < this.coldTo) {
      const seq = this.coldFrom++
      return [...this.#rowsOf(seq), ...this.#leave(this.#coldPlaceOf(seq))]
    }
    const oldest = this.entries.values().next().value
    return oldest === undefined ? [] : this.remove(oldest)
  }

  #rowsOf (seq: number): RecordChange[] {
    return [{ key: bodyKey(this.client, seq), value: null }, { key: stateKey(this.client, seq), value: null }]
  }

  /** Removes everything. */
  clear (): RecordChange[] {
    const changes: RecordChange[] = []
    while (this.size > 0) changes.push(...this.#dropOldest())
    return changes
  }

  /** Leaves only numbers in memory, when there are no gaps between them; bodies leave in any case. Rows must be written before. */
  chill (): void {
    const first = this.entries.keys().next().value
    if (first === undefined) return
    const joins = this.coldFrom === this.coldTo || this.coldTo === first
    if (joins && this.next - first === this.entries.size) {
      if (this.coldFrom === this.coldTo) {
        this.coldFrom = this.#coldBase = first
        this.#coldPlaces = []
      } else if (this.coldFrom > this.#coldBase) {
        this.#coldPlaces.splice(0, this.coldFrom - this.#coldBase)
        this.#coldBase = this.coldFrom
      }
      for (const { place } of this.entries.values()) this.#coldPlaces.push(place)
      this.coldTo = this.next
      this.entries.clear()
      this.#byId.clear()
      this.#byBroker.clear()
      return
    }
    for (const entry of this.entries.values()) {
      delete entry.body
      this.#unbind(entry)
    }
  }

  /** Brings the entries that are only numbers into memory, with the states that were read from their rows. */
  warm (states: ReadonlyMap<number, State>): void {
    if (this.coldFrom === this.coldTo) return
    const later = this.entries
    this.entries = new Map()
    for (let seq = this.coldFrom; seq < this.coldTo; seq++) this.#load(seq, states.get(seq), this.#coldPlaceOf(seq))
    this.#coldPlaces = []
    for (const [seq, entry] of later) this.entries.set(seq, entry)
    this.coldFrom = this.coldTo = this.next
  }

  #coldPlaceOf (seq: number): BodyPlace | undefined { return this.#coldPlaces[seq - this.#coldBase] }

  /** At start: the numbers of the rows, ascending, and where the bodies are. */
  restore (seqs: readonly number[], states: ReadonlyMap<number, State>, places: ReadonlyMap<number, BodyPlace>): void {
    for (const place of places.values()) this.#take(place)
    const first = seqs[0]
    const last = seqs[seqs.length - 1]
    if (first === undefined || last === undefined) return
    this.next = last + 1
    if (this.next - first === seqs.length) {
      this.coldFrom = this.#coldBase = first
      this.coldTo = this.next
      this.#coldPlaces = seqs.map(seq => places.get(seq))
    } else {
      this.coldFrom = this.coldTo = first
      for (const seq of seqs) this.#load(seq, states.get(seq), places.get(seq))
    }
  }

  #load (seq: number, state: State | undefined, place: BodyPlace | undefined): void {
    // The quality of service is in the body's row; the stream reads it there.
    const entry: Entry = { seq, qos: 1, released: state?.rel === 1 }
    if (place !== undefined) entry.place = place
    if (state !== undefined) {
      entry.messageId = state.id
      entry.sentOn = 0
      this.#byId.set(state.id, entry)
    }
    this.entries.set(seq, entry)
  }
}

export type { State }
