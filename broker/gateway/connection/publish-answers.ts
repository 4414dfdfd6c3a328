/** The answers to publishes: PUBACK, PUBREC and answers to requests, or a refusal. */
import type { Logger } from 'pino'
import { codes, type Code } from '../../errors.ts'
import type { Verdict } from '../../link/port.ts'
import { encodeAck, packetTypes, writeAck, type ProtocolVersion, type PublishFrame } from '../../mqtt/index.ts'
import type { Topics } from '../../topics.ts'
import type { Waiting } from '../delivery/pressure.ts'
import type { Pump } from '../delivery/pump.ts'
import type { Session } from '../delivery/session.ts'
import type { Tick } from '../tick.ts'
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
  /** Whose connection it is, for the log. */
  readonly who: object
  close (how: { reason: number }): void
}

/** A publish on its way through the engine; `number` is its place among those that are answered. */
export interface Pending { client: AnsweredClient, packetId: number, qos: 0 | 1 | 2, number: number, topic: string, correlationData: Buffer | undefined, bytes: number, isRequest: boolean }

export interface AnswerContext {
  readonly topics: Topics
  readonly pump: Pick<Pump, 'notice' | 'countOf' | 'pressure'>
  readonly tick: Pick<Tick, 'discard'>
  readonly pending: PendingPublishes<Pending>
  readonly log: Logger
}

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
    if (pending === undefined) return
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
      client.sink?.tell(this.#context.topics.answer(client.user, verdict.rid), verdict.answer, false, pending.correlationData)
    }
    if (pending.qos === 1) puback(client, pending.packetId, verdict)
    else if (pending.qos === 2) pubrec(client, pending.packetId, verdict)
    if (pending.number > 0) (client.evidence as Evidence).answered = pending.number
  }

  #refused (pending: Pick<Pending, 'client' | 'packetId' | 'qos' | 'topic' | 'number'>, verdict: Refused): void {
    const { log } = this.#context
    const { client } = pending
    const { code } = verdict
    client.allowance.spend(refusalUnits)
    // Not the reason: a gate may quote the message.
    log.info({ code, ...client.who, topic: pending.topic }, 'publish refused')
    // The notice comes before the acknowledgement, so that the sender knows when it hears of the latter.
    this.#notice(pending, verdict)
    if (pending.qos === 0) return
    if (pending.number > 0 && client.evidence !== undefined) client.evidence.answered = pending.number
    refuse(client, pending, verdict)
  }

  #notice ({ client, topic, qos, packetId }: Pick<Pending, 'client' | 'packetId' | 'qos' | 'topic'>, { code, reason, cid, retryAfterMs }: Refused): void {
    const { pump } = this.#context
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
  }

  /** Refuses a publish that the engine never had. */
  reject (client: AnsweredClient, packet: PublishFrame, code: Code, reason: string): void {
    if (!client.isOpen) return
    const { evidence } = client
    const { packetId, qos, topic, dup } = packet
    this.#refused({ client, packetId, qos, topic, number: evidence !== undefined && qos > 0 ? evidence.publish(packetId, dup) : 0 }, { code, reason })
  }
}

function puback ({ output, version, problemInformation }: AnsweredClient, packetId: number, verdict: { id?: string, seq?: number }): void {
  if (version !== 5 || verdict.id === undefined || !problemInformation) {
    writeAck(output.reserve(4), output.offset, packetTypes.puback, packetId)
    return
  }
  output.write(encodeAck(packetTypes.puback, 5, packetId, 0, undefined, [['id', verdict.id], ['seq', String(verdict.seq)]]))
}

function pubrec ({ output, version, problemInformation, publishes }: AnsweredClient, packetId: number, verdict: { id?: string, seq?: number }): void {
  publishes.states.set(packetId, qos2.answered)
  const properties: Array<[string, string]> | undefined = version === 5 && verdict.id !== undefined && problemInformation
    ? [['id', verdict.id], ['seq', String(verdict.seq)]]
    : undefined
  output.write(encodeAck(packetTypes.pubrec, version, packetId, 0, undefined, properties))
}

function refuse ({ output, version, problemInformation, publishes: { states } }: AnsweredClient, { packetId, qos }: { packetId: number, qos: number }, { code, reason }: Refused): void {
  const reasonCode = version === 5 ? codes[code].reasonCode : 0
  const text = version === 5 && problemInformation ? reason : undefined
  if (qos === 1) {
    output.write(encodeAck(packetTypes.puback, version, packetId, reasonCode, text))
    return
  }
  // [MQTT-4.3.3-8 of MQTT 5]: a failing PUBREC ends the exchange.
  if (version === 5) states.set(packetId, qos2.free)
  else if (states.get(packetId) !== qos2.free) states.set(packetId, qos2.answered)
  output.write(encodeAck(packetTypes.pubrec, version, packetId, reasonCode, text))
}
