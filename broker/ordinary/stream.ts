import { Duplex } from 'node:stream'
import type { TopicRights } from '../gateway/open-topics.ts'
import type { OrdinaryPeer } from '../gateway/ordinary-topics.ts'
import { encodeAck, packetTypes } from '../mqtt/index.ts'
import { expiryOf, packetIdOf, topicOf, withAlias, withExpiry } from './publish-frame.ts'
import { spreadUserProperties } from './user-properties.ts'

const noSubscribers = 0x10
/** Of the first byte of a PUBLISH. */
const dup = 8
/** Aedes has no more of its stream under way. */
const mostGranted = 64

/** A PUBLISH that waits for room in the window. */
interface Held { frame: Buffer, packetId: number, /** when it came */ at: number, /** when it expires, if the frame does not say it */ expiry: number | undefined }

export interface AedesStreamEvents {
  /** Aedes' CONNACK is here. */
  connected: () => void
  /** There may be room. */
  woken: () => void
  /** Too much waits: what comes may be left to the session's queue. False when that cannot be said now; absent for a session that has none. */
  fellBehind: (() => boolean) | undefined
  /** All is sent that waited since `fellBehind`. */
  caughtUp: () => void
  /** A message is not sent and counts as delivered; `begun`: an earlier connection has sent it at QoS 2, and knows of no PUBREC. */
  settled: (packetId: number, begun: boolean) => void
}

/**
 * What Aedes takes for the client's socket. What it writes is cut into packets: its CONNACK is dropped (the connection has
 * sent one), acknowledgements are counted, publishes wait for room in the client's window, the rest goes into the connection's output.
 */
export class AedesStream extends Duplex {
  readonly #peer: OrdinaryPeer
  /** What its session may read and publish. */
  readonly rights: TopicRights
  /** Unsent bytes above which QoS 0 is dropped; above twice as many the connection ends. */
  readonly #outputBytes: number
  readonly #connected: () => void
  readonly #woken: () => void
  readonly #fellBehind: (() => boolean) | undefined
  readonly #caughtUp: () => void
  readonly #settled: AedesStreamEvents['settled']
  /** What comes live is left to the queue, until what waits here is sent. */
  #behind = false
  /** Of messages that somebody wants to know the end of, by packet id. */
  readonly ends = new Map<number, () => void>()
  /** Publishes of the client that nobody listens to. */
  readonly unheard = new Set<number>()
  /** Packet ids of messages that are not at their end: sent, or waiting for room. */
  readonly inFlight = new Set<number>()
  /** Those of them that were sent. */
  readonly #sent = new Set<number>()
  /** When messages expire whose packets do not say it, by packet id. */
  readonly #expiries = new Map<number, number>()
  #held: Held[] = []
  #heldBytes = 0
  readonly #waiting: Array<() => void> = []
  /** Messages that were asked for and have not come: Aedes has several of them under way. */
  #granted = 0
  #rest: Buffer | undefined
  #holding = false

  constructor (peer: OrdinaryPeer, rights: TopicRights, outputBytes: number, { connected, woken, fellBehind, caughtUp, settled }: AedesStreamEvents) {
    super({ allowHalfOpen: false, emitClose: true })
    this.#peer = peer
    this.rights = rights
    this.#outputBytes = outputBytes
    this.#connected = connected
    this.#woken = woken
    this.#fellBehind = fellBehind
    this.#caughtUp = caughtUp
    this.#settled = settled
  }

  /** A client's packet for Aedes. When Aedes is behind, the connection is not read until it asks for more. */
  feed (packet: Buffer): void {
    if (this.destroyed) return
    if (!this.push(packet) && !this.#holding) {
      this.#holding = true
      this.#peer.hold()
    }
  }

