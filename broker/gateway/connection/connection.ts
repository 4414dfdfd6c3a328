import type { Logger } from 'pino'
import type { Code } from '../../errors.ts'
import { decodeAck, decodeAuth, decodeConnect, decodeDisconnect, decodePublish, decodeSubscribe, decodeUnsubscribe, encodeConnackRefusal, encodeDisconnect, packetTypes, ProtocolError, type FrameLimits, type ProtocolVersion, type PublishFrame, type Will } from '../../mqtt/index.ts'
import type { Session } from '../delivery/session.ts'
import type { GatewayLimits } from '../limits.ts'
import type { Transport, TransportHandler } from '../listener/transport.ts'
import type { TopicRights } from '../open-topics.ts'
import type { OrdinaryClient } from '../ordinary-topics.ts'
import type { Tick } from '../tick.ts'
import type { Traffic } from '../traffic.ts'
import { acknowledged, released } from './acknowledgements.ts'
import type { Allowance } from './allowance.ts'
import type { AuthHandler } from './auth.ts'
import type { Authentication } from './authentication.ts'
import type { ConnectHandler, ConnectingClient } from './connect.ts'
import { disconnectReasons, reasonText } from './disconnect-reasons.ts'
import { disconnect } from './disconnect.ts'
import type { Evidence } from './evidence.ts'
import { logFailure } from './failure.ts'
import type { MqttSink } from './mqtt-sink.ts'
import { withRoom } from './elsewhere.ts'
import { Output } from './output.ts'
import { ping } from './ping.ts'
import type { PublishHandler, PublishingClient } from './publish.ts'
import { Publishes } from './publishes.ts'
import { Reading, type ReadingContext, type ReadingPeer } from './reading.ts'
import type { SubscribeHandler } from './subscribe.ts'
import { TakenAliases, type GivenAliases } from './topic-aliases.ts'
import type { UnsubscribeHandler } from './unsubscribe.ts'

/** Who answers the packets that more than the connection itself is needed for. */
export interface Handlers { auth: AuthHandler, connect: ConnectHandler, publish: PublishHandler, subscribe: SubscribeHandler, unsubscribe: UnsubscribeHandler }

export interface ConnectionContext extends ReadingContext {
  readonly handlers: Handlers
  readonly limits: GatewayLimits
  readonly frameLimits: FrameLimits
  readonly tick: Tick
  readonly traffic: Traffic
  readonly log: Logger
  /** The time of the server, milliseconds since the epoch. */
  now (): number
  /** Milliseconds of the delivery's clock. */
  steady (): number
  /** The connection is over. */
  left (connection: Connection, graceful: boolean): void
}

/** How a connection ends. `reason` goes to MQTT 5 clients in a DISCONNECT, `reference` (another server) with it, `why` to the log. */
interface End { reason?: number, reference?: string | undefined, graceful?: boolean, why?: string }

/** One client's connection: keeps the protocol's order of things, and hands each packet to the part that answers it. */
export class Connection implements TransportHandler, ReadingPeer, ConnectingClient, PublishingClient {
  readonly transport: Transport
  readonly output: Output
  readonly publishes: Publishes
  version: ProtocolVersion = 4
  maximumPacketBytes = 0xffffffff
  receiveMaximum = Infinity
  sendMaximum = 65_535
  aliases: GivenAliases | undefined
  phase: 'new' | 'connecting' | 'open' | 'closed' = 'new'
  user = ''
  clientId = ''
  claims: string | undefined
  until: number | undefined
  grant: string | undefined
  kicked: Code | undefined
  session: Session | undefined
  sink: MqttSink | undefined
  evidence: Evidence | undefined
  ordinary: OrdinaryClient | undefined
  ordinaryFilters: Set<string> | undefined
  rights: TopicRights | undefined
  will: Will | undefined
  authentication: Authentication | undefined
  problemInformation = true
  keepAliveMs = 0
  readonly #context: ConnectionContext
  readonly #reading: Reading
  readonly #since: number
  #taken: TakenAliases | undefined
  #lastUnsent = 0
  #progress: number

  constructor (context: ConnectionContext, transport: Transport) {
    this.#context = context
    this.transport = transport
    this.output = new Output(transport, context.tick, context.traffic, () => { this.onDrain() })
    this.publishes = new Publishes(this, context.limits)
    this.#reading = new Reading(this, context)
    this.#since = this.#progress = context.clock.now
    transport.attach(this)
  }

