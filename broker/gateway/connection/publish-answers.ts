/** The answers to publishes: PUBACK, PUBREC and answers to requests, or a refusal. */
import type { Logger } from 'pino'
import { codes, type Code } from '../../errors.ts'
import type { Verdict } from '../../link/port.ts'
import { AckWriter, encodeAck, packetTypes, writeAck, type AckType, type ProtocolVersion, type PublishFrame, type PublishProperties } from '../../mqtt/index.ts'
import type { Topics } from '../../topics.ts'
import type { Waiting } from '../delivery/pressure.ts'
import type { Pump } from '../delivery/pump.ts'
import type { GatewayMeasures } from '../measures.ts'
import type { Session } from '../delivery/session.ts'
import type { Tick } from '../tick.ts'
import type { Visits } from '../visits.ts'
import type { Wills } from '../wills/wills.ts'
import { refusalUnits, type Allowance } from './allowance.ts'
import { disconnectReasons } from './disconnect-reasons.ts'
import type { Evidence } from './evidence.ts'
import type { MqttSink } from './mqtt-sink.ts'
import type { Output } from './output.ts'
import type { PendingPublishes } from './pending-publishes.ts'
import { qos2, type Publishes } from './publishes.ts'

/** The sender's connection, as the answers to its publishes need it. */
export interface AnsweredClient {
  readonly version: ProtocolVersion
  readonly user: string
  readonly isOpen: boolean
  readonly output: Output
  readonly session: Session | undefined
  readonly sink: MqttSink | undefined
  readonly evidence: Evidence | undefined
  readonly publishes: Publishes
  readonly allowance: Allowance
  /** MQTT 5: reason strings and user properties may be sent with acknowledgements [MQTT-3.1.2-29]. */
  readonly problemInformation: boolean
  /** The largest packet the client takes. */
  readonly maximumPacketBytes: number
  /** Whose connection it is, for the log. */
  readonly who: object
  close (how: { reason: number }): void
}

/** A publish on its way through the engine; `number` is its place among those that are answered. */
export interface Pending { client: AnsweredClient, packetId: number, qos: 0 | 1 | 2, number: number, topic: string, /** of a request: what MQTT 5 says of its answer */ answer: Pick<PublishProperties, 'responseTopic' | 'correlationData'> | undefined, bytes: number, isRequest: boolean, /** milliseconds of `AnswerContext.clock` */ since: number }

export interface AnswerContext {
  readonly clock: { readonly now: number }
  readonly measures: Pick<GatewayMeasures, 'answered' | 'refusedPublishes'>
  readonly topics: Topics
  readonly pump: Pick<Pump, 'notice' | 'countOf' | 'pressure'>
  readonly tick: Pick<Tick, 'discard'>
  readonly pending: PendingPublishes<Pending>
  readonly wills: Pick<Wills, 'settled'>
  /** Tells a user's sessions at other servers; absent where there are none. */
  readonly tellOthers: ((user: string, payload: Uint8Array) => void) | undefined
  readonly visits: Pick<Visits, 'settled'>
  readonly log: Logger
}

/** What a verdict says of a message that was stored. */
interface Stored { id?: string, seq?: number }

interface Refused { code: Code, reason: string, cid?: string, retryAfterMs?: number }

/** Answers of a sender that waits. */
interface Deferred extends Waiting { readonly client: AnsweredClient, readonly conv: string, readonly answers: Array<[Pending, Verdict]> }

export class PublishAnswers {
  readonly #context: AnswerContext
  readonly #deferred = new Map<AnsweredClient, Deferred>()

