/** Writes to Redis, one transaction at a time: what is asked for meanwhile is the next one. Each reads what is new in the change log, too. */
import { randomBytes } from 'node:crypto'
import type { RedisClient } from '../../cluster/redis.ts'
import type { ChangeLog } from './change-log.ts'
import { Recorder } from './library.ts'

export interface CommitsOptions {
  redis: RedisClient
  log: ChangeLog
  /** Milliseconds for which a write is tried while Redis is away. */
  timeoutMs: number
  /** So many messages a queue may have. */
  maxQueued: number
  /** Queues are longer than that: by their keys, how many are too many. */
  onLong: (queues: ReadonlyMap<string, number>) => void
}

/** What one caller writes, by the library and by commands of its own. */
export type Write = (recorder: Recorder) => Promise<void> | void

interface Request { write: Write, /** it need not be done while Redis is away */ optional: boolean, /** milliseconds of a steady clock */ until: number, resolve: () => void, reject: (error: unknown) => void }

/** Redis did not take it, and it is not tried any more. */
export class RedisAwayError extends Error {
  override readonly name = 'RedisAwayError'
  constructor (cause: unknown) { super('Redis does not take what ordinary topics have to keep', { cause }) }
}

const pauseMs = 50
/** Seconds for which a transaction is known to be done. */
const doneSeconds = 300
/** Of one transaction. */
const mostRequests = 256

export class Commits {
  readonly #options: CommitsOptions
  readonly #name = randomBytes(6).toString('hex')
  #count = 0
  #pending: Request[] = []
  #running = false
  #closed = false
  /** The last try failed. */
  away = false

  constructor (options: CommitsOptions) { this.#options = options }

  /**
   * Resolves when it is in Redis, and what was in the change log by then is known here. Rejects with `RedisAwayError`; it may have been written then.
   * `optional`: resolves also when it is not done because Redis is away.
   */
  write (write: Write, optional = false): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ write, optional, until: performance.now() + this.#options.timeoutMs, resolve, reject })
      if (this.#running) return
      this.#running = true
      // A microtask later, so that what one read of a socket brings is one transaction.
      queueMicrotask(() => { this.#run().catch(reject) })
    })
  }

  /** Nothing is tried again from here on. */
  close (): void { this.#closed = true }

  async #run (): Promise<void> {
    while (this.#pending.length > 0) {
      const batch = this.#pending.splice(0, mostRequests)
      try {
        await this.#transaction(batch)
        for (const { resolve } of batch) resolve()
      } catch (error) {
        for (const { reject } of batch) reject(error)
      }
    }
    this.#running = false
  }

  async #transaction (batch: readonly Request[]): Promise<void> {
    const recorder = new Recorder()
    for (const { write } of batch) await write(recorder)
    const done = `done:${this.#name}:${++this.#count}`
    if (recorder.commands.length > 0) recorder.add('set', done, 1, 'EX', doneSeconds)
    const until = batch[0]?.until ?? 0
    for (let tries = 0; ; tries++) {
      try {
        // An answer may have been lost: what was done is not done again.
        const again = tries > 0 && recorder.commands.length > 0 && await this.#options.redis.exists(done) === 1
        await this.#execute(again ? new Recorder() : recorder)
        this.away = false
        return
      } catch (error) {
        this.away = true
        for (const { optional, resolve } of [...batch, ...this.#pending]) if (optional) resolve()
        this.#pending = this.#pending.filter(({ optional }) => !optional)
        if (this.#closed || performance.now() >= until) throw new RedisAwayError(error)
        await new Promise(resolve => { setTimeout(resolve, pauseMs) })
      }
    }
  }

  async #execute ({ commands }: Recorder): Promise<void> {
    const { redis, log, maxQueued, onLong } = this.#options
    const { commands: looks, since } = log.look()
    const results = await redis.multi([...commands, ...looks]).exec()
    if (results === null) throw new Error('the transaction was dropped')
    for (const [error] of results) if (error !== null) throw error
    const answers = results.map(([, answer]) => answer)
    log.read(answers[commands.length], answers[commands.length + 1], since)
    const long = new Map<string, number>()
    for (const [i, [name, key]] of commands.entries()) {
      if (name !== 'rpush' || typeof key !== 'string') continue
      const excess = Number(answers[i]) - maxQueued
      if (excess > 0) long.set(key, excess)
    }
    if (long.size > 0) onLong(long)
  }
}
