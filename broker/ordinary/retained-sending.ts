/** Sends one client the retained messages of what it subscribes to. */
import type { PacketLike, Properties } from './persistence-packets.ts'
import type { FoundRetained } from './persistence-retained.ts'
import type { SubscriptionLike } from './persistence-subscriptions.ts'

export interface RetainedSendingOptions {
  /** The retained messages that match. */
  retained (filter: string): AsyncIterable<FoundRetained>
  /** Resolves when there is room for one more. */
  room (): Promise<void> | undefined
  mayRead (topic: string): boolean
  /** The properties of a message as they go to the client. */
  properties (packet: PacketLike, identifiers: readonly number[]): { properties?: Properties }
  send (packet: PacketLike, done: () => void): void
  readonly closed: boolean
}

/** One filter after another. What a client asks for again and again while it takes nothing is asked for once. */
export class RetainedSending {
  readonly #options: RetainedSendingOptions
  readonly #wanted = new Map<string, SubscriptionLike>()
  #current: string | undefined

  constructor (options: RetainedSendingOptions) { this.#options = options }

  /** Resolves when all that is wanted by then is sent, at once when another call sends it. */
  async want (subscriptions: readonly SubscriptionLike[]): Promise<void> {
    const idle = this.#wanted.size === 0 && this.#current === undefined
    for (const subscription of subscriptions) this.#wanted.set(subscription.topic, subscription)
    if (!idle) return
    try {
      for (const [filter, subscription] of this.#wanted) {
        this.#wanted.delete(filter)
        this.#current = filter
        await this.#send(subscription)
      }
    } finally {
      this.#current = undefined
      this.#wanted.clear()
    }
  }

  /** The client does not subscribe to it any more. */
  forget (filter: string): void {
    this.#wanted.delete(filter)
    if (this.#current === filter) this.#current = ''
  }

  async #send ({ topic: filter, qos, subscriptionIdentifier }: SubscriptionLike): Promise<void> {
    const options = this.#options
    const identifiers = subscriptionIdentifier === undefined ? [] : [subscriptionIdentifier]
    for await (const found of options.retained(filter)) {
      // The configuration may have changed.
      if (!options.mayRead(found.topic)) continue
      await options.room()
      // What was read may have been replaced meanwhile, and its successor sent already.
      const latest = found.latest()
      const packet = latest instanceof Promise ? await latest : latest
      if (options.closed || this.#current !== filter) return
      if (packet === undefined) continue
      const { topic, payload, qos: published } = packet
      const own: PacketLike = {
        cmd: 'publish',
        topic,
        // A view of its own: it is not the message that was queued once.
        payload: typeof payload === 'string' ? payload : Buffer.from(payload.buffer, payload.byteOffset, payload.length),
        qos: Math.min(qos, published) as 0 | 1 | 2,
        retain: true,
        ...options.properties(packet, identifiers)
      }
      if (packet.messageExpiry !== undefined) own.messageExpiry = packet.messageExpiry
      await new Promise<void>(resolve => { options.send(own, resolve) })
    }
  }
}
