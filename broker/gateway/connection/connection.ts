import type { Code } from '../../errors.ts'
import type { Access } from '../gateway.ts'
import { Allowance, packetUnits, unitsOfFilters } from './allowance.ts'
import type { Link, Session } from '../delivery/session.ts'
import { maxChatPacketId } from '../delivery/window.ts'
import type { OrdinaryClient } from '../../ordinary/adapter.ts'
import { disconnectReasons, reasonText } from './disconnect-reasons.ts'
import { decodeAck, decodeConnect, decodeDisconnect, decodePublish, decodeSubscribe, decodeUnsubscribe, encodeConnackRefusal, encodeDisconnect, Framer, packetTypes, pingresp, ProtocolError, type ProtocolVersion, type Will } from '../../mqtt/index.ts'
import { logFailure } from './failure.ts'
import { Inbound } from './inbound.ts'
import { network } from '../../network.ts'
import { Output } from './output.ts'
import type { Transport, TransportHandler } from '../listener/transport.ts'

/**
 * One client's connection: cuts its bytes into packets, keeps the protocol's order of things, and hands each packet to the part
 * that answers it. Packets of ordinary topics go on to Aedes.
 */
export class Connection implements TransportHandler, Link {
  readonly access: Access
  readonly transport: Transport
  readonly output: Output
  readonly inbound: Inbound
  version: ProtocolVersion = 4
  maximumPacketBytes = 0xffffffff
  /** MQTT 5: what the CONNACK told the client; others may have as many unfinished as there are packet ids. */
  receiveMaximum = Infinity
  phase: 'new' | 'connecting' | 'open' | 'closed' = 'new'
  user = ''
  clientId = ''
  /** The user name while its password is looked at. */
  claims: string | undefined
  /** The account was banned, removed or changed meanwhile: whoever has the right password is refused with this. */
  kicked: Code | undefined
  session: Session | undefined
  ordinary: OrdinaryClient | undefined
  will: Will | undefined
  /** Whatever becomes of the connection, it leaves no will. */
  silenced = false
  /** MQTT 5: reason strings and user properties may be sent with acknowledgements [MQTT-3.1.2-29]. */
  problemInformation = true
  keepAliveMs = 0
  readonly allowance: Allowance
  /** The peer has gone, and what it sent is not all taken in yet. */
  gone = false
  /** The engine lets the session wait for its sender's rate. */
  #paced = false
  readonly #framer: Framer
  /** Beyond its allowance: goes on when its turn comes. */
  #waits = false
  #holds = 0
  readonly #since: number
  #lastPacket: number
  #packets = 0
  #bytes = 0
  #lastUnsent = 0
  #progress: number

  constructor (access: Access, transport: Transport) {
    this.access = access
    this.transport = transport
    this.output = new Output(transport, access.tick, () => { this.onDrain() })
    this.inbound = new Inbound(this)
    this.#framer = new Framer({ maxPacketBytes: access.limits.connectBytes })
    this.#since = this.#lastPacket = this.#progress = access.clock.now
    this.allowance = new Allowance(access.clock.now)
    transport.attach(this)
  }

  /** For code that looks again after waiting. */
  get isClosed (): boolean { return this.phase === 'closed' }

