/**
 * Which servers want to hear of which users and groups: one hash in Redis for each server process, which ends with it. It counts its own changes:
 * where Redis has another count it has lost some (it was restarted, or a replica took over), and all is written anew; a hash without a count is
 * not whole, and who reads it takes it that its server wants everything.
 */
import type { Logger } from 'pino'
import type { RedisClient } from './redis.ts'

const countField = '#'
/** Fields of one command. */
const fieldsOfCommand = 1_000

export interface DirectoryOptions {
  redis: RedisClient
  namespace: string
  self: string
  /** Milliseconds that the hash outlives its last renewal. */
  outliveMs: number
  log: Logger
  /** Redis has these keys from now on (null: all was written anew, and what others said since `sinceMs` may not have been said to this server). Who enters them waits for it. */
  onEntered: (keys: readonly string[] | null, sinceMs: number) => Promise<void>
  /** Redis has forgotten these keys. */
  onLeft: (keys: readonly string[]) => void
  /** All was written anew: what others said since then (of the steady clock) may not have been said to this server. */
  onRestored: (sinceMs: number) => void
  /** Milliseconds of a clock that only goes forward. */
  steady?: () => number
}

export class Directory {
  readonly #options: DirectoryOptions
  readonly #uses = new Map<string, number>()
  #adding: string[] = []
  /** Of those that are being added. */
  #added: Promise<void> | undefined
  readonly #entering = new Map<string, Promise<void>>()
  readonly #idle = new Set<string>()
  /** Changes that Redis has taken; undefined while it may not have all of them. */
  #count: number | undefined
  #turns: Promise<void> = Promise.resolve()

  /** When Redis was last known to have all. */
  #wholeAt: number
  readonly #steady: () => number

  constructor (options: DirectoryOptions) {
    this.#options = options
    this.#steady = options.steady ?? (() => performance.now())
    this.#wholeAt = this.#steady()
  }

  /**
   * Undefined when there is nothing to wait for: Redis has it, or does not take anything now; then all is written when it is back. Resolves otherwise
   * when it is in Redis and the other servers know, or Redis is known not to have it.
   */
  enter (key: string): Promise<void> | undefined {
    const uses = this.#uses.get(key)
    this.#uses.set(key, (uses ?? 0) + 1)
    this.#idle.delete(key)
    if (uses !== undefined) return this.#entering.get(key)
    this.#adding.push(key)
    const entered = this.#added ??= this.#nextWrite()
    if (this.#count === undefined) return undefined
    this.#entering.set(key, entered)
    return entered
  }

  /** It is forgotten a heartbeat later, unless it is entered again. */
  leave (key: string): void {
    const uses = (this.#uses.get(key) ?? 0) - 1
    this.#uses.set(key, Math.max(uses, 0))
    if (uses <= 0) this.#idle.add(key)
  }

  /** To be called with each heartbeat. */
  beat (): Promise<void> { return this.#turn(() => this.#guard(() => this.#beat())) }

  async #beat (): Promise<void> {
    const { redis, outliveMs } = this.#options
    const beganAt = this.#steady()
    const gone = [...this.#idle]
    this.#idle.clear()
    for (const key of gone) this.#uses.delete(key)
    const [kept] = await Promise.all([redis.hget(this.#key(), countField), redis.pexpire(this.#key(), outliveMs)])
    if (this.#count === undefined || kept !== String(this.#count)) return await this.#restore()
    this.#wholeAt = beganAt
    for (let at = 0; at < gone.length; at += fieldsOfCommand) await redis.hdel(this.#key(), ...gone.slice(at, at + fieldsOfCommand))
    if (gone.length > 0) this.#options.onLeft(gone)
  }

  /** What of `keys` another server wants to hear of; undefined: its hash is not whole, it may want all of them. Rejects when Redis does not answer. */
  async look (server: string, keys: readonly string[]): Promise<ReadonlySet<string> | undefined> {
    const [count, ...found] = await this.#options.redis.hmget(this.#key(server), countField, ...keys)
    return count == null ? undefined : new Set(keys.filter((_, i) => found[i] != null))
  }

  /** Nobody says anything to this server any more. */
  async close (): Promise<void> {
    await this.#turns
    await this.#options.redis.del(this.#key()).catch((error: unknown) => { this.#options.log.debug({ err: error }, 'the directory forgets this server by itself') })
  }

  /** What comes in one turn of the event loop, or while another command is under way, goes in one. */
  async #nextWrite (): Promise<void> {
    await this.#turn(async () => {
      await new Promise(resolve => { setImmediate(resolve) })
      const some = this.#adding
      this.#adding = []
      this.#added = undefined
      await this.#guard(async () => {
        if (this.#count === undefined) await this.#restore()
        else {
          await this.#put(some, ++this.#count)
          await this.#options.onEntered(some, this.#steady())
        }
      })
      for (const key of some) this.#entering.delete(key)
    })
  }

  /** One change at a time. */
  #turn (work: () => Promise<void>): Promise<void> {
    const turn = this.#turns.then(work)
    this.#turns = turn
    return turn
  }

  async #restore (): Promise<void> {
    const { redis, outliveMs, onEntered, onRestored } = this.#options
    await redis.del(this.#key())
    const keys = [...this.#uses.keys()]
    for (let at = 0; at < keys.length; at += fieldsOfCommand) await this.#put(keys.slice(at, at + fieldsOfCommand), undefined)
    await redis.hset(this.#key(), countField, '1')
    await redis.pexpire(this.#key(), outliveMs)
    this.#count = 1
    await onEntered(null, this.#wholeAt)
    onRestored(this.#wholeAt)
    this.#wholeAt = this.#steady()
  }

  async #put (keys: readonly string[], count: number | undefined): Promise<void> {
    const fields = keys.flatMap(key => [key, ''])
    if (count !== undefined) fields.push(countField, String(count))
    for (let at = 0; at < fields.length; at += 2 * fieldsOfCommand) await this.#options.redis.hset(this.#key(), ...fields.slice(at, at + 2 * fieldsOfCommand))
  }

  async #guard (work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      this.#count = undefined
      this.#options.log.debug({ err: error }, 'the directory is written anew when Redis is back')
    }
  }

  #key (server = this.#options.self): string { return `${this.#options.namespace}:at:${server}` }
}

export function userKey (user: string): string { return `u:${user}` }