  /** The client has acknowledged a message to its end. */
  answered (packetId: number): void {
    if (!this.#sent.delete(packetId)) return
    this.#ended(packetId)
    this.#peer.window.give()
    this.wake()
  }

  /** Resolves when the next message need not wait for others in memory; undefined: at once. */
  room (): Promise<void> | undefined {
    if (this.destroyed) return undefined
    if (!this.#roomy) return new Promise(resolve => { this.#waiting.push(resolve) })
    this.#grant(1)
    return undefined
  }

  /** The message that is written next with this packet id expires then, milliseconds since the epoch; for clients before MQTT 5. */
  expires (packetId: number, at: number | undefined): void {
    if (at === undefined) this.#expiries.delete(packetId)
    else this.#expiries.set(packetId, at)
  }

  /** Not all of them come: some have QoS 0, or expire. */
  #grant (messages: number): void { this.#granted = Math.min(this.#granted + messages, mostGranted) }

  /** Messages that could be sent at once. */
  get free (): number { return this.destroyed || this.#held.length > 0 || this.#peer.unsentBytes >= this.#outputBytes ? 0 : this.#peer.window.free }

  get #roomy (): boolean { return this.#held.length === 0 && this.#peer.window.room && this.#peer.unsentBytes < this.#outputBytes }

  /** There may be room: something was acknowledged, or sent. */
  wake (): void {
    const { window } = this.#peer
    let sent = 0
    for (const held of this.#held) {
      if (!window.room || this.#peer.closed) break
      sent++
      this.#heldBytes -= held.frame.length
      this.#release(held)
    }
    if (sent > 0) this.#held = this.#held.slice(sent)
    if (this.#behind && this.#roomy) {
      this.#behind = false
      this.#caughtUp()
    }
    if (this.#roomy) {
      this.#grant(this.#waiting.length)
      for (const resolve of this.#waiting.splice(0)) resolve()
    }
    this.#woken()
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

  override _destroy (err: Error | null, done: (err?: Error | null) => void): void {
    this.#held = []
    // What was under way has no claim to the window any more.
    for (let i = this.#sent.size; i > 0; i--) this.#peer.window.give()
    this.#sent.clear()
    this.inFlight.clear()
    this.#expiries.clear()
    for (const resolve of this.#waiting.splice(0)) resolve()
    done(err)
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
    if (type === packetTypes.connack) return this.#connected()
    if (peer.closed) return
    if (type === packetTypes.publish) return this.#publish(peer.version === 5 ? spreadUserProperties(packet) : packet)
    if (type !== packetTypes.puback && type !== packetTypes.pubrec) return peer.write(packet)
    const packetId = packetIdOf(packet)
    peer.write(this.unheard.delete(packetId) ? encodeAck(type, 5, packetId, noSubscribers) : packet)
    peer.acknowledged(type === packetTypes.puback ? 1 : 2)
  }

  #publish (packet: Buffer): void {
    const peer = this.#peer
    const qos = (packet[0] as number) >> 1 & 3
    // Nothing in Aedes holds a message back for a client that does not read: QoS 0 is dropped, what is above waits here, and a session that is kept
    // leaves the rest in its queue. Then the connection ends.
    if (qos > 0 && this.#granted > 0) this.#granted--
    else if (qos > 0 && peer.unsentBytes + (this.#fellBehind === undefined ? this.#heldBytes : 0) > this.#outputBytes * 2) return peer.cutOff()
    if (qos === 0) {
      if (peer.unsentBytes <= this.#outputBytes && packet.length <= peer.maximumPacketBytes) peer.write(this.#aliased(packet))
      return
    }
    const packetId = packetIdOf(packet)
    // Aedes does not look at the client's Maximum Packet Size [MQTT-3.1.2-24]; such a message counts as delivered [MQTT-3.1.2-25].
    if (packet.length > peer.maximumPacketBytes) return this.#settle(packet, packetId)
    const expiry = this.#expiries.get(packetId)
    this.#expiries.delete(packetId)
    if (this.#held.length === 0 && peer.window.room) return this.#write(packet, packetId)
    // Of its own: it may wait for long.
    this.inFlight.add(packetId)
    this.#held.push({ frame: Buffer.from(packet), packetId, at: Date.now(), expiry })
    this.#heldBytes += packet.length
    if (!this.#behind && this.#heldBytes > this.#outputBytes) this.#behind = this.#fellBehind?.() === true
  }

  /** [MQTT-3.3.2-5], [MQTT-3.3.2-6]; what is sent again does not expire any more [MQTT-4.3.3-7]. */
  #release ({ frame, packetId, at, expiry }: Held): void {
    const told = this.#peer.version === 5 ? expiryOf(frame) : undefined
    const left = told === undefined ? 0 : Math.max(0, told.seconds - Math.floor((Date.now() - at) / 1000))
    const over = told === undefined ? expiry !== undefined && expiry <= Date.now() : left === 0
    const again = ((frame[0] as number) & dup) !== 0
    if (over && !again) this.#settle(frame, packetId)
    else this.#write(told === undefined ? frame : withExpiry(frame, told, left), packetId)
  }

  #write (frame: Buffer, packetId: number): void {
    this.inFlight.add(packetId)
    this.#sent.add(packetId)
    this.#peer.window.take()
    this.#peer.write(this.#aliased(frame))
  }

  /** The packet as it goes out: with an alias for its topic where the client takes one. */
  #aliased (frame: Buffer): Buffer {
    const { aliases, maximumPacketBytes } = this.#peer
    const given = aliases?.of(topicOf(frame))
    if (given === undefined) return frame
    const aliased = withAlias(frame, given.alias, given.told)
    if (aliased.length > maximumPacketBytes) return frame
    given.told = true
    return aliased
  }

  #ended (packetId: number): void {
    this.inFlight.delete(packetId)
    const end = this.ends.get(packetId)
    if (end === undefined) return
    this.ends.delete(packetId)
    end()
  }

  #settle (frame: Buffer, packetId: number): void {
    const again = dup | 2 << 1
    this.#ended(packetId)
    this.#settled(packetId, ((frame[0] as number) & again) === again)
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