  constructor (context: AnswerContext) { this.#context = context }

  /** The engine's answer to one publish. Answers come in the order of the publishes. */
  settle (verdict: Verdict): void {
    const pending = this.#context.pending.take(verdict.ref)
    if (pending === undefined) {
      if (!this.#context.visits.settled(verdict)) this.#context.wills.settled(verdict)
      return
    }
    if (!pending.isRequest) this.#context.measures.answered(this.#context.clock.now - pending.since)
    // Before the message itself comes: the verdict is first.
    const { session } = pending.client
    if (session?.interest.noLocal === true && verdict.ok === true && verdict.conv !== undefined && verdict.seq !== undefined) session.own.published(verdict.conv, verdict.seq)
    // At QoS 0 nobody waits for an answer.
    if (pending.qos > 0 && this.#defers(pending, verdict)) return
    this.#answer(pending, verdict)
  }

  /** True when the answer waits: its sender is ahead of the readers, or has answers that wait. */
  #defers (pending: Pending, verdict: Verdict): boolean {
    const { client } = pending
    const deferred = this.#deferred.size > 0 ? this.#deferred.get(client) : undefined
    if (deferred !== undefined) {
      // What failed ends the connection; what was stored before it is said first.
      if (verdict.ok === 'failed') {
        this.#release(deferred)
        return false
      }
      deferred.answers.push([pending, verdict])
      return true
    }
    if (verdict.ok !== true || verdict.conv === undefined || !this.#context.pump.pressure.on(verdict.conv) || !client.isOpen) return false
    this.#wait(client, verdict.conv).answers.push([pending, verdict])
    return true
  }

  /** The sender's answers wait, in their order, until the readers of the conversation are not far behind any more. */
  #wait (client: AnsweredClient, conv: string): Deferred {
    const deferred: Deferred = { client, conv, answers: [], release: () => { this.#release(deferred) } }
    this.#deferred.set(client, deferred)
    this.#context.pump.pressure.wait(conv, deferred)
    return deferred
  }

  #release (deferred: Deferred): void {
    const { client, answers } = deferred
    if (this.#deferred.get(client) !== deferred) return
    this.#deferred.delete(client)
    for (const [pending, verdict] of answers) this.#answer(pending, verdict)
  }

  /** The connection is closed: nobody waits for its answers. */
  left (client: AnsweredClient): void {
    const deferred = this.#deferred.get(client)
    if (deferred === undefined) return
    this.#context.pump.pressure.leave(deferred.conv, deferred)
    this.#release(deferred)
  }

  #answer (pending: Pending, verdict: Verdict): void {
    const { client } = pending
    const { publishes, session } = client
    publishes.chatEnds(pending)
    if (pending.isRequest) publishes.asking?.answered(verdict.ok === true ? verdict.answer?.length ?? 0 : 0)
    if (!client.isOpen || session === undefined) return
    if (verdict.ok === 'failed') {
      const discarded = this.#context.tick.discard(session.id)
      client.close({ reason: disconnectReasons.busy })
      for (const { ref } of discarded) this.settle({ kind: 'verdict', ref, ok: 'failed' })
      return
    }
    if (verdict.ok) this.#accepted(pending, verdict)
    else this.#refused(pending, verdict)
    publishes.settled()
  }

  #accepted (pending: Pending, verdict: Extract<Verdict, { ok: true }>): void {
    const { client } = pending
    if (verdict.answer !== undefined && verdict.rid !== undefined) {
      const { responseTopic = this.#context.topics.answer(client.user, verdict.rid), correlationData } = pending.answer ?? {}
      client.sink?.tell(responseTopic, verdict.answer, { correlationData })
    }
    if (pending.qos === 1) puback(client, pending.packetId, verdict)
    else if (pending.qos === 2) pubrec(client, pending.packetId, verdict)
    if (pending.number > 0) (client.evidence as Evidence).answered = pending.number
  }

  #refused (pending: Pick<Pending, 'client' | 'packetId' | 'qos' | 'topic' | 'number'>, verdict: Refused): void {
    const { log, measures } = this.#context
    const { client } = pending
    const { code } = verdict
    client.allowance.spend(refusalUnits)
    measures.refusedPublishes.add(code)
    // Not the reason: a gate may quote the message.
    log.info({ code, ...client.who, topic: pending.topic }, 'publish refused')
    // The notice comes before the acknowledgement, so that the sender knows when it hears of the latter.
    this.#notice(pending, verdict)
    if (pending.qos === 0) return
    if (pending.number > 0 && client.evidence !== undefined) client.evidence.answered = pending.number
    refuse(client, pending, verdict)
  }

  #notice ({ client, topic, qos, packetId }: Pick<Pending, 'client' | 'packetId' | 'qos' | 'topic'>, { code, reason, cid, retryAfterMs }: Refused): void {
    const { pump, tellOthers } = this.#context
    const { session, sink, user } = client
    if (session === undefined || sink === undefined || user === '') return
    client.allowance.spend(refusalUnits * (pump.countOf(user) - 1))
    const payload = Buffer.from(JSON.stringify({
      kind: 'reject',
      code,
      reason,
      ref: { topic, cid, mid: qos > 0 ? packetId : undefined },
      retryAfterMs
    }))
    sink.notice(payload)
    pump.notice(user, payload, session)
    if (tellOthers === undefined) return
    client.allowance.spend(refusalUnits)
    tellOthers(user, payload)
  }

  /** Refuses a publish that the engine never had. */
  reject (client: AnsweredClient, packet: PublishFrame, code: Code, reason: string): void {
    if (!client.isOpen) return
    const { evidence } = client
    const { packetId, qos, topic, dup } = packet
    this.#refused({ client, packetId, qos, topic, number: evidence !== undefined && qos > 0 ? evidence.publish(packetId, dup) : 0 }, { code, reason })
  }
}

const storedAck = new AckWriter('id', 'seq')

function puback (client: AnsweredClient, packetId: number, verdict: Stored): void {
  accept(client, packetTypes.puback, packetId, verdict)
}

function pubrec (client: AnsweredClient, packetId: number, verdict: Stored): void {
  client.publishes.states.set(packetId, qos2.answered)
  accept(client, packetTypes.pubrec, packetId, verdict)
}

/** With the message's id and number for those who may be told, and have room for it [MQTT-3.4.2-3], [MQTT-3.5.2-3]. */
function accept ({ output, version, problemInformation, maximumPacketBytes }: AnsweredClient, type: AckType, packetId: number, { id, seq }: Stored): void {
  if (version === 5 && id !== undefined && problemInformation) {
    const number = String(seq)
    const size = storedAck.size(id, number)
    if (size <= maximumPacketBytes) {
      storedAck.write(output.reserve(size), output.offset, type, packetId, id, number)
      return
    }
  }
  writeAck(output.reserve(4), output.offset, type, packetId)
}

function refuse (client: AnsweredClient, { packetId, qos }: { packetId: number, qos: number }, { code, reason }: Refused): void {
  const { version, publishes: { states } } = client
  const reasonCode = version === 5 ? codes[code].reasonCode : 0
  if (qos === 1) return acknowledge(client, packetTypes.puback, packetId, reasonCode, reason)
  // [MQTT-4.3.3-8 of MQTT 5]: a failing PUBREC ends the exchange.
  if (version === 5) states.set(packetId, qos2.free)
  else if (states.get(packetId) !== qos2.free) states.set(packetId, qos2.answered)
  acknowledge(client, packetTypes.pubrec, packetId, reasonCode, reason)
}

/** A refusal. What is said beside the code is left out for a client that does not ask for it, or has no room for it [MQTT-3.4.2-2], [MQTT-3.4.2-3], [MQTT-3.5.2-2], [MQTT-3.5.2-3]. */
function acknowledge ({ output, version, problemInformation, maximumPacketBytes }: AnsweredClient, type: AckType, packetId: number, reasonCode: number, text: string): void {
  const bare = (): Buffer => encodeAck(type, version, packetId, reasonCode)
  const whole = version === 5 && problemInformation ? encodeAck(type, version, packetId, reasonCode, text) : bare()
  output.write(whole.length > maximumPacketBytes ? bare() : whole)
}
