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
  /** Of what was owed to the subscription by `owed`, `sent` were sent before the connection ended; undefined: all. */
  owe (filter: string, owed: readonly string[], sent: readonly string[] | undefined): void
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
/** Of a filter whose sending a connection ends so many topics are remembered, and characters of them. With more, all come again. */
const mostTopics = 1000
const mostCharacters = 65_536

/** One filter after another. What a client asks for again and again while it takes nothing is asked for once. */
export class RetainedSending {
  readonly #options: RetainedSendingOptions
  readonly #wanted = new Map<string, Wanted>()
  #current: string | undefined
  /** What is sent now is what an earlier connection was not sent. */
  #isLeft = false

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

  /** Resolves when all that is wanted by then is sent, at once when another call sends it. `left`: by an earlier connection. */
  async send (found: readonly Wanted[], left = false): Promise<void> {
    const idle = this.#idle
    for (const wanted of found) {
      const { topic } = wanted.subscription
      // All of it comes with this one: the rest of what was left would come twice.
      if (this.#current === topic && this.#isLeft) this.#current = ''
      this.#wanted.set(topic, wanted)
    }
    if (!idle) return
    this.#isLeft = left
    try {
      for (const [filter, wanted] of this.#wanted) {
        this.#wanted.delete(filter)
        this.#current = filter
        this.#isLeft &&= found.includes(wanted)
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

  async #send ({ subscription: { topic: filter, qos, subscriptionIdentifier, owed }, found: matching, first }: Wanted): Promise<void> {
    const options = this.#options
    const sent = new SentTopics(owed)
    const identifiers = subscriptionIdentifier === undefined ? [] : [subscriptionIdentifier]
    for (let next = first ?? await matching.next(); next.done !== true; next = await matching.next()) {
      const found = next.value
      // The configuration may have changed.
      if (!options.mayRead(found.topic) || sent.before.has(found.topic)) continue
      await options.room()
      // What was read may have been replaced meanwhile, and its successor sent already.
      const latest = found.latest()
      const packet = latest instanceof Promise ? await latest : latest
      if (this.#current !== filter) return
      if (options.closed) {
        if (owed !== undefined && sent.isLonger) options.owe(filter, owed, sent.list)
        return
      }
      if (packet === undefined) continue
      const own = ownPacket(packet, qos, options.properties(packet, identifiers))
      await new Promise<void>(resolve => { options.send(own, resolve) })
      if (owed !== undefined) sent.add(found.topic)
    }
    if (owed !== undefined) options.owe(filter, owed, undefined)
  }
}

function ownPacket ({ topic, payload, qos: published, messageExpiry }: PacketLike, qos: 0 | 1 | 2, properties: { properties?: Properties }): PacketLike {
  return {
    cmd: 'publish',
    topic,
    // A view of its own: it is not the message that was queued once.
    payload: typeof payload === 'string' ? payload : Buffer.from(payload.buffer, payload.byteOffset, payload.length),
    qos: Math.min(qos, published) as 0 | 1 | 2,
    retain: true,
    ...properties,
    ...messageExpiry !== undefined && { messageExpiry }
  }
}

/** The topics of a filter whose retained messages were sent, as long as they are few. */
class SentTopics {
  /** On earlier connections. */
  readonly before: ReadonlySet<string>
  #list: string[]
  #characters: number
  #isFull = false

  constructor (before: readonly string[] = []) {
    this.before = new Set(before)
    this.#list = [...before]
    this.#characters = before.join('').length
  }

  get list (): readonly string[] { return this.#list }
  /** Others than before. */
  get isLonger (): boolean { return this.#isFull || this.#list.length > this.before.size }

  add (topic: string): void {
    if (this.#isFull) return
    this.#list.push(topic)
    this.#characters += topic.length
    if (this.#list.length <= mostTopics && this.#characters <= mostCharacters) return
    this.#isFull = true
    this.#list = []
  }
}
