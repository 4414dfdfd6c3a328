/**
 * Messages as they are published, from each server to the others, by mqemitter-redis. A frame may be lost: then whoever has a queue looks there.
 * Frames of one server are numbered, so that a lost one is noticed.
 */
import { randomBytes } from 'node:crypto'
import type { Redis } from 'ioredis'
import mqemitter from 'mqemitter-redis'
import type { RedisClient } from '../../cluster/redis.ts'
import { bodyOf, decode, encode, type PacketLike } from '../persistence-packets.ts'

/** A message with its quality of service, encoded. */
interface Item { qos: 0 | 1 | 2, bytes: Buffer }
interface Frame { topic: string, from: string, number: number, items: Buffer[] }

export interface FramesOptions {
  publisher: RedisClient
  subscriber: RedisClient
  /** The name of the channel. */
  channel: string
  /** Bytes of messages above QoS 0 that are kept while they cannot be sent; above it they go. */
  maxBytes: number
  onMessage: (packet: PacketLike) => void
  /** Something may be lost. */
  onGap: () => void
  onError: (error: unknown) => void
}

/** Servers whose numbers are known. */
const mostServers = 1_000

export class Frames {
  readonly #options: FramesOptions
  readonly #emitter: ReturnType<typeof mqemitter>
  readonly #self = randomBytes(8).toString('hex')
  readonly #heard = new Map<string, number>()
  #number = 0
  #items: Item[] = []
  #bytes = 0
  /** On its way. */
  #unheard: { number: number, items: Item[] } | undefined
  #scheduled = false
  #sending = false
  #closed = false

  constructor (options: FramesOptions) {
    this.#options = options
    const { publisher, subscriber, channel } = options
    // Its types know of one server only; it does nothing that a Redis Cluster does not have.
    this.#emitter = mqemitter({ pubConn: publisher as Redis, subConn: subscriber as Redis, concurrency: 0 })
    // Each connection says by itself when it is away.
    const state = (this.#emitter as unknown as { state: NodeJS.EventEmitter }).state
    state.on('error', () => {})
    this.#emitter.on(channel, (frame, done) => {
      done()
      this.#hear(frame as Frame)
    })
    // It subscribes once; what was refused while there was no connection is asked for again.
    subscriber.on('ready', () => { this.#subscribe() })
    publisher.on('ready', () => { this.#schedule() })
    if (subscriber.status === 'ready') this.#subscribe()
  }

  #subscribe (): void {
    const { subscriber, channel, onGap, onError } = this.#options
    // Behind it all is heard: what was said meanwhile is in the queues.
    subscriber.subscribe(channel).then(onGap, onError)
  }

  /** Says it to the other servers, in order; together with what else is said in this turn. */
  send (packet: PacketLike): void {
    const bytes = encode(bodyOf(packet), packet.clientId === undefined ? undefined : { from: packet.clientId })
    this.#push({ qos: packet.qos, bytes })
  }

  #push (item: Item): void {
    if (this.#closed) return
    const away = this.#options.publisher.status !== 'ready'
    if (away && (item.qos === 0 || this.#bytes + item.bytes.length > this.#options.maxBytes)) {
      // Who hears the next frame knows that it has missed one.
      this.#number++
      return
    }
    this.#items.push(item)
    this.#bytes += item.bytes.length
    this.#schedule()
  }

  #schedule (): void {
    if (this.#scheduled || this.#sending || this.#closed) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#flush()
    })
  }

  #flush (): void {
    const { publisher, channel, onError } = this.#options
    if (publisher.status !== 'ready') return
    if (this.#unheard === undefined && this.#items.length > 0) {
      this.#unheard = { number: ++this.#number, items: this.#items }
      this.#items = []
      this.#bytes = 0
    }
    if (this.#unheard === undefined) return
    const { number, items } = this.#unheard
    const frame: Frame = { topic: channel, from: this.#self, number, items: items.map(({ bytes }) => bytes) }
    this.#sending = true
    this.#emitter.emit(frame, error => {
      this.#sending = false
      // Not known to be heard: it is said again under its number, without what is of no use later.
      this.#unheard = error === undefined || error === null ? undefined : { number, items: items.filter(({ qos }) => qos > 0) }
      if (this.#unheard !== undefined) onError(error)
      if (this.#unheard !== undefined || this.#items.length > 0) this.#schedule()
    })
  }

  #hear ({ from, number, items }: Frame): void {
    const { onMessage, onGap } = this.#options
    if (from === this.#self || this.#closed) return
    const before = this.#heard.get(from)
    if (before !== undefined && number <= before) return
    this.#heard.delete(from)
    this.#heard.set(from, number)
    for (const oldest of this.#heard.keys()) {
      if (this.#heard.size <= mostServers) break
      this.#heard.delete(oldest)
    }
    for (const bytes of items) {
      const { body, extra } = decode(bytes)
      onMessage({ ...body, cmd: 'publish', ...typeof extra['from'] === 'string' && { clientId: extra['from'] } })
    }
    if (before === undefined || number !== before + 1) onGap()
  }

  close (): void {
    this.#closed = true
    this.#options.publisher.disconnect()
    this.#options.subscriber.disconnect()
  }
}
