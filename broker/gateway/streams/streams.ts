/** Who reads without MQTT, by user: `GET /v1/stream` and those who ask again and again. */
import { randomBytes } from 'node:crypto'
import type { Logger } from 'pino'
import type { Output } from '../../link/port.ts'
import type { Position } from '../../link/position.ts'
import { logFailure } from '../connection/failure.ts'
import { isMeant } from '../sessions.ts'
import { Reader, type Outlet, type ReaderContext, type Signed, type StreamEnd } from './reader.ts'

export interface StreamLimits {
  /** At the same time, in all and of one user. */
  streams: number
  streamsPerUser: number
}

export interface StreamsContext extends Omit<ReaderContext, 'failed' | 'left'> { readonly log: Logger }

export class Streams {
  readonly #context: ReaderContext
  readonly #limits: StreamLimits
  readonly #users = new Map<string, Set<Reader>>()
  /** Their sessions are named so: no client's id is like it. */
  readonly #name = `$stream/${randomBytes(9).toString('base64url')}`
  #count = 0
  #made = 0
  #closed = false

  constructor ({ log, ...context }: StreamsContext, limits: StreamLimits) {
    this.#limits = limits
    this.#context = {
      ...context,
      failed: (err, user) => { logFailure(log, err, { user }, 'a stream over HTTP failed') },
      left: reader => { this.#left(reader) }
    }
  }

  /** Those that are open. */
  get count (): number { return this.#count }

  /** One more, which is to be opened; or why not: too many are open of this user (`user`), or in all. */
  enter (signed: Signed, outlet: Outlet, position?: Position): Reader | 'user' | 'all' {
    if (this.#closed || this.#count >= this.#limits.streams) return 'all'
    let readers = this.#users.get(signed.user)
    if (readers !== undefined && readers.size >= this.#limits.streamsPerUser) return 'user'
    if (readers === undefined) this.#users.set(signed.user, readers = new Set())
    const reader = new Reader(this.#context, outlet, `${signed.user}/${this.#name}/${(++this.#made).toString(36)}`, signed, position)
    readers.add(reader)
    this.#count++
    return reader
  }

  #left (reader: Reader): void {
    const { user } = reader.signed
    const readers = this.#users.get(user)
    if (readers?.delete(reader) !== true) return
    this.#count--
    if (readers.size === 0) this.#users.delete(user)
  }

  /** What the engine says of users and their logins. */
  hear (output: Extract<Output, { kind: 'kick' | 'extended' }>): void {
    for (const reader of [...this.#users.get(output.user) ?? []]) {
      const { signed } = reader
      if (output.kind === 'extended') {
        if (signed.grant === output.grant) signed.until = output.until
      } else if (output.session === undefined && output.code !== 'taken_over' && isMeant(output, signed.grant)) {
        reader.end(output.code)
      }
    }
  }

  /** About once a second. `now`: the server's time; `steady`: of a clock that only goes forward. */
  sweep (now: number, steady: number): void {
    for (const readers of [...this.#users.values()]) for (const reader of [...readers]) reader.tick(now, steady)
  }

  /** All are told to go, and nobody comes any more. */
  close (why: StreamEnd = 'unavailable'): void {
    this.#closed = true
    for (const readers of [...this.#users.values()]) for (const reader of [...readers]) reader.end(why)
  }
}
