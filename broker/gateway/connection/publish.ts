import type { Code } from '../../errors.ts'
import type { Submission } from '../../link/port.ts'
import { ProtocolError, packetTypes, encodeAck, encodePublish, type PublishFrame } from '../../mqtt/index.ts'
import type { Target, Topics } from '../../topics.ts'
import type { GatewayLimits } from '../limits.ts'
import type { Intake } from '../intake.ts'
import type { Tick } from '../tick.ts'
import { unitsOfPublish } from './allowance.ts'
import { Asking, type AskingClient, type AskingContext } from './asking.ts'
import { disconnectReasons } from './disconnect-reasons.ts'
import type { OrdinarySide, OrdinarySideClient } from './ordinary-side.ts'
import type { Output } from './output.ts'
import type { PendingPublishes } from './pending-publishes.ts'
import type { AnsweredClient, Pending, PublishAnswers } from './publish-answers.ts'
import { qos2 } from './publishes.ts'

/** The sender's connection, as its publishes need it. */
export interface PublishingClient extends AnsweredClient, AskingClient, OrdinarySideClient {
  /** MQTT 5: what the CONNACK told the client; others may have as many unfinished as there are packet ids. */
  readonly receiveMaximum: number
  /** The peer has gone, and what it sent is not all taken in yet. */
  readonly gone: boolean
  readonly output: Output
  close (how?: { reason?: number }): void
  /** A publish is the engine's: the next one may have to wait. */
  published (): void
}

export interface PublishContext extends AskingContext {
  readonly clock: { readonly now: number }
  readonly topics: Topics
  readonly limits: Pick<GatewayLimits, 'pendingQos2' | 'packetBytes' | 'pendingRequests' | 'outputBytes'>
  readonly pending: PendingPublishes<Pending>
  readonly tick: Pick<Tick, 'submit'>
  readonly intake: Pick<Intake, 'take'>
  readonly publishAnswers: Pick<PublishAnswers, 'reject'>
  readonly ordinarySide: Pick<OrdinarySide, 'mayPublish' | 'forward' | 'retains'>
}

/** PUBLISH: to the engine, to ordinary topics, or refused; acknowledged in order whoever answers. */
export class PublishHandler {
  readonly #context: PublishContext

