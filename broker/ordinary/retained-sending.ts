/** Sends one client the retained messages of what it subscribes to. */
import type { PacketLike, Properties } from './persistence-packets.ts'
import type { FoundRetained } from './persistence-retained.ts'
import type { SubscriptionLike } from './persistence-subscriptions.ts'

export interface RetainedSendingOptions {
  /** The retained messages that match; of what is read at once, at first the part `share`. */
  retained (filter: string, share: number): AsyncGenerator<FoundRetained>
  /** Resolves when there is room for one more. */
  room (): Promise<void> | undefined
  mayRead (topic: string): boolean
  /** The properties of a message as they go to the client. */
  properties (packet: PacketLike, identifiers: readonly number[]): { properties?: Properties }
  send (packet: PacketLike, done: () => void): void
  readonly closed: boolean
}

/** A filter whose retained messages are to be sent. */
interface Wanted {
  readonly subscription: SubscriptionLike
  readonly found: AsyncGenerator<FoundRetained>
  /** What `found` gave so far. */
  readonly first: IteratorResult<FoundRetained> | undefined
}

/** Filters of one SUBSCRIBE whose first messages (together about a page) are read before it is answered. */
const readAhead = 8

/** One filter after another. What a client asks for again and again while it takes nothing is asked for once. */
export class RetainedSending {
  readonly #options: RetainedSendingOptions
  readonly #wanted = new Map<string, Wanted>()
  #current: string | undefined

  constructor (options: RetainedSendingOptions) { this.#options = options }

  /**
   * Reads the first messages of the filters, without sending any. They can then follow the SUBACK at once: read only after it, they
   * would come behind what others publish meanwhile, an old value behind a newer one.
   */
  async find (subscriptions: readonly SubscriptionLike[]): Promise<Wanted[]> {
    const ahead = this.#idle ? Math.min(subscriptions.length, readAhead) : 0
    return await Promise.all(subscriptions.map(async (subscription, i) => {
      const found = this.#options.retained(subscription.topic, i < ahead ? 1 / ahead : 1)
      return { subscription, found, first: i < ahead ? await found.next() : undefined }
    }))
  }

  get #idle (): boolean { return this.#wanted.size === 0 && this.#current === undefined }

  /** Resolves when all that is wanted by then is sent, at once when another call sends it. */
  async send (found: readonly Wanted[]): Promise<void> {
    const idle = this.#idle
    for (const wanted of found) this.#wanted.set(wanted.subscription.topic, wanted)
    if (!idle) return
    try {
      for (const [filter, wanted] of this.#wanted) {
        this.#wanted.delete(filter)
        this.#current = filter
        await this.#send(wanted)
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

  async #send ({ subscription: { topic: filter, qos, subscriptionIdentifier }, found: matching, first }: Wanted): Promise<void> {
    const options = this.#options
    const identifiers = subscriptionIdentifier === undefined ? [] : [subscriptionIdentifier]
    for (let next = first ?? await matching.next(); next.done !== true; next = await matching.next()) {
      const found = next.value
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
