/**
 * Who is there: a row for each server in one hash of Redis, renewed with each heartbeat. Redis' clock alone says how old a row is. While Redis does not
 * answer the view stays as it was: nobody is given up because Redis is away. A server that was given up and comes back is in the view again with its next heartbeat.
 */
import type { Logger } from 'pino'
import type { ClusterClock } from './clock.ts'
import type { RedisClient } from './redis.ts'
import { View } from './view.ts'
import type { NodeInfo } from './view.ts'

/** Renews one row and answers all of them; one key, so it runs on any shard. Rows that are long over are removed. */
const heartbeatScript = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if ARGV[2] == '' then redis.call('HDEL', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[1], string.format('%d ', now) .. ARGV[2]) end
local rows = redis.call('HGETALL', KEYS[1])
for i = 1, #rows, 2 do
  if now - tonumber(string.match(rows[i + 1], '^%d+')) > tonumber(ARGV[3]) then redis.call('HDEL', KEYS[1], rows[i]) end
end
return { now, rows }`

export interface RegistryOptions {
  redis: RedisClient
  namespace: string
  /** What changes of it, `self` says with each heartbeat. */
  self: () => NodeInfo
  heartbeatMs: number
  leaseMs: number
  log: Logger
  clock: ClusterClock
  /** Milliseconds that the clock of this machine is behind Redis' one (before it: negative). */
  onOffset?: (offsetMs: number) => void
}

export class Registry {
  /** Empty before the first heartbeat. */
  view = new View([])
  /** Redis answered the last heartbeat. */
  isLinked = false
  /** When the heartbeat that was answered last began (of the steady clock). */
  #heldAt = -Infinity
  readonly #options: RegistryOptions
  readonly #listeners: Array<(view: View, before: View) => void> = []
  readonly #beats: Array<() => void> = []
  #timer: NodeJS.Timeout | undefined
  #round: Promise<void> | undefined
  #closed = false

  constructor (options: RegistryOptions) { this.#options = options }

  /** This server is in the view of all others that see any heartbeat, and will be for a while: half of its lease is not over. */
  get isHeld (): boolean { return this.isLinked && performance.now() - this.#heldAt < this.#options.leaseMs / 2 }

  /** Called when a server has come or gone, or drains. */
  onChange (listener: (view: View, before: View) => void): void { this.#listeners.push(listener) }
  /** Called after each heartbeat, also when Redis did not answer it. */
  onBeat (listener: () => void): void { this.#beats.push(listener) }

  /** Resolves after the first heartbeat, whether Redis answered or not. */
  async start (): Promise<void> {
    await this.beat()
    this.#schedule()
  }

  /** A heartbeat now: what `self` says has changed. */
  beat (): Promise<void> {
    this.#round ??= this.#beat().finally(() => { this.#round = undefined })
    return this.#round
  }

  /** This server is gone from now on. */
  async close (): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    await this.#round
    await this.#send('').catch((error: unknown) => { this.#options.log.debug({ err: error }, 'the registry forgets this server when its lease is over') })
  }

  #schedule (): void {
    if (this.#closed) return
    const { heartbeatMs, log } = this.#options
    this.#timer = setTimeout(() => {
      this.beat().then(() => { this.#schedule() }, (error: unknown) => { log.error({ err: error }, 'who hears of a heartbeat failed') })
    }, heartbeatMs)
    this.#timer.unref()
  }

  async #beat (): Promise<void> {
    const { clock, self, leaseMs, log, onOffset } = this.#options
    const beganAt = performance.now()
    try {
      const { answer: { now, rows }, offsetMs } = await clock.compare(() => this.#send(JSON.stringify(self())), ({ now }) => now)
      onOffset?.(offsetMs)
      this.isLinked = true
      this.#heldAt = beganAt
      this.#take(rows.filter(({ at }) => now - at < leaseMs).map(({ info }) => info))
    } catch (error) {
      this.isLinked = false
      if (this.view.nodes.size === 0) this.view = new View([self()])
      log.debug({ err: error }, 'a heartbeat was not answered')
    }
    for (const listener of this.#beats) listener()
  }

  #take (others: NodeInfo[]): void {
    const self = this.#options.self()
    const before = this.view
    this.view = new View([self, ...others.filter(({ id }) => id !== self.id)])
    const is = [...this.view.nodes.keys()].join(' ')
    if (is === [...before.nodes.keys()].join(' ') && this.view.epoch === before.epoch) return
    for (const listener of this.#listeners) listener(this.view, before)
  }

  async #send (row: string): Promise<{ now: number, rows: Array<{ at: number, info: NodeInfo }> }> {
    const { redis, namespace, self, leaseMs } = this.#options
    const answer = await redis.eval(heartbeatScript, 1, `${namespace}:nodes`, self().id, row, 20 * leaseMs) as [number, string[]]
    const [now, flat] = answer
    const rows = flat.flatMap((text, i) => {
      if (i % 2 === 0) return []
      const space = text.indexOf(' ')
      return [{ at: Number(text.slice(0, space)), info: JSON.parse(text.slice(space + 1)) as NodeInfo }]
    })
    return { now, rows }
  }
}