  constructor (context: PublishContext) { this.#context = context }

  /** A PUBLISH; its frame is `buf[frameStart, end)`. */
  handle (client: PublishingClient, packet: PublishFrame, buf: Buffer, frameStart: number, end: number): void {
    const { publishes } = client
    client.allowance.spend(unitsOfPublish(packet.payload.length))
    if (packet.qos === 2 && !this.#register(client, packet)) return
    // [MQTT-3.3.4-9] of MQTT 5.
    if (packet.qos > 0 && publishes.counted + (packet.qos === 1 ? 1 : 0) > client.receiveMaximum) throw tooMany()
    if (this.#context.topics.isChat(packet.topic)) {
      // Ordinary topics and the engine answer each in their own time: a change from one to the other waits for the answers.
      if (publishes.ordinaryWaits) publishes.whenIdle(() => { this.#chat(client, packet) })
      else this.#chat(client, packet)
      return
    }
    if (publishes.chatWaits) publishes.whenIdle(() => { this.#ordinary(client, packet, buf.subarray(frameStart, end)) })
    else this.#ordinary(client, packet, buf.subarray(frameStart, end))
  }

  /** A PUBLISH of so many bytes that only its head was read: it is refused like any other, so that its client does not send it for ever. */
  tooLarge (client: PublishingClient, packet: PublishFrame, bytes: number): void {
    const { publishes } = client
    const { limits, publishAnswers } = this.#context
    if (packet.qos === 2) {
      if (!this.#register(client, packet)) return
      publishes.states.set(packet.packetId, qos2.chat)
    }
    const reject = (): void => { publishAnswers.reject(client, packet, 'too_large', `the packet has ${bytes} bytes, at most ${limits.packetBytes}`) }
    if (publishes.busy) publishes.whenIdle(reject)
    else reject()
  }

  #chat (client: PublishingClient, packet: PublishFrame): void {
    const { publishes, session } = client
    const { topics } = this.#context
    if (session === undefined || !client.isOpen) return
    const target = publishes.target(topics, packet.topic)
    if (client.gone && 'kind' in target && (target.kind === 'rpc' || target.verb !== undefined)) return
    if ('refuse' in target || client.user === '') {
      const code = 'refuse' in target ? target.refuse : 'unauthorized'
      return this.#refuse(client, packet, code, 'refuse' in target ? target.reason : 'a user name is needed here')
    }
    if (target.kind === 'rpc') this.#ask(client, packet)
    else this.#submit(client, packet, target)
  }

  #ask (client: PublishingClient, packet: PublishFrame): void {
    const { publishes, user } = client
    const { topics } = this.#context
    const { responseTopic } = packet.properties ?? {}
    if (responseTopic !== undefined && topics.answerId(user, responseTopic) === undefined) {
      return this.#refuse(client, packet, 'forbidden', `the answer to a request goes to ${topics.answers(user)}/ and an id, not to its Response Topic`)
    }
    publishes.asking ??= new Asking(client, this.#context, request => { this.#submit(client, request, topics.target(request.topic) as Target) })
    publishes.asking.ask(packet)
  }

  /** Refuses a publish to a chat topic when it is its turn. */
  #refuse (client: PublishingClient, packet: PublishFrame, code: Code, reason: string): void {
    const { publishes } = client
    const { publishAnswers } = this.#context
    if (publishes.chatWaits) publishes.whenIdle(() => { publishAnswers.reject(client, packet, code, reason) })
    else publishAnswers.reject(client, packet, code, reason)
  }

  #submit (client: PublishingClient, packet: PublishFrame, target: Target): void {
    const { evidence, publishes, session } = client
    if (session === undefined) return
    const { properties } = packet
    const number = evidence !== undefined && packet.qos > 0 ? evidence.publish(packet.packetId, packet.dup) : 0
    const pending = { client, packetId: packet.packetId, qos: packet.qos, number, topic: packet.topic, answer: properties, bytes: packet.payload.length, isRequest: target.kind === 'rpc', since: this.#context.clock.now }
    const submission: Submission = {
      ref: this.#context.pending.add(pending),
      session: session.id,
      user: client.user,
      target,
      payload: packet.payload,
      qos: packet.qos,
      packetId: packet.packetId,
      dup: packet.dup
    }
    if (evidence !== undefined && publishes.resends !== undefined && number > 0) {
      submission.resends = publishes.resends
      submission.number = number
      submission.proven = evidence.proven
    }
    if (properties !== undefined) {
      if (properties.contentType !== undefined) submission.contentType = properties.contentType
      if (properties.payloadFormat !== undefined) submission.utf8 = properties.payloadFormat === 1
      if (properties.messageExpirySeconds !== undefined) submission.expirySeconds = properties.messageExpirySeconds
      const rid = target.kind === 'rpc' && properties.responseTopic !== undefined ? this.#context.topics.answerId(client.user, properties.responseTopic) : undefined
      if (rid !== undefined) submission.rid = rid
    }
    publishes.chatBegins(pending)
    this.#context.intake.take()
    this.#context.tick.submit(submission)
    client.published()
  }

  #ordinary (client: PublishingClient, packet: PublishFrame, frame: Buffer): void {
    const { publishes } = client
    const { ordinarySide, publishAnswers } = this.#context
    if (!client.isOpen) return
    const refusal = this.#refusal(client, packet)
    if (refusal !== undefined) {
      if (packet.qos === 2 && publishes.states.get(packet.packetId) !== qos2.free) publishes.states.set(packet.packetId, qos2.chat)
      const reject = (): void => { publishAnswers.reject(client, packet, ...refusal) }
      if (publishes.ordinaryWaits) publishes.whenIdle(reject)
      else reject()
      return
    }
    if (packet.qos > 0) {
      publishes.ordinaryBegins(packet.qos)
      client.evidence?.reuse(packet.packetId)
    }
    ordinarySide.forward(client, packet.properties?.topicAlias === undefined ? frame : encodePublish(packet))
  }

  #refusal (client: PublishingClient, { topic, retain, payload }: PublishFrame): [code: Code, reason: string] | undefined {
    const { ordinarySide } = this.#context
    if (!ordinarySide.mayPublish(client, topic)) return ['forbidden', 'this topic is not open']
    // As a whole: who is told nothing of it would believe that it is kept.
    if (retain && !ordinarySide.retains(topic, payload.length)) return ['too_large', 'there is no room for more retained messages']
    return undefined
  }

  /** Notes a QoS 2 packet id; false when it was seen and is answered here [MQTT-4.3.3-10 of MQTT 5]. */
  #register (client: PublishingClient, packet: PublishFrame): boolean {
    const { publishes, output, version } = client
    const { limits, topics, publishAnswers } = this.#context
    const { states } = publishes
    const known = states.get(packet.packetId)
    if (known === qos2.answered) {
      output.write(encodeAck(packetTypes.pubrec, version, packet.packetId))
      return false
    }
    if (known === qos2.chat) return false
    if (known === qos2.free && states.size >= limits.pendingQos2) {
      if (version === 5) throw tooMany()
      // Nothing is kept of it, so its PUBREL finds nothing: it is refused like any other, and the client goes on.
      const reject = (): void => { publishAnswers.reject(client, packet, 'rate_limited', `${limits.pendingQos2} QoS 2 publishes wait for their PUBREL`) }
      if (publishes.busy) publishes.whenIdle(reject)
      else reject()
      return false
    }
    states.set(packet.packetId, topics.isChat(packet.topic) ? qos2.chat : qos2.ordinary)
    return true
  }
}

/** [MQTT-3.3.4-9] of MQTT 5: QoS 1 publishes that are not answered and QoS 2 ones that are not finished count together. */
function tooMany (): ProtocolError {
  return new ProtocolError('more unfinished publishes than the Receive Maximum', disconnectReasons.receiveMaximum)
}
