import { codes, type Code } from '../../errors.ts'
import type { Resends, Submission, Verdict } from '../../link/port.ts'
import type { Target, TopicRefusal } from '../../topics.ts'
import { refusalUnits, unitsOfPublish } from './allowance.ts'
import { Asking } from './asking.ts'
import type { Connection } from './connection.ts'
import type { Evidence } from './evidence.ts'
import { disconnectReasons } from './disconnect-reasons.ts'
import { PacketStates } from './packet-states.ts'
import { encodeAck, packetTypes, ProtocolError, writeAck, type PublishFrame } from '../../mqtt/index.ts'

/** What is known of a QoS 2 packet id: nothing; the engine has the publish; PUBREC was sent; Aedes has it. */
const free = 0
const chat = 1
const answered = 2
const ordinary = 3

/** A publish on its way through the engine; `number` is its place among those that are answered. */
interface Pending { inbound: Inbound, packetId: number, qos: 0 | 1 | 2, number: number, topic: string, correlationData: Buffer | undefined, bytes: number, isRequest: boolean }

/** What the engine was given and has not answered; refs are this process's own numbers. */
export class PendingPublishes {
  readonly #byRef = new Map<number, Pending>()
  #next = 1

  add (pending: Pending): number {
    const ref = this.#next++
    this.#byRef.set(ref, pending)
    return ref
  }

