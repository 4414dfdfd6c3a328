/**
 * The time of the server: what messages, events and accounts are stamped with. The machine's clock may be set back (by hand,
 * by NTP, by a restart on another machine); the server's time is slowed down instead, as it goes at a tenth of its speed
 * until the clock has caught up. So times keep the order in which they were given, and the list of conversations its own.
 */
import type { Logger } from 'pino'
import type { TimeMs } from './store/store.ts'

export interface ServerClockOptions {
  /** Milliseconds since the epoch, as the machine says. */
  wall: () => number
  /** Milliseconds of a clock that only goes forward. */
  steady: () => number
  /** The newest time that the store holds. */
  newest: TimeMs
  /** A clock that is further back than this is believed: the time before was wrong. Milliseconds. */
  maxBackMs: number
  /** The clock is believed; times up to `last` were given before. */
  onBelieved?: (last: TimeMs) => void
  /** Nothing is said without it. */
  log?: Logger
}

/** Behind the clock, the server's time goes this many times slower. */
const slowness = 10

export class ServerClock {
  readonly #options: ServerClockOptions
  #last: TimeMs
  /** Since when, and from what time on, the server's time is slow. */
  #slow: { since: number, from: TimeMs } | undefined

  constructor (options: ServerClockOptions) {
    this.#options = options
    this.#last = options.newest
  }

  /** Milliseconds since the epoch; never less than before, unless the clock is back by more than `maxBackMs`. */
  now (): TimeMs {
    const wall = this.#options.wall()
    if (wall >= this.#last) {
      this.#slow = undefined
      this.#last = wall
      return wall
    }
    return this.#behind(wall)
  }

  #behind (wall: number): TimeMs {
    const { steady, maxBackMs, onBelieved, log } = this.#options
    const backMs = this.#last - wall
    if (backMs > maxBackMs) {
      log?.warn({ backSeconds: Math.round(backMs / 1000) }, 'the clock is far behind the newest message: it is believed, and times go back once')
      onBelieved?.(this.#last)
      this.#slow = undefined
      this.#last = wall
      return wall
    }
    if (this.#slow === undefined) {
      this.#slow = { since: steady(), from: this.#last }
      // A step of NTP is not worth a line.
      if (backMs >= 1000) log?.warn({ backSeconds: Math.round(backMs / 1000) }, 'the clock was set back: the time of the server is slow until it has caught up')
    }
    this.#last = Math.max(this.#last, this.#slow.from + Math.floor((steady() - this.#slow.since) / slowness))
    return this.#last
  }
}
