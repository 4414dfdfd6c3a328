import type { Resends } from '../../link/port.ts'
import type { Target, TopicRefusal, Topics } from '../../topics.ts'
import type { GatewayLimits } from '../limits.ts'
import type { Asking } from './asking.ts'
import { PacketStates } from './packet-states.ts'

/** What is known of a QoS 2 packet id: nothing; the engine has the publish; PUBREC was sent; ordinary topics have it. */
export const qos2 = { free: 0, chat: 1, answered: 2, ordinary: 3 } as const

/** The connection, as the count of its publishes needs it. */
export interface PublishesPeer {
  readonly output: { readonly unsentBytes: number }
  hold (): void
  release (): void
}

/** The publishes of one connection that are on their way, and the order of their acknowledgements [MQTT-4.6.0-2]. */
export class Publishes {
  readonly #peer: PublishesPeer
  readonly #limits: Pick<GatewayLimits, 'pendingPublishes' | 'pendingBytes' | 'outputBytes'>
  /** Chat publishes that the engine has, their bytes, and those at QoS 1. */
  #chat = 0
  #chatBytes = 0
  #chat1 = 0
  /** Ordinary publishes that are not acknowledged, and those at QoS 1. */
  #ordinary = 0
  #ordinary1 = 0
  #full = false
  #waiting: Array<() => void> = []
  /** QoS 2 publishes without their PUBREL: of each only that there is one, whoever keeps its message. */
  readonly states = new PacketStates()
  /** What publishes with DUP may be repeats of; absent when nothing is remembered of the session. */
  resends: Resends | undefined
  /** Publishes that are read beyond `pendingPublishes`: 1 for who has to hear that it is one too many. */
  spare = 0
  /** Made with the first request. */
  asking: Asking | undefined
  #lastTopic = ''
  #lastTarget: Target | TopicRefusal | undefined

  constructor (peer: PublishesPeer, limits: Pick<GatewayLimits, 'pendingPublishes' | 'pendingBytes' | 'outputBytes'>) {
    this.#peer = peer
    this.#limits = limits
  }

  get chatWaits (): boolean { return this.#chat > 0 }
  get ordinaryWaits (): boolean { return this.#ordinary > 0 }
  /** Publishes wait for their answer. */
  get busy (): boolean { return this.#chat > 0 || this.#ordinary > 0 }
  /** QoS 2 publishes wait for their PUBREL. */
  get unfinished (): boolean { return this.states.size > 0 }
  /** What counts against the Receive Maximum: publishes at QoS 1 that are not answered, and those at QoS 2 that are not finished. */
  get counted (): number { return this.#chat1 + this.#ordinary1 + this.states.size }

  /** What a topic of the chat tree stands for; mostly the same as the last one. */
  target (topics: Topics, topic: string): Target | TopicRefusal {
    if (this.#lastTarget === undefined || topic !== this.#lastTopic) {
      this.#lastTopic = topic
      this.#lastTarget = topics.target(topic)
    }
    return this.#lastTarget
  }

  chatBegins (publish: { qos: number, bytes: number }): void {
    this.#chat++
    this.#chatBytes += publish.bytes
    if (publish.qos === 1) this.#chat1++
  }

  chatEnds (publish: { qos: number, bytes: number }): void {
    this.#chat--
    this.#chatBytes -= publish.bytes
    if (publish.qos === 1) this.#chat1--
  }

  ordinaryBegins (qos: number): void {
    this.#ordinary++
    if (qos === 1) this.#ordinary1++
  }

  /** An ordinary publish was acknowledged. */
  ordinaryEnds (qos: number): void {
    if (this.#ordinary > 0) this.#ordinary--
    if (qos === 1 && this.#ordinary1 > 0) this.#ordinary1--
    this.settled()
  }

  /** Does `work` when no publish waits for its answer; nothing more is read until then. */
  whenIdle (work: () => void): void {
    this.#peer.hold()
    this.#waiting.push(work)
  }

  /** An answer was written: what waited for it goes on. */
  settled (): void {
    this.#idle()
    this.drained()
  }

  #idle (): void {
    if (this.busy || this.#waiting.length === 0) return
    const waiting = this.#waiting
    this.#waiting = []
    for (const work of waiting) {
      work()
      this.#peer.release()
    }
  }

  /** Stops reading while too much waits for its commit, or while the client does not take what it is sent. */
  throttle (): void {
    if (this.#full) return
    const limits = this.#limits
    if (this.#chat + this.#ordinary < limits.pendingPublishes + this.spare && this.#chatBytes < limits.pendingBytes && this.#peer.output.unsentBytes < limits.outputBytes) return
    this.#full = true
    this.#peer.hold()
  }

  /** The client may have taken something. */
  drained (): void {
    this.asking?.taken()
    if (!this.#full) return
    const limits = this.#limits
    if (this.#chat + this.#ordinary > limits.pendingPublishes / 2 || this.#chatBytes > limits.pendingBytes / 2 || this.#peer.output.unsentBytes >= limits.outputBytes) return
    this.#full = false
    this.#peer.release()
  }

  /** The connection has ended. */
  close (): void { this.asking?.close() }
}
