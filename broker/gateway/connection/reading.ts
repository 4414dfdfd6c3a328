import type { Logger } from 'pino'
import { Framer, packetTypes, type FrameSink } from '../../mqtt/index.ts'
import { network } from '../../network.ts'
import type { Turns } from '../../turns.ts'
import type { Clock } from '../clock.ts'
import { sliceMessages, type Intake } from '../intake.ts'
import type { Transport } from '../listener/transport.ts'
import type { Traffic } from '../traffic.ts'
import { Allowance } from './allowance.ts'

/** Bytes that a connection whose publish waits for its turn may bring meanwhile: what comes in pieces is one burst at its turn, and one row of the store. */
const gatheredBytes = 16_384

/** The connection, as reading from it needs it. */
export interface ReadingPeer {
  readonly transport: Transport
  readonly user: string
  /** For the log. */
  readonly who: object
  readonly isClosed: boolean
  /** Takes one packet: its first byte, and `buf[start, end)` behind its fixed header, which begins at `frameStart`. */
  packet (first: number, buf: Buffer, start: number, end: number, frameStart: number): void
  /** The client broke the protocol's rules. */
  refuse (err: unknown): void
  close (): void
}

export interface ReadingContext {
  readonly clock: Clock
  readonly traffic: Traffic
  /** Connections that are beyond their allowance, in turn by user. */
  readonly turns: Turns
  /** How fast publishes are taken in. */
  readonly intake: Pick<Intake, 'closed' | 'crowded' | 'opened' | 'wait'>
  readonly limits: { readonly connectBytes: number, readonly packetsPerSecond: number, readonly bytesPerSecond: number }
  readonly log: Logger
}

/** Cuts what a connection brings into packets, and hands them on as far and as fast as the connection is to be read. */
export class Reading {
  readonly allowance: Allowance
  /** The peer has gone, and what it sent is not all taken in yet. */
  gone = false
  /** When the last packet came, by the gateway's clock. */
  lastPacket: number
  /** Since the last sweep. */
  packets = 0
  bytes = 0
  readonly #peer: ReadingPeer
  readonly #context: ReadingContext
  readonly #framer: Framer
  /** The engine lets the session wait for its sender's rate. */
  #paced = false
  /** Beyond its allowance: goes on when its turn comes. */
  #waits = false
  /** A publish waits for its turn to be taken in. */
  #queued = false
  /** That publish: what stands in front of it, acknowledgements and pings, does not wait. */
  #kept: Parameters<FrameSink> | undefined
  /** When a publish was taken in and the next one was to wait: `opened` of the intake. */
  #dueAt = -1
  /** What came last, and what came before it, had to wait. */
  #waited = false
  #waitedBefore = false
  /** Publishes of this turn that may still be taken in while others wait. */
  #slice = sliceMessages
  #holds = 0
  /** The socket is not read. */
  #stopped = false

  constructor (peer: ReadingPeer, context: ReadingContext) {
    this.#peer = peer
    this.#context = context
    this.#framer = new Framer({ maxPacketBytes: context.limits.connectBytes })
    this.lastPacket = context.clock.now
    this.allowance = new Allowance(context.clock.now)
  }

  readonly #sink: FrameSink = (first, buf, start, end, frameStart) => {
    if (this.#peer.isClosed) return
    if (first >> 4 === packetTypes.publish && this.cutBytes === 0 && this.#mustWait) {
      this.#kept = [first, buf, start, end, frameStart]
      this.#wait()
      return
    }
    this.lastPacket = this.#context.clock.now
    this.packets++
    this.#peer.packet(first, buf, start, end, frameStart)
  }