  readonly #sink = (first: number, buf: Buffer, start: number, end: number, frameStart: number): void => {
    this.#packet(first, buf, start, end, frameStart)
  }

  onData (chunk: Buffer): void {
    if (this.phase === 'closed') return
    this.#bytes += chunk.length
    this.allowance.earn(this.access.clock.refresh())
    try {
      this.#framer.feed(chunk, this.#sink)
      if (this.#framer.skipping) this.#lastPacket = this.access.clock.now
    } catch (err) {
      this.#refuse(err)
    }
  }

  onDrain (): void {
    if (this.phase !== 'open') return
    this.#progress = this.access.clock.now
    this.session?.catchUp()
    this.inbound.drained()
  }

  /**
   * The peer has gone. What it sent before and what waits for its turn is taken in first: a client that sends much at QoS 0 and leaves
   * ends with a DISCONNECT. Requests among it have nobody to answer.
   */
  onClose (): void {
    if (this.phase === 'open' && (this.#waits || this.#paced) && this.#framer.pendingBytes > 0) this.gone = true
    else this.close()
  }

  /** Stops handing out packets until `release`; holds add up. */
  hold (): void {
    if (this.#holds++ > 0) return
    this.#framer.pause()
    this.transport.pause()
  }

  release (): void {
    if (this.#holds === 0 || --this.#holds > 0 || this.phase === 'closed') return
    // The keep alive counts from here: what the client said meanwhile is not read yet.
    this.#lastPacket = this.access.clock.refresh()
    this.transport.resume()
    try {
      this.#framer.resume(this.#sink)
    } catch (err) {
      this.#refuse(err)
    }
    if (this.gone && this.#holds === 0) this.close()
  }

  /** Holds the connection as long as the engine says; saying it again changes nothing. */
  pace (held: boolean): void {
    if (held === this.#paced) return
    this.#paced = held
    if (held) this.hold()
    else this.release()
  }

  /** Holds the connection while `work` runs; a rejection closes it. */
  during (work: Promise<void>): void {
    this.hold()
    work.then(() => { this.release() }, (err: Error) => {
      if (err instanceof ProtocolError) this.#refuse(err)
      else this.fail(err)
    })
  }

  #packet (first: number, buf: Buffer, start: number, end: number, frameStart: number): void {
    if (this.phase === 'closed') return
    this.#lastPacket = this.access.clock.now
    this.#packets++
    const type = first >> 4
    if (this.phase !== 'open') {
      // [MQTT-3.1.0-1], [MQTT-3.1.0-2]; packets behind the CONNECT are held back until it is answered.
      if (this.phase !== 'new' || type !== packetTypes.connect) throw new ProtocolError('the first packet must be a CONNECT', 0x82)
      const frame = decodeConnect(buf, start, end, this.access.frameLimits)
      this.phase = 'connecting'
      this.version = frame.protocolVersion
      this.during(this.access.connect(this, frame))
      return
    }
    switch (type) {
      case packetTypes.publish:
        if (this.#framer.cutBytes > 0) {
          this.inbound.tooLarge(decodePublish(first, buf, start, end, this.version, this.access.frameLimits), this.#framer.cutBytes)
          break
        }
        this.inbound.publish(decodePublish(first, buf, start, end, this.version, this.access.frameLimits), buf, frameStart, end)
        break
      case packetTypes.puback:
      case packetTypes.pubrec:
      case packetTypes.pubcomp: {
        const { packetId } = decodeAck(first, buf, start, end, this.version)
        if (packetId > maxChatPacketId) this.ordinary?.forward(buf.subarray(frameStart, end))
        // What the server asked for is free.
        else if (type === packetTypes.puback && this.session?.acknowledge(packetId) === true) break
        this.allowance.spend(packetUnits)
        break
      }
      case packetTypes.pubrel:
        this.allowance.spend(packetUnits)
        this.inbound.release(decodeAck(first, buf, start, end, this.version).packetId, buf.subarray(frameStart, end))
        break
      case packetTypes.subscribe:
        this.#subscribe(buf, start, end)
        break
      case packetTypes.unsubscribe:
        this.#unsubscribe(buf, start, end)
        break
      case packetTypes.pingreq:
        this.allowance.spend(packetUnits)
        this.session?.evidence?.ping(this.inbound.unfinished)
        this.output.write(pingresp)
        break
      case packetTypes.disconnect:
        this.#disconnect(decodeDisconnect(buf, start, end, this.version))
        break
      case packetTypes.connect:
        throw new ProtocolError('a second CONNECT', 0x82) // [MQTT-3.1.0-2]
      default:
        throw new ProtocolError('the packet type is not expected here', 0x82)
    }
    if (this.isClosed) return
    this.inbound.throttle()
    if (this.allowance.spent) this.#wait()
  }

  #subscribe (buf: Buffer, start: number, end: number): void {
    const frame = decodeSubscribe(buf, start, end, this.version, this.access.frameLimits)
    this.allowance.spend(unitsOfFilters(frame.subscriptions.length))
    this.session?.evidence?.reuse(frame.packetId)
    this.during(this.access.subscriptions.subscribe(this, frame))
  }

  #unsubscribe (buf: Buffer, start: number, end: number): void {
    const frame = decodeUnsubscribe(buf, start, end, this.version, this.access.frameLimits)
    this.allowance.spend(unitsOfFilters(frame.filters.length))
    this.session?.evidence?.reuse(frame.packetId)
    this.during(this.access.subscriptions.unsubscribe(this, frame))
  }

  /** Lets the other connections have their turn first. */
  #wait (): void {
    if (this.#waits) return
    this.#waits = true
    this.hold()
    this.access.turns.add(this.user === '' ? network(this.transport.address) : this.user, () => { this.#goOn() })
  }

  #goOn (): void {
    this.#waits = false
    if (this.phase === 'closed') return
    this.allowance.slice(this.access.clock.refresh(), this.access.turns.size === 0)
    this.release()
  }

  /** What the connection is about to leave as its will is not to be sent. */
  dropWill (): void {
    this.silenced = true
    this.will = undefined
    this.ordinary?.dropWill()
  }

  #disconnect (frame: { reasonCode: number, sessionExpirySeconds?: number }): void {
    if (frame.sessionExpirySeconds !== undefined && this.session !== undefined) {
      // [MQTT-3.14.2-2]: a session that was to end with its connection cannot be made to last now.
      if (this.session.expirySeconds === 0 && frame.sessionExpirySeconds > 0) throw new ProtocolError('the session expiry interval was 0', 0x82)
      this.session.expirySeconds = Math.min(frame.sessionExpirySeconds, this.access.limits.maxSessionExpirySeconds)
    }
    // [MQTT-3.14.4-3]; 0x04 asks for the will (MQTT 5.0, section 3.14.2.1).
    if (frame.reasonCode !== 0x04) this.will = undefined
    this.close({ graceful: frame.reasonCode !== 0x04 })
  }

  #refuse (err: unknown): void {
    if (!(err instanceof ProtocolError)) {
      this.fail(err as Error)
      return
    }
    this.access.log.info({ ...this.who, reason: err.message }, 'protocol error')
    if (this.phase === 'new' || this.phase === 'connecting') {
      const version = err.protocolVersion ?? this.version
      if (version === 5 && (err.protocolVersion !== undefined || this.phase === 'connecting')) this.output.write(encodeConnackRefusal(5, err.reasonCode))
      else if (err.connackCode !== undefined) this.output.write(encodeConnackRefusal(version, err.connackCode))
      this.close()
      return
    }
    this.close({ reason: err.reasonCode })
  }

  /** Whose connection it is, for the log. */
  get who (): { user: string, clientId: string, address: string } {
    return { user: this.user, clientId: this.clientId, address: this.transport.address }
  }

  /** The server cannot go on with this connection: nothing is acknowledged, the client comes back. */
  fail (err: Error): void {
    // What was under way when a client left fails often, and nobody waits for it.
    if (this.phase === 'closed') return
    logFailure(this.access.log, err, this.who, 'connection failed')
    this.close({ reason: disconnectReasons.unspecified, why: 'the server failed' })
  }

  /** Ends the connection. `reason` goes to MQTT 5 clients in a DISCONNECT, `why` to the log. The session's end is `access.sessionClosed`. */
  close ({ reason, graceful = false, why = reason === undefined ? undefined : reasonText(reason) }: { reason?: number, graceful?: boolean, why?: string } = {}): void {
    if (this.phase === 'closed') return
    const wasOpen = this.phase === 'open'
    this.phase = 'closed'
    const { log } = this.access
    if (why !== undefined) log.info({ ...this.who, reason: why }, 'disconnected')
    else if (wasOpen) log.debug({ ...this.who, reason: graceful ? 'the client said goodbye' : 'the client went away' }, 'disconnected')
    if (wasOpen && reason !== undefined && this.version === 5) this.output.write(encodeDisconnect(reason))
    this.output.flush()
    this.output.close()
    this.#framer.close()
    this.inbound.close()
    this.transport.end()
    this.ordinary?.end(graceful)
    this.ordinary = undefined
    this.access.connectionClosed(this, graceful)
  }

  /** Called every second: limits of time and rate. */
  sweep (now: number): void {
    const { limits } = this.access
    if (this.phase !== 'open') {
      if (now - this.#since > limits.connectTimeoutMs) this.close({ why: 'not signed in within connectTimeoutMs' })
      return
    }
    const tooMany = limits.packetsPerSecond > 0 && this.#packets > limits.packetsPerSecond
    if (tooMany || (limits.bytesPerSecond > 0 && this.#bytes > limits.bytesPerSecond)) {
      this.access.log.warn({ ...this.who, packets: this.#packets, bytes: this.#bytes }, 'flooding')
      return this.close({ reason: disconnectReasons.messageRate })
    }
    this.#packets = this.#bytes = 0
    this.session?.trim(this.access.pump.steady())
    this.inbound.drained()
    // [MQTT-3.1.2-24] of 3.1.1: one and a half times the keep alive; held connections are ours to answer.
    if (this.keepAliveMs > 0 && this.#holds === 0 && now - this.#lastPacket > this.keepAliveMs * 1.5) {
      return this.close({ reason: disconnectReasons.keepAlive })
    }
    const unsent = this.transport.unsentBytes
    if (unsent === 0 || unsent < this.#lastUnsent) this.#progress = now
    this.#lastUnsent = unsent
    if (now - this.#progress > limits.stallTimeoutMs) {
      this.cutOff()
    }
  }

  /** The client does not read what it is sent: the connection ends at once, its session stays. */
  cutOff (): void {
    if (this.phase === 'closed') return
    this.access.log.info({ ...this.who, unsentBytes: this.transport.unsentBytes }, 'stalled reader cut off')
    this.transport.destroy()
    this.close()
  }

  /** From now on packets may be as large as the configuration says. */
  opened (): void {
    this.phase = 'open'
    this.#framer.maxPacketBytes = this.access.limits.packetBytes
    // MQTT 5 clients were told the limit (0x95); the others have no other way to hear of it than a notice.
    this.#framer.skips = this.version !== 5
  }
}
