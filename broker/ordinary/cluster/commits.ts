/** Writes to Redis, one batch at a time: what is asked for meanwhile is the next one. Each reads what is new in the change log, too. */
import { randomBytes } from 'node:crypto'
import type { RedisClient } from '../../cluster/redis.ts'
import type { ChangeLog } from './change-log.ts'
import { asCommand, type Answer } from './commit-script.ts'
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

/** What one caller writes, by the library and by commands of its own. Called again when what it went by has changed before it was written. */
export type Write = (recorder: Recorder) => Promise<void> | void

export interface WriteOptions {
  /** It need not be done while Redis is away. */
  optional?: boolean
  /** It goes by the subscriptions that are known here: it is written when they are those of all servers. */
  reads?: boolean
}

interface Request { write: Write, optional: boolean, reads: boolean, /** milliseconds of a steady clock */ until: number, resolve: () => void, reject: (error: unknown) => void }

/** Redis did not take it, and it is not tried any more. */
export class RedisAwayError extends Error {
  override readonly name = 'RedisAwayError'
  constructor (cause: unknown) { super('Redis does not take what ordinary topics have to keep', { cause }) }
}

const pauseMs = 50
/** Between two tries when another server has its turn. */
const heldPauseMs = 2
const holdMs = 1_000
/** Of one batch. */
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
  write (write: Write, { optional = false, reads = false }: WriteOptions = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ write, optional, reads, until: performance.now() + this.#options.timeoutMs, resolve, reject })
      if (this.#running) return
      this.#running = true
      // A microtask later, so that what one read of a socket brings is one batch.
      queueMicrotask(() => { this.#run().catch(reject) })
    })
  }

  /** Nothing is tried again from here on. */
  close (): void { this.#closed = true }

  async #run (): Promise<void> {
    while (this.#pending.length > 0) {
      const batch: Request[] = []
      try {
        await this.#batch(batch)
        for (const { resolve } of batch) resolve()
      } catch (error) {
        for (const { reject } of batch) reject(error)
      }
    }
    this.#running = false
  }

  async #batch (batch: Request[]): Promise<void> {
    let recorder = new Recorder()
    for (let next = this.#pending[0]; next !== undefined && batch.length < mostRequests; next = this.#pending[0]) {
      // What goes by subscriptions goes by those that were asked for before it.
      if (next.reads && recorder.changes) break
      this.#pending.shift()
      batch.push(next)
      await next.write(recorder)
    }
    const done = `done:${this.#name}:${++this.#count}`
    for (;;) {
      const status = await this.#execute(recorder, done, batch)
      if (status === 'done') return
      if (this.#closed || performance.now() >= (batch[0]?.until ?? 0)) throw new RedisAwayError(new Error(status))
      if (status === 'held') await pause(heldPauseMs)
      else recorder = await record(batch)
    }
  }

  /** Tries until Redis answers. An answer may have been lost: what was done is not done again. */
  async #execute (recorder: Recorder, done: string, batch: readonly Request[]): Promise<Answer[0]> {
    const until = batch[0]?.until ?? 0
    for (;;) {
      try {
        const status = await this.#try(recorder, done, batch.some(({ reads }) => reads))
        this.away = false
        return status
      } catch (error) {
        this.away = true
        for (const { optional, resolve } of [...batch, ...this.#pending]) if (optional) resolve()
        this.#pending = this.#pending.filter(({ optional }) => !optional)
        if (this.#closed || performance.now() >= until) throw new RedisAwayError(error)
        await pause(pauseMs)
      }
    }
  }

  async #try ({ commands, changes }: Recorder, done: string, reads: boolean): Promise<Answer[0]> {
    const { redis, log, maxQueued, onLong } = this.#options
    const since = log.last
    const [status, rows, number, long] = await redis.eval(...asCommand({ commands, done, writer: this.#name, since, reads, changes, maxQueued, holdMs: log.isWhole ? holdMs : 0 })) as Answer
    log.read(rows, number, since)
    // All is read anew, and then it is tried again.
    if (status === 'stale' && !log.isWhole) await pause(pauseMs)
    const queues = new Map<string, number>()
    for (let i = 0; i < long.length; i += 2) queues.set(String(long[i]), Number(long[i + 1]))
    if (queues.size > 0) onLong(queues)
    return status
  }
}

async function record (batch: readonly Request[]): Promise<Recorder> {
  const recorder = new Recorder()
  for (const { write } of batch) await write(recorder)
  return recorder
}

async function pause (ms: number): Promise<void> { await new Promise(resolve => { setTimeout(resolve, ms) }) }