  /** Bytes of the packet at hand, when it is too large and only its head was read; otherwise 0. */
  get cutBytes (): number { return this.#framer.cutBytes }
  /** Something keeps it from being read. */
  get held (): boolean { return this.#holds > 0 }
  /** Others have their turn first. */
  get waits (): boolean { return this.#waits || this.#queued }
  /** What came is not all taken in, and will be. */
  get unread (): boolean { return (this.#waits || this.#queued || this.#paced) && (this.#framer.pendingBytes > 0 || this.#kept !== undefined) }

  /** To be asked every second: more came since the last time than may. */
  floods (): boolean {
    const { limits: { packetsPerSecond, bytesPerSecond }, log } = this.#context
    const { packets, bytes } = this
    this.packets = this.bytes = 0
    const floods = (packetsPerSecond > 0 && packets > packetsPerSecond) || (bytesPerSecond > 0 && bytes > bytesPerSecond)
    if (floods) log.warn({ ...this.#peer.who, packets, bytes }, 'flooding')
    return floods
  }

  take (chunk: Buffer): void {
    this.bytes += chunk.length
    this.#context.traffic.bytesReceived += chunk.length
    if (!this.#queued) {
      this.#slice = sliceMessages
      this.#waitedBefore = this.#waited
      this.#waited = false
    }
    this.allowance.earn(this.#context.clock.refresh())
    try {
      this.#framer.feed(chunk, this.#sink)
      if (this.#framer.skipping) this.lastPacket = this.#context.clock.now
      if (this.#queued) this.#regulate()
    } catch (err) {
      this.#peer.refuse(err)
    }
  }

  /** From now on packets may have this size. `skips`: larger ones are read over. */
  open (maxPacketBytes: number, skips: boolean): void {
    this.#framer.maxPacketBytes = maxPacketBytes
    this.#framer.skips = skips
  }

  /** Stops handing out packets until `release`; holds add up. */
  hold (): void {
    if (this.#holds++ === 0) this.#framer.pause()
    this.#regulate()
  }

  /** Has the socket read or not. */
  #regulate (): void {
    const others = this.#holds > (this.#queued ? 1 : 0)
    const stopped = others || (this.#queued && this.#framer.pendingBytes >= gatheredBytes)
    if (stopped === this.#stopped) return
    this.#stopped = stopped
    if (stopped) this.#peer.transport.pause()
    else this.#peer.transport.resume()
  }

  release (): void {
    const peer = this.#peer
    if (this.#holds === 0) return
    this.#holds--
    if (peer.isClosed) return
    this.#regulate()
    if (this.#holds > 0) return
    // The keep alive counts from here: what the client said meanwhile is not read yet.
    this.lastPacket = this.#context.clock.refresh()
    try {
      const kept = this.#kept
      this.#kept = undefined
      if (kept !== undefined) this.#sink(...kept)
      if (this.#holds === 0) this.#framer.resume(this.#sink)
    } catch (err) {
      peer.refuse(err)
    }
    if (this.gone && this.#holds === 0) peer.close()
  }

  /** Holds the connection as long as the engine says; saying it again changes nothing. */
  pace (held: boolean): void {
    if (held === this.#paced) return
    this.#paced = held
    if (held) this.hold()
    else this.release()
  }

  /** Lets the other connections have their turn first when this one has used up its allowance. */
  yield (): void {
    if (!this.allowance.spent || this.#waits) return
    this.#waits = true
    this.hold()
    this.#context.turns.add(this.#key, () => { this.#goOn() })
  }

  #goOn (): void {
    this.#waits = false
    if (this.#peer.isClosed) return
    const { clock, turns } = this.#context
    this.allowance.slice(clock.refresh(), turns.size === 0)
    this.release()
  }

  /** A publish was taken in: the next one waits when there are enough of them. */
  published (): void {
    this.#slice--
    if (this.#full) this.#dueAt = this.#context.intake.opened
  }

  /** Enough publishes for now. */
  get #full (): boolean {
    const { intake } = this.#context
    return intake.closed || (this.#slice <= 0 && intake.crowded)
  }

  /** It had its publish since the intake was open last, or sends so much that it had to wait with what it sent before: then a burst stays whole. */
  get #mustWait (): boolean { return (this.#waitedBefore || this.#dueAt === this.#context.intake.opened) && this.#full }

  #wait (): void {
    this.#queued = this.#waited = true
    this.hold()
    this.#context.intake.wait(this.#key, () => {
      this.#queued = false
      this.#dueAt = -1
      this.#slice = sliceMessages
      this.release()
    })
  }

  /** Whose turn it takes. */
  get #key (): string {
    const { user, transport } = this.#peer
    return user === '' ? network(transport.address) : user
  }

  close (): void {
    this.#kept = undefined
    this.#framer.close()
  }
}
