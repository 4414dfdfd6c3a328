/**
 * aedes-persistence-redis: its keys and its encoding are those of what is kept in Redis. It asks for one command after the other, and has what is said
 * here done by connections of our own making: all of a publish is written at once, and nothing is written for what is gone.
 */
import AsyncRedisPersistence from 'aedes-persistence-redis/asyncPersistence.js'
import type { RedisClient } from '../../cluster/redis.ts'
import type { Argument, Change, Command } from './commit-script.ts'

export type Library = AsyncRedisPersistence
export type StoredPacket = Parameters<AsyncRedisPersistence['outgoingEnqueue']>[1]

/** Names of its keys; a prefix is the connection's. */
export const sessionsKey = 'clients'
export function queueKey (session: string): string { return `outgoing:${encodeURIComponent(session)}` }
export function packetKey ({ brokerId, brokerCounter }: Pick<StoredPacket, 'brokerId' | 'brokerCounter'>): string { return `packet:${brokerId}:${brokerCounter}` }
export function countKey (packet: string): string { return `${packet}:offlineCount` }
export function incomingKey (session: string, packetId: number): string { return `incoming:${encodeURIComponent(session)}:${packetId}` }
/** Ours: packet ids of a session for which there is an `incomingKey`. */
export function incomingIdsKey (session: string): string { return `incoming-ids:${encodeURIComponent(session)}` }

/** Seconds that the body of a message outlives it in Redis. */
const expiryGraceSeconds = 60

/** It reads and writes by `connection`, which has those of ioredis' methods that the calls to come need. */
export function library (connection: unknown, most = 0): Library {
  return new AsyncRedisPersistence({
    conn: connection,
    maxSessionDelivery: most,
    // Of a message that is queued; what was sent is kept until it is acknowledged [MQTT-4.3.3-7].
    packetTTL: ({ messageExpiry }) => messageExpiry === undefined ? 0 : Math.max(1, Math.ceil((messageExpiry - Date.now()) / 1000) + expiryGraceSeconds)
  })
}

/** It tells other brokers of subscriptions by its broker. Here the change log does. */
const deaf = {
  subscribe (_topic: string, listener: (packet: object, done: () => void) => void, done: () => void): void {
    this.listener = listener
    done()
  },
  listener: (_packet: object, _done: () => void): void => {},
  publish (packet: object, done: () => void): void { this.listener(packet, done) }
}

/** Words of one command, most. */
const mostWords = 1_000

/** Takes down what the library writes, to be done at once. */
export class Recorder {
  readonly commands: Command[] = []
  /** An entry of the log changes somebody's subscriptions. */
  changes = false
  #library: Promise<Library> | undefined

  /** The library, writing here. */
  writer (): Promise<Library> {
    this.#library ??= this.#setUp()
    return this.#library
  }

  async #setUp (): Promise<Library> {
    const made = library(this)
    await made.setup({ ...deaf })
    return made
  }

  add (...command: Command): void { this.commands.push(command) }

  /** An entry of the change log. */
  note (change: Change): void {
    const isMarked = change.kind === 'retained' || change.kind === 'kept'
    this.add('append', JSON.stringify(change), ...isMarked ? ['same', 1] : [])
    this.changes ||= !isMarked
  }

  /** As several commands when it is long. */
  #add (name: string, key: string, words: Argument[]): void {
    for (let i = 0; i < words.length; i += mostWords) this.add(name, key, ...words.slice(i, i + mostWords))
  }

  // ---- what the library asks of a connection
  async smembers (): Promise<string[]> { return [] }
  async sadd (key: string, member: string): Promise<void> { this.add('sadd', key, member) }
  async srem (key: string, member: string): Promise<void> { this.add('srem', key, member) }
  async hmsetBuffer (key: string, fields: Record<string, Buffer>): Promise<void> { this.#add('hset', key, Object.entries(fields).flat()) }
  async hset (key: string, field: string, value: Buffer): Promise<void> { this.add('hset', key, field, value) }
  async hdel (key: string, fields: string | string[]): Promise<void> { this.#add('hdel', key, [fields].flat()) }
  /** Of the subscriptions of a session: without any it may have a queue all the same [MQTT-3.10.4-3]. */
  async exists (): Promise<number> { return 1 }
  async mset (...args: Argument[]): Promise<void> { this.add('mset', ...args) }
  async set (...args: Argument[]): Promise<void> { this.add('set', ...args) }
  async del (...keys: string[]): Promise<void> { this.add('del', ...keys) }
  async expire (key: string, seconds: number): Promise<void> { this.add('expire', key, seconds) }
  async rpush (key: string, value: string): Promise<void> { this.add('rpush', key, value) }
}

/** For the state of what is in a queue. */
export class StateConnection {
  readonly #redis: RedisClient
  constructor (redis: RedisClient) { this.#redis = redis }

  /** Only what is there: a full queue may have lost it. */
  async set (key: string, value: Buffer): Promise<'OK' | null> { return await this.#redis.set(key, value, 'XX') }
}

/** Of a queue the first `count` messages that `isKnown` does not know, read at once. */
export class PageConnection {
  readonly #redis: RedisClient
  readonly #count: number
  readonly #isKnown: (packet: string) => boolean
  readonly #onError: (error: unknown) => void
  #bodies = new Map<string, Buffer | null>()
  /** There may be more behind it. */
  more = false

  constructor (redis: RedisClient, count: number, isKnown: (packet: string) => boolean, onError: (error: unknown) => void) {
    this.#redis = redis
    this.#count = count
    this.#isKnown = isKnown
    this.#onError = onError
  }

  async lrange (key: string): Promise<string[]> {
    const listed = await this.#redis.lrange(key, 0, this.#count - 1)
    this.more = listed.length === this.#count
    const fresh = [...new Set(listed)].filter(packet => !this.#isKnown(packet))
    if (fresh.length > 0) {
      const bodies = await this.#redis.mgetBuffer(...fresh)
      this.#bodies = new Map(fresh.map((packet, i) => [packet, bodies[i] ?? null]))
    }
    return fresh
  }

  async getBuffer (packet: string): Promise<Buffer | null> { return this.#bodies.get(packet) ?? null }

  /** What has expired is taken off; the library does not wait for it. */
  lrem (key: string, count: number, packet: string): void { this.#redis.lrem(key, count, packet).catch(this.#onError) }
}