  /** A ref that nobody waits for. */
  skip (): number { return this.#next++ }

  get size (): number { return this.#byRef.size }

  settle (verdict: Verdict): void {
    const pending = this.#byRef.get(verdict.ref)
    if (pending === undefined) return
    this.#byRef.delete(verdict.ref)
    pending.inbound.settle(pending, verdict)
  }
}

/** The publishes of one connection, and the order of their acknowledgements [MQTT-4.6.0-2]. */
export class Inbound {
  readonly #connection: Connection
  /** Chat publishes that the engine has. */
  #pending = 0
  #pendingBytes = 0
  /** Made with the first request. */
  #asking: Asking | undefined
  /** Ordinary publishes that Aedes has not acknowledged. */
  #ordinary = 0
  #full = false
  #waiting: Array<() => void> = []
  /** QoS 2 publishes without their PUBREL: of each only that there is one, whoever keeps its message. */
  readonly #qos2 = new PacketStates()
  /** Chat publishes at QoS 1 that the engine has. */
  #pending1 = 0
  /** Ordinary filters of the session, as far as this connection knows. */
  readonly ordinaryFilters = new Set<string>()
  /** What publishes with DUP may be repeats of; absent when nothing is remembered of the session. */
  resends: Resends | undefined
  #lastTopic = ''
  #lastTarget: Target | TopicRefusal | undefined

  constructor (connection: Connection) { this.#connection = connection }

  /** Publishes wait for their answer. */
  get busy (): boolean { return this.#pending > 0 || this.#ordinary > 0 }
  /** QoS 2 publishes wait for their PUBREL. */
  get unfinished (): boolean { return this.#qos2.size > 0 }

  /** A PUBLISH; its frame is `buf[frameStart, end)`. */
  publish (packet: PublishFrame, buf: Buffer, frameStart: number, end: number): void {
    const connection = this.#connection
    const { access } = connection
    connection.allowance.spend(unitsOfPublish(packet.payload.length))
    if (packet.qos === 2 && !this.#register(packet)) return
    const unfinished = this.#pending1 + this.#qos2.size + (packet.qos === 1 ? 1 : 0)
    if (packet.qos > 0 && unfinished > connection.receiveMaximum) throw tooMany()
    if (access.topics.isChat(packet.topic)) {
      // Aedes and the engine answer each in their own time: a change from one to the other waits for the answers.
      if (this.#ordinary > 0) this.#whenIdle(() => { this.#chat(packet) })
      else this.#chat(packet)
      return
    }
    if (this.#pending > 0) this.#whenIdle(() => { this.#forward(packet, buf.subarray(frameStart, end)) })
    else this.#forward(packet, buf.subarray(frameStart, end))
  }

  #chat (packet: PublishFrame): void {
    const connection = this.#connection
    const { access, session } = connection
    if (session === undefined || connection.phase !== 'open') return
    if (packet.topic !== this.#lastTopic) {
      this.#lastTopic = packet.topic
      this.#lastTarget = access.topics.target(packet.topic)
    }
    const target = this.#lastTarget as Target | TopicRefusal
    if (connection.gone && 'kind' in target && (target.kind === 'rpc' || target.verb !== undefined)) return
    if ('refuse' in target || connection.user === '') {
      const code = 'refuse' in target ? target.refuse : 'unauthorized'
      const reason = 'refuse' in target ? target.reason : 'a user name is needed here'
      if (this.#pending > 0) this.#whenIdle(() => { this.#reject(packet, code, reason) })
      else this.#reject(packet, code, reason)
      return
    }
    if (target.kind === 'rpc') {
      this.#asking ??= new Asking(connection, packet => { this.#submit(packet, access.topics.target(packet.topic) as Target) })
      this.#asking.ask(packet)
    } else {
      this.#submit(packet, target)
    }
  }

  #submit (packet: PublishFrame, target: Target): void {
    const connection = this.#connection
    const { access, session } = connection
    if (session === undefined) return
    const { properties } = packet
    const { evidence } = session
    const number = evidence !== undefined && packet.qos > 0 ? evidence.publish(packet.packetId, packet.dup) : 0
    const bytes = packet.payload.length
    const pending = { inbound: this, packetId: packet.packetId, qos: packet.qos, number, topic: packet.topic, correlationData: properties?.correlationData, bytes, isRequest: target.kind === 'rpc' }
    const submission: Submission = {
      ref: access.pending.add(pending),
      session: session.id,
      user: connection.user,
      target,
      payload: packet.payload,
      qos: packet.qos,
      packetId: packet.packetId,
      dup: packet.dup
    }
    if (number > 0) {
      submission.resends = this.resends as Resends
      submission.number = number
      submission.proven = (evidence as Evidence).proven
    }
    if (properties !== undefined) {
      if (properties.contentType !== undefined) submission.contentType = properties.contentType
      if (properties.payloadFormat !== undefined) submission.utf8 = properties.payloadFormat === 1
      if (properties.messageExpirySeconds !== undefined) submission.expirySeconds = properties.messageExpirySeconds
    }
    this.#pending++
    this.#pendingBytes += bytes
    if (packet.qos === 1) this.#pending1++
    access.tick.submit(submission)
  }

  /** The connection has ended. */
  close (): void { this.#asking?.close() }

  /** Stops reading while too much waits for its commit, or while the client does not take what it is sent. */
  throttle (): void {
    const { access, output } = this.#connection
    if (this.#full) return
    const { limits } = access
    if (this.#pending + this.#ordinary < limits.pendingPublishes && this.#pendingBytes < limits.pendingBytes && output.unsentBytes < limits.outputBytes) return
    this.#full = true
    this.#connection.hold()
  }

  drained (): void {
    this.#asking?.taken()
    if (!this.#full) return
    const { access, output } = this.#connection
    const { limits } = access
    if (this.#pending + this.#ordinary > limits.pendingPublishes / 2 || this.#pendingBytes > limits.pendingBytes / 2 || output.unsentBytes >= limits.outputBytes) return
    this.#full = false
    this.#connection.release()
  }

  /** The engine's answer, in the order of the publishes. */
  settle (pending: Pending, verdict: Verdict): void {
    const connection = this.#connection
    const { session } = connection
    this.#pending--
    this.#pendingBytes -= pending.bytes
    if (pending.qos === 1) this.#pending1--
    if (pending.isRequest) this.#asking?.answered(verdict.ok === true ? verdict.answer?.length ?? 0 : 0)
    if (connection.phase !== 'open' || session === undefined) return
    if (verdict.ok === true) {
      if (verdict.answer !== undefined && verdict.rid !== undefined) {
        const { pump, topics } = connection.access
        pump.tell(session, topics.answer(connection.user, verdict.rid), verdict.answer, false, pending.correlationData)
      }
      if (pending.qos === 1) this.#puback(pending.packetId, verdict)
      else if (pending.qos === 2) this.#pubrec(pending.packetId, verdict)
      if (pending.number > 0) (session.evidence as Evidence).answered = pending.number
    } else if (verdict.ok === false) {
      this.#refused(pending, verdict)
    } else {
      const { access } = connection
      const discarded = access.tick.discard(session.id)
      connection.close({ reason: disconnectReasons.busy })
      for (const { ref } of discarded) access.pending.settle({ kind: 'verdict', ref, ok: 'failed' })
      return
    }
    this.#idle()
    this.drained()
  }

  #puback (packetId: number, verdict: { id?: string, seq?: number }): void {
    const { output, version, problemInformation } = this.#connection
    if (version !== 5 || verdict.id === undefined || !problemInformation) {
      writeAck(output.reserve(4), output.offset, packetTypes.puback, packetId)
      return
    }
    output.write(encodeAck(packetTypes.puback, 5, packetId, 0, undefined, [['id', verdict.id], ['seq', String(verdict.seq)]]))
  }

  #pubrec (packetId: number, verdict: { id?: string, seq?: number }): void {
    const { output, version, problemInformation } = this.#connection
    this.#qos2.set(packetId, answered)
    const properties: Array<[string, string]> | undefined = version === 5 && verdict.id !== undefined && problemInformation
      ? [['id', verdict.id], ['seq', String(verdict.seq)]]
      : undefined
    output.write(encodeAck(packetTypes.pubrec, version, packetId, 0, undefined, properties))
  }

  #refused (pending: Pick<Pending, 'packetId' | 'qos' | 'topic' | 'number'>, verdict: { code: Code, reason: string, cid?: string, retryAfterMs?: number }): void {
    const connection = this.#connection
    const { access, output, version, session, user } = connection
    const { code, reason } = verdict
    connection.allowance.spend(refusalUnits)
    // Not the reason: a gate may quote the message.
    access.log.info({ code, ...connection.who, topic: pending.topic }, 'publish refused')
    if (session !== undefined && user !== '') {
      connection.allowance.spend(refusalUnits * (access.pump.countOf(user) - 1))
      const payload = Buffer.from(JSON.stringify({
        kind: 'reject',
        code,
        reason,
        ref: { topic: pending.topic, cid: verdict.cid, mid: pending.qos > 0 ? pending.packetId : undefined },
        retryAfterMs: verdict.retryAfterMs
      }))
      // The notice comes before the acknowledgement, so that the sender knows when it hears of the latter.
      access.pump.tell(session, access.topics.notice(user), payload)
      access.pump.notice(user, payload, session)
    }
    if (pending.qos === 0) return
    if (pending.number > 0 && session?.evidence !== undefined) session.evidence.answered = pending.number
    const reasonCode = version === 5 ? codes[code].reasonCode : 0
    const text = version === 5 && connection.problemInformation ? reason : undefined
    if (pending.qos === 1) {
      output.write(encodeAck(packetTypes.puback, version, pending.packetId, reasonCode, text))
      return
    }
    // [MQTT-4.3.3-8 of MQTT 5]: a failing PUBREC ends the exchange.
    if (version === 5) this.#qos2.set(pending.packetId, free)
    else if (this.#qos2.get(pending.packetId) !== free) this.#qos2.set(pending.packetId, answered)
    output.write(encodeAck(packetTypes.pubrec, version, pending.packetId, reasonCode, text))
  }

  #reject (packet: PublishFrame, code: Code, reason: string): void {
    if (this.#connection.phase !== 'open') return
    const { evidence } = this.#connection.session ?? {}
    const { packetId, qos, topic, dup } = packet
    this.#refused({ packetId, qos, topic, number: evidence !== undefined && qos > 0 ? evidence.publish(packetId, dup) : 0 }, { code, reason })
  }

  /** A PUBLISH of so many bytes that only its head was read: it is refused like any other, so that its client does not send it for ever. */
  tooLarge (packet: PublishFrame, bytes: number): void {
    if (packet.qos === 2) {
      if (!this.#register(packet)) return
      this.#qos2.set(packet.packetId, chat)
    }
    const reject = (): void => { this.#reject(packet, 'too_large', `the packet has ${bytes} bytes, at most ${this.#connection.access.limits.packetBytes}`) }
    if (this.busy) this.#whenIdle(reject)
    else reject()
  }

  #forward (packet: PublishFrame, frame: Buffer): void {
    const connection = this.#connection
    const { access } = connection
    if (connection.phase !== 'open') return
    if (access.ordinary === undefined || !access.openTopics.mayPublish(packet.topic)) {
      if (packet.qos === 2 && this.#qos2.get(packet.packetId) !== free) this.#qos2.set(packet.packetId, chat)
      const reject = (): void => { this.#reject(packet, 'forbidden', 'this topic is not open') }
      if (this.#ordinary > 0) this.#whenIdle(reject)
      else reject()
      return
    }
    if (packet.qos > 0) {
      this.#ordinary++
      connection.session?.evidence?.reuse(packet.packetId)
    }
    connection.access.subscriptions.withOrdinary(connection, client => { client.forward(frame) })
  }

  /** Notes a QoS 2 packet id; false when it was seen and is answered here [MQTT-4.3.3-10 of MQTT 5]. */
  #register (packet: PublishFrame): boolean {
    const connection = this.#connection
    const known = this.#qos2.get(packet.packetId)
    if (known === answered) {
      connection.output.write(encodeAck(packetTypes.pubrec, connection.version, packet.packetId))
      return false
    }
    if (known === chat) return false
    const { limits, topics } = connection.access
    if (known === free && this.#qos2.size >= limits.pendingQos2) {
      if (connection.version === 5) throw tooMany()
      // Nothing is kept of it, so its PUBREL finds nothing: it is refused like any other, and the client goes on.
      const reject = (): void => { this.#reject(packet, 'rate_limited', `${limits.pendingQos2} QoS 2 publishes wait for their PUBREL`) }
      if (this.busy) this.#whenIdle(reject)
      else reject()
      return false
    }
    this.#qos2.set(packet.packetId, topics.isChat(packet.topic) ? chat : ordinary)
    return true
  }

  /** The client's PUBREL. */
  release (packetId: number, frame: Buffer): void {
    const connection = this.#connection
    const known = this.#qos2.get(packetId)
    if (known !== free) this.#qos2.set(packetId, free)
    if (known === answered) connection.session?.evidence?.reuse(packetId)
    // After a reconnect the id may be one that Aedes keeps for the session.
    if (known === ordinary || (known === free && connection.ordinary !== undefined)) {
      connection.ordinary?.forward(frame)
      return
    }
    const unknown = known === free && connection.version === 5
    connection.output.write(encodeAck(packetTypes.pubcomp, connection.version, packetId, unknown ? 0x92 : 0))
  }

  /** Aedes acknowledged an ordinary publish. */
  ordinaryAcknowledged (): void {
    if (this.#ordinary > 0) this.#ordinary--
    this.#idle()
    this.drained()
  }

  #whenIdle (work: () => void): void {
    this.#connection.hold()
    this.#waiting.push(work)
  }

  #idle (): void {
    if (this.#pending > 0 || this.#ordinary > 0 || this.#waiting.length === 0) return
    const waiting = this.#waiting
    this.#waiting = []
    for (const work of waiting) {
      work()
      this.#connection.release()
    }
  }
}

/** [MQTT-3.3.4-9] of MQTT 5: QoS 1 publishes that are not answered and QoS 2 ones that are not finished count together. */
function tooMany (): ProtocolError {
  return new ProtocolError('more unfinished publishes than the Receive Maximum', disconnectReasons.receiveMaximum)
}
