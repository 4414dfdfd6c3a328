/** One session's outgoing queue: what it was sent and has not acknowledged, and what it has not been sent. */
import { bodyKey, stateKey } from './persistence-records.ts'
import type { RecordChange } from './persistence-records.ts'
import type { Bodies, BodyPlace } from './persistence-bodies.ts'
import { ColdRange, type State } from './persistence-cold.ts'
import { storedBroker, type Entry } from './persistence-entry.ts'
import type { Body, PacketLike } from './persistence-packets.ts'

const maxPacketId = 65535
const keyOf = (brokerId: string, counter: number) => `${counter} ${brokerId}`

/**
 * Entries in memory are found by number, packet id and broker counter, so an acknowledgement costs O(1). For a session that is away only the
 * numbers of the first and the last message are in memory, and where the bodies between them lie; for one that takes its queue those
 * before what was thawed are, too.
 */
export class OutgoingQueue {
  readonly client: string
  next: number
  /** Messages that went to make room. */
  lost = 0
  /** In the order of their numbers: before all of `#cold`, and behind it. */
  readonly #head = new Map<number, Entry>()
  readonly #tail = new Map<number, Entry>()
  readonly #cold: ColdRange
  /** Entries with packet ids that left memory. */
  chilledIds = 0
  readonly #byId = new Map<number, Entry>()
  readonly #byBroker = new Map<string, Entry>()
  readonly #minId: number
  readonly #bodies: Bodies
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
    this.next = first
    this.#cold = new ColdRange(first)
  }

  get size (): number { return this.#cold.size + this.inMemory }
  /** Entries in memory. */
  get inMemory (): number { return this.#head.size + this.#tail.size }
  /** What is on disk of its packet ids is not known. */
  get asleep (): boolean { return this.#cold.size > 0 && !this.#cold.known }
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
    if (this.size === 0) this.#cold.startAt(this.next)
    const entry: Entry = { seq: this.next++, qos, released: false, body, place: row.place }
    this.#take(row.place)
    this.#tail.set(entry.seq, entry)
    changes.push({ key: bodyKey(this.client, entry.seq), value: row.value })
    return { entry, dropped }
  }

  /** An entry in memory. */
  get (seq: number): Entry | undefined { return this.#part(seq).get(seq) }
  #part (seq: number): Map<number, Entry> { return seq < this.#cold.from ? this.#head : this.#tail }

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
    if (this.get(entry.seq) !== entry) return
    this.#unbind(entry)
    entry.brokerId = brokerId
    entry.brokerCounter = brokerCounter
    this.#byBroker.set(keyOf(brokerId, brokerCounter), entry)
  }

  /** The entry of a packet of Aedes; its packet id says nothing, as Aedes numbers packets that are not in the queue too. */
  find ({ brokerId, brokerCounter }: Pick<PacketLike, 'brokerId' | 'brokerCounter'>): Entry | undefined {
    if (brokerId === undefined || brokerCounter === undefined) return undefined
    return brokerId === storedBroker ? this.get(brokerCounter) : this.#byBroker.get(keyOf(brokerId, brokerCounter))
  }

  /** One that was sent before, and not yet again, comes into memory with all before it. */
  byId (messageId: number): Entry | undefined {
    const cold = this.#cold.seqOf(messageId)
    if (cold !== undefined) this.#thaw(cold - this.#cold.from + 1)
    return this.#byId.get(messageId)
  }

  /** A message has this packet id. */
  hasId (messageId: number): boolean { return this.#byId.has(messageId) || this.#cold.seqOf(messageId) !== undefined }

  /** Gives an entry its packet id: `wanted` if no other message in flight has it [MQTT-2.3.1-4]. */
  identify (entry: Entry, wanted: number | undefined, inUse?: ReadonlySet<number>): number {
    if (entry.messageId !== undefined) return entry.messageId
    entry.messageId = this.freeId(wanted, inUse)
    this.#byId.set(entry.messageId, entry)
    return entry.messageId
  }

  /** `wanted`, or another id that no message in flight has; `inUse`: ids of those that are not of the queue, too. */
  freeId (wanted: number | undefined, inUse?: ReadonlySet<number>): number {
    const taken = (id: number): boolean => this.hasId(id) || inUse?.has(id) === true
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
    if (this.size === 0) this.#cold.startAt(this.next)
    const entry: Entry = { seq: this.next++, qos: 2, released: true, messageId }
    this.#tail.set(entry.seq, entry)
    this.#byId.set(messageId, entry)
    return [this.stateChange(entry)]
  }

  remove ({ seq }: Entry): RecordChange[] {
    const entry = this.get(seq)
    if (entry === undefined) return []
    this.#part(seq).delete(seq)
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
    if (this.#head.size === 0 && this.#cold.size > 0) {
      const { seq, place } = this.#cold.shift()
      return [...this.#rowsOf(seq), ...this.#leave(place)]
    }
    const oldest = (this.#head.size > 0 ? this.#head : this.#tail).values().next().value
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

  /** Leaves only numbers in memory of what has no gaps between them; bodies leave in any case. Rows must be written before. */
  chill (): void {
    const first = this.#tail.keys().next().value
    if (first !== undefined) {
      if (this.#cold.size === 0) this.#cold.startAt(first)
      const whole = this.#cold.to === first && this.next - first === this.#tail.size
      for (const entry of this.#tail.values()) {
        delete entry.body
        this.#unbind(entry)
        if (whole) this.#cold.push(this.#chilled(entry))
      }
      if (whole) this.#tail.clear()
    }
    // Nothing comes into it while the states are not known.
    if (this.#cold.known) this.#chillHead()
    this.#cold.forget()
  }

  #chillHead (): void {
    const places: Array<BodyPlace | undefined> = []
    const entries = [...this.#head.values()].reverse()
    if (entries[0] !== undefined && this.#cold.size === 0) this.#cold.startAt(entries[0].seq + 1)
    for (const entry of entries) {
      if (entry.seq !== this.#cold.from - places.length - 1) break
      places.push(this.#chilled(entry))
    }
    for (let i = 1; i <= places.length; i++) this.#head.delete(this.#cold.from - i)
    this.#cold.unshift(places.reverse())
  }

  #chilled ({ messageId, place }: Entry): BodyPlace | undefined {
    if (messageId !== undefined && this.#byId.delete(messageId)) this.chilledIds++
    return place
  }

  /** What is on disk can be thawed from here on, with the states that were read from their rows. */
  wake (states: ReadonlyMap<number, State>): void { this.#cold.know(states) }

  /** Brings the first messages that are on disk only into memory, without bodies. */
  #thaw (count: number): Entry[] {
    const thawed: Entry[] = []
    if (!this.#cold.known) return thawed
    while (thawed.length < count && this.#cold.size > 0) {
      const { seq, state, place } = this.#cold.shift()
      thawed.push(this.#load(this.#head, seq, state, place))
    }
    return thawed
  }

  /** What comes first behind number `done`: what is in memory, or `count` of those on disk. `unwritten`: some of it may not be on disk. */
  after (done: number, count: number): { entries: Entry[], unwritten: boolean } | undefined {
    const behind = ({ seq }: Entry): boolean => seq > done
    let unwritten = false
    // What was thawed by now is done, mostly.
    let entries = done < this.#cold.from - 1 ? [...this.#head.values()].filter(behind) : []
    if (entries.length === 0 && this.#cold.size > 0) entries = this.#thaw(count)
    else if (entries.length === 0) [entries, unwritten] = [[...this.#tail.values()].filter(behind), true]
    return entries.length > 0 ? { entries, unwritten } : undefined
  }

  /** All, in order; what is on disk comes into memory by so many at once. */
  * inOrder (count: number): Generator<Entry> {
    yield * this.#head.values()
    while (this.#cold.size > 0 && this.#cold.known) yield * this.#thaw(count)
    if (this.#cold.size === 0) yield * this.#tail.values()
  }

  /** At start: the numbers of the rows, ascending, and where their bodies are. */
  restore ({ seqs, places }: { seqs: readonly number[], places: ReadonlyArray<BodyPlace | undefined> }, states: ReadonlyMap<number, State>): void {
    for (const place of places) if (place !== undefined) this.#take(place)
    const last = seqs[seqs.length - 1]
    if (last === undefined) return
    this.next = last + 1
    // What is behind the last gap needs no entry.
    let whole = seqs.length - 1
    while (whole > 0 && seqs[whole - 1] === (seqs[whole] as number) - 1) whole--
    for (let i = 0; i < whole; i++) this.#load(this.#head, seqs[i] as number, states.get(seqs[i] as number), places[i])
    this.#cold.startAt(seqs[whole] as number)
    for (let i = whole; i < places.length; i++) this.#cold.push(places[i])
  }

  #load (part: Map<number, Entry>, seq: number, state: State | undefined, place: BodyPlace | undefined): Entry {
    // The quality of service is in the body's row; the stream reads it there.
    const entry: Entry = { seq, qos: 1, released: state?.rel === 1 }
    if (place !== undefined) entry.place = place
    if (state !== undefined) {
      entry.messageId = state.id
      entry.sentOn = 0
      this.#byId.set(state.id, entry)
    }
    part.set(seq, entry)
    return entry
  }
}