  get traffic (): Traffic { return this.#context.traffic }
  get isOpen (): boolean { return this.phase === 'open' }
  /** For code that looks again after waiting. */
  get isClosed (): boolean { return this.phase === 'closed' }
  get allowance (): Allowance { return this.#reading.allowance }
  get gone (): boolean { return this.#reading.gone }
  /** It is not read at the moment, as others have their turn. */
  get waits (): boolean { return this.#reading.waits }
  /** Whose connection it is, for the log. */
  get who (): { user: string, clientId: string, address: string } {
    return { user: this.user, clientId: this.clientId, address: this.transport.address }
  }

  onData (chunk: Buffer): void { if (!this.isClosed) this.#reading.take(chunk) }

  onDrain (): void {
    if (!this.isOpen) return
    this.#progress = this.#context.clock.now
    this.session?.catchUp()
    this.ordinary?.wake()
    this.publishes.drained()
  }

  /**
   * The peer has gone. What it sent before and what waits for its turn is taken in first: a client that sends much at QoS 0 and leaves
   * ends with a DISCONNECT. Requests among it have nobody to answer.
   */
  onClose (): void {
    if (this.isOpen && this.#reading.unread) this.#reading.gone = true
    else this.close()
  }

  hold (): void { this.#reading.hold() }
  release (): void { this.#reading.release() }
  pace (held: boolean): void { this.#reading.pace(held) }
  published (): void { this.#reading.published() }

  /** Holds the connection while `work` runs; a rejection closes it. */
  during (work: Promise<void>): void {
    this.hold()
    work.then(() => { this.release() }, (err: Error) => { this.refuse(err) })
  }

  packet (first: number, buf: Buffer, start: number, end: number, frameStart: number): void {
    const type = first >> 4
    if (!this.isOpen) return this.#first(type, buf, start, end)
    const { frameLimits, handlers } = this.#context
    switch (type) {
      case packetTypes.publish:
        this.#publish(decodePublish(first, buf, start, end, this.version, frameLimits), buf, frameStart, end)
        break
      case packetTypes.puback:
      case packetTypes.pubrec:
      case packetTypes.pubcomp:
        acknowledged(this, type, decodeAck(first, buf, start, end, this.version), buf, frameStart, end)
        break
      case packetTypes.pubrel:
        released(this, decodeAck(first, buf, start, end, this.version).packetId, buf, frameStart, end)
        break
      case packetTypes.subscribe:
        handlers.subscribe.handle(this, decodeSubscribe(buf, start, end, this.version, frameLimits))
        break
      case packetTypes.unsubscribe:
        handlers.unsubscribe.handle(this, decodeUnsubscribe(buf, start, end, this.version, frameLimits))
        break
      case packetTypes.pingreq:
        ping(this)
        break
      case packetTypes.disconnect:
        disconnect(this, decodeDisconnect(buf, start, end, this.version), this.#context.limits.maxSessionExpirySeconds)
        break
      case packetTypes.auth:
        if (this.version < 5) throw unexpected()
        handlers.auth.handle(this, decodeAuth(buf, start, end))
        break
      case packetTypes.connect:
        throw new ProtocolError('a second CONNECT', 0x82) // [MQTT-3.1.0-2]
      default:
        throw unexpected()
    }
    if (this.isClosed) return
    this.publishes.throttle()
    this.#reading.yield()
  }

  #publish (frame: PublishFrame, buf: Buffer, frameStart: number, end: number): void {
    // Whatever is asked of a topic is asked of the topic, never of an alias.
    if (frame.properties?.topicAlias !== undefined) (this.#taken ??= new TakenAliases()).resolve(frame)
    const { publish } = this.#context.handlers
    this.#context.traffic.received++
    const { cutBytes } = this.#reading
    if (cutBytes > 0) publish.tooLarge(this, frame, cutBytes)
    else publish.handle(this, frame, buf, frameStart, end)
  }

  /** [MQTT-3.1.0-1], [MQTT-3.1.0-2]; packets behind the CONNECT are held back until it is answered. */
  #first (type: number, buf: Buffer, start: number, end: number): void {
    if (this.phase === 'connecting') return this.#proves(type, buf, start, end)
    if (type !== packetTypes.connect) throw new ProtocolError('the first packet must be a CONNECT', 0x82)
    const { frameLimits, handlers } = this.#context
    const frame = decodeConnect(buf, start, end, frameLimits)
    this.phase = 'connecting'
    this.version = frame.protocolVersion
    this.during(handlers.connect.handle(this, frame))
  }

  /** [MQTT-3.1.2-30]: until the CONNACK AUTH and DISCONNECT alone. */
  #proves (type: number, buf: Buffer, start: number, end: number): void {
    if (type === packetTypes.disconnect) {
      decodeDisconnect(buf, start, end, this.version)
      return this.close()
    }
    if (type !== packetTypes.auth || this.authentication === undefined) throw new ProtocolError('AUTH or DISCONNECT must come before the CONNACK', 0x82)
    const frame = decodeAuth(buf, start, end)
    this.hold()
    this.authentication.take(frame)
  }

  opened (): void {
    this.phase = 'open'
    // MQTT 5 clients were told the limit (0x95); the others have no other way to hear of it than a notice.
    this.#reading.open(this.#context.limits.packetBytes, this.version !== 5)
  }

  /** What the connection is about to leave as its will is not to be sent. */
  dropWill (): void { this.will = undefined }

  /** Something went wrong: by the client's fault (`ProtocolError`) or the server's. */
  refuse (err: unknown): void {
    if (!(err instanceof ProtocolError)) return this.fail(err as Error)
    this.#context.log.info({ ...this.who, reason: err.message }, 'protocol error')
    if (this.isOpen) return this.close({ reason: err.reasonCode })
    const version = err.protocolVersion ?? this.version
    if (version === 5 && (err.protocolVersion !== undefined || this.phase === 'connecting')) this.output.write(encodeConnackRefusal(5, err.reasonCode))
    else if (err.connackCode !== undefined) this.output.write(encodeConnackRefusal(version, err.connackCode))
    this.close()
  }

  /** The server cannot go on with this connection: nothing is acknowledged, the client comes back. */
  fail (err: Error): void {
    // What was under way when a client left fails often, and nobody waits for it.
    if (this.isClosed) return
    logFailure(this.#context.log, err, this.who, 'connection failed')
    this.close({ reason: disconnectReasons.unspecified, why: 'the server failed' })
  }

  close ({ reason, reference, graceful = false, why = reason === undefined ? undefined : reasonText(reason) }: End = {}): void {
    if (this.isClosed) return
    const wasOpen = this.isOpen
    this.phase = 'closed'
    if (why !== undefined) this.#context.log.info({ ...this.who, reason: why }, 'disconnected')
    else if (wasOpen) this.#context.log.debug({ ...this.who, reason: graceful ? 'the client said goodbye' : 'the client went away' }, 'disconnected')
    if (wasOpen && reason !== undefined && this.version === 5) this.output.write(withRoom(this.maximumPacketBytes, reference, place => encodeDisconnect(reason, place)))
    this.output.flush()
    this.output.close()
    this.#reading.close()
    this.authentication?.close()
    this.publishes.close()
    this.transport.end()
    this.ordinary?.end(graceful)
    this.ordinary = undefined
    this.#context.left(this, graceful)
  }

  /** Called every second: limits of time and rate. */
  sweep (now: number): void {
    const { limits } = this.#context
    const reading = this.#reading
    if (!this.isOpen) {
      if (now - this.#since > limits.connectTimeoutMs) this.close({ why: 'not signed in within connectTimeoutMs' })
      return
    }
    if (this.authentication?.overdue(now, limits.connectTimeoutMs, reading.held) === true) return this.close({ reason: disconnectReasons.notAuthorized, why: 're-authentication not finished within connectTimeoutMs' })
    const reason = this.#exceeded()
    if (reason !== undefined) return this.close({ reason })
    this.session?.trim(this.#context.steady())
    // A place that was left to chat, which had nothing to send after all.
    this.ordinary?.wake()
    this.publishes.drained()
    // [MQTT-3.1.2-24] of 3.1.1: one and a half times the keep alive; held connections are ours to answer.
    if (this.keepAliveMs > 0 && !reading.held && now - reading.lastPacket > this.keepAliveMs * 1.5) {
      return this.close({ reason: disconnectReasons.keepAlive })
    }
    const unsent = this.transport.unsentBytes
    if (unsent === 0 || unsent < this.#lastUnsent) this.#progress = now
    this.#lastUnsent = unsent
    if (now - this.#progress > limits.stallTimeoutMs) this.cutOff()
  }

  /** What of its time or rate is used up. */
  #exceeded (): number | undefined {
    if (this.until !== undefined && this.#context.now() >= this.until) return disconnectReasons.maximumConnectTime
    return this.#reading.floods() ? disconnectReasons.messageRate : undefined
  }

  /** The client does not read what it is sent: the connection ends at once, its session stays. */
  cutOff (): void {
    if (this.isClosed) return
    this.#context.log.info({ ...this.who, unsentBytes: this.transport.unsentBytes }, 'stalled reader cut off')
    this.transport.destroy()
    this.close()
  }
}

function unexpected (): ProtocolError { return new ProtocolError('the packet type is not expected here', 0x82) }
