/** The queue of one session, at the server that its connection is at: a list in Redis, of which some is in memory, named or not. */
import type { RedisClient } from '../../cluster/redis.ts'
import { decode, encode, type Body } from '../persistence-packets.ts'
import { countKey, library, packetKey, PageConnection, queueKey, StateConnection, type Library, type StoredPacket } from './library.ts'

/** A message of the queue that was read. */
export interface Queued {
  readonly key: string
  readonly stored: StoredPacket
  readonly body: Body
  /** The group of shared subscriptions that it was dealt by. */
  readonly share: string | undefined
  /** Its packet id, once it has one. */
  id: number | undefined
  /** It was sent on an earlier connection, or could have been. */
  readonly again: boolean
  /** Its receiver has it: only the packet id is left. */
  released: boolean
}

export interface SessionQueueOptions {
  redis: RedisClient
  session: string
  /** Something was not done, and is tried again while the queue is open. */
  onError: (error: unknown) => void
  onClose: () => void
}

/** Messages that are read at once. */
const page = 64
const pauseMs = 200

export class SessionQueue {
  readonly #options: SessionQueueOptions
  readonly #state: Library
  /** By their keys, as long as they may be in Redis' list. */
  readonly #known = new Map<string, Queued>()
  readonly #byId = new Map<number, Queued>()
  readonly #read: Queued[] = []
  #fresh = true
  #wakeUp: (() => void) | undefined
  #closed = false

  constructor (options: SessionQueueOptions) {
    this.#options = options
    this.#state = library(new StateConnection(options.redis))
  }

  get closed (): boolean { return this.#closed }
  hasId (id: number): boolean { return this.#byId.has(id) }
  /** Messages that are with the client, or on their way. */
  get size (): number { return this.#known.size }

  /** There may be more in Redis. */
  wake (): void {
    this.#fresh = true
    this.#wakeUp?.()
  }

  /** Nothing is sent any more; what is acknowledged is taken out until `close`. */
  stop (): void {
    this.#closed = true
    this.#wakeUp?.()
  }

  /** The connection is over. */
  close (): void {
    this.stop()
    this.#options.onClose()
  }

  /** The next one, in order; waits for it. Undefined when the queue is closed. */
  async next (): Promise<Queued | undefined> {
    for (;;) {
      if (this.#closed) return undefined
      const first = this.#read.shift()
      if (first !== undefined) return first
      if (this.#fresh) await this.#readPage()
      else await new Promise<void>(resolve => { this.#wakeUp = resolve })
      this.#wakeUp = undefined
    }
  }

  async #readPage (): Promise<void> {
    this.#fresh = false
    const { session } = this.#options
    await this.#until(async () => {
      const connection = new PageConnection(this.#options.redis, this.#known.size + page, key => this.#known.has(key), this.#options.onError)
      const read: StoredPacket[] = []
      for await (const stored of library(connection, page).outgoingStream({ id: session })) read.push(stored)
      for (const stored of read) this.#take(stored)
      if (connection.more) this.#fresh = true
    })
  }

  #take (stored: StoredPacket): void {
    const key = packetKey(stored)
    const { body, extra } = decode(stored.payload)
    const id = typeof stored.messageId === 'number' ? stored.messageId : undefined
    const share = typeof extra['share'] === 'string' ? extra['share'] : undefined
    const queued: Queued = { key, stored, body, share, id, again: id !== undefined, released: stored.released === true }
    this.#known.set(key, queued)
    if (id !== undefined) this.#byId.set(id, queued)
    this.#read.push(queued)
  }

  /** Its packet id is in Redis before it is sent. False when the message is gone, or the queue is closed: it is not to be sent. */
  async name (queued: Queued, id: number): Promise<boolean> {
    if (this.#closed) return false
    queued.id = id
    this.#byId.set(id, queued)
    const there = await this.#put(queued)
    if (there === true) return true
    this.#forget(queued)
    return false
  }

  /** PUBREC: resolves when Redis knows, or does not answer and the queue is closed. */
  async release (id: number): Promise<void> {
    const queued = this.#byId.get(id)
    if (queued === undefined || queued.released) return
    queued.released = true
    queued.stored.payload = encode({ ...queued.body, payload: Buffer.alloc(0) })
    await this.#put(queued)
  }

  async #put ({ stored, id, released }: Queued): Promise<boolean | undefined> {
    const { messageExpiry: _, ...rest } = stored
    return await this.#until(async () => {
      try {
        await this.#state.outgoingUpdate({ id: this.#options.session }, { ...rest, cmd: 'publish', messageId: id as number, released })
        return true
      } catch (error) {
        // The library's words for a message that is not there.
        if (error instanceof Error && error.message === 'no such packet') return false
        throw error
      }
    })
  }

  /** It is at its end. Does not wait for Redis: what is not taken out there comes again with the next connection. */
  end (id: number): void {
    const queued = this.#byId.get(id)
    if (queued === undefined) return
    this.#remove(queued)
  }

  /** It is not sent: its time is over, or its topic is not open any more. */
  drop (queued: Queued): void { this.#remove(queued) }

  /** In one transaction; the library's four commands would leave parts when the connection breaks between them. */
  #remove (queued: Queued): void {
    if (queued.id !== undefined) this.#byId.delete(queued.id)
    const { redis, session } = this.#options
    this.#until(async () => { await redis.multi([['lrem', queueKey(session), 0, queued.key], ['del', queued.key, countKey(queued.key)]]).exec() })
      .then(() => { this.#known.delete(queued.key) }, this.#options.onError)
  }

  #forget (queued: Queued): void {
    if (queued.id !== undefined) this.#byId.delete(queued.id)
    this.#known.delete(queued.key)
  }

  /** Tries until it is done, once if the queue is closed; undefined when it was not done. */
  async #until<T> (work: () => Promise<T>): Promise<T | undefined> {
    for (let tries = 0; tries === 0 || !this.#closed; tries++) {
      try {
        return await work()
      } catch (error) {
        if (tries === 0) this.#options.onError(error)
        await new Promise(resolve => { setTimeout(resolve, pauseMs).unref() })
      }
    }
    return undefined
  }
}
