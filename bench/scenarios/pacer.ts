/** Messages on schedule over pairs, whatever the broker does (open loop), and the latencies of each phase. */
import { Latencies } from '../meter.ts'
import type { Publisher } from '../load.ts'
import type { Pairs } from './pairs.ts'

/** A publisher whose window stays full this long after the end gives up. */
const giveUpMs = 10_000

/** What became of the messages that were due from `from` on, until the next phase. */
export interface Phase {
  readonly from: number
  readonly puback: Latencies
  readonly delivery: Latencies
  /** How late the generator itself sent. */
  readonly late: Latencies
}

export class Pacer {
  /** When the first message is due, on the clock of `performance.now()`. */
  readonly start = performance.now() + 50
  sent = 0
  #publishers: readonly Publisher[]
  #msPerMessage: number
  #sleeps: boolean
  #phases: Phase[] = []

  /** Takes over the callbacks of the pairs. `rate` is messages a second over all of them. With `sleeps` it leaves its core to others meanwhile. */
  constructor ({ publishers, receivers }: Pairs, rate: number, sleeps = false) {
    this.#publishers = publishers
    this.#sleeps = sleeps
    this.#msPerMessage = 1000 / rate
    // One clock reading a read, not a message.
    publishers.forEach((publisher, pair) => {
      let seen = 0
      publisher.connection.onRead = () => {
        const now = performance.now()
        while (seen < publisher.acked) {
          const due = this.dueOf(pair, ++seen)
          this.#phaseOf(due)?.puback.add(now - due)
        }
      }
    })
    receivers.forEach((receiver, pair) => {
      receiver.onMessage = () => {
        const due = this.dueOf(pair, receiver.stamp.counter)
        this.#phaseOf(due)?.delivery.add(performance.now() - due)
      }
    })
  }

  /** When the message of the pair with this number, from 1, is due. */
  dueOf (pair: number, counter: number): number { return this.start + ((counter - 1) * this.#publishers.length + pair) * this.#msPerMessage }

  /** Begins a phase; messages due before the first one are not measured. */
  phase (from: number): Phase {
    const phase = { from, puback: new Latencies(1000), delivery: new Latencies(1000), late: new Latencies(1000) }
    this.#phases.unshift(phase)
    return phase
  }

  /** How many messages are due before `end`. */
  dueBefore (end: number): number { return Math.ceil((end - this.start) / this.#msPerMessage - 1e-6) }

  /** Sends what is due before `end()`, which may change meanwhile; resolves then. */
  run (end: () => number): Promise<void> {
    return new Promise(resolve => {
      // setImmediate keeps the loop turning: a timer would be up to a millisecond late.
      const tick = () => {
        const now = performance.now()
        for (;;) {
          const due = this.start + this.sent * this.#msPerMessage
          if (due >= end()) return resolve()
          if (due > now) break
          const publisher = this.#publishers[this.sent % this.#publishers.length] as Publisher
          if (publisher.room === 0) {
            if (now > end() + giveUpMs) return resolve()
            break
          }
          publisher.send(1)
          this.#phaseOf(due)?.late.add(now - due)
          this.sent++
        }
        // A timer is up to a millisecond late.
        const restMs = this.#sleeps ? Math.floor(this.start + this.sent * this.#msPerMessage - now) - 1 : 0
        if (restMs >= 1) setTimeout(tick, restMs)
        else setImmediate(tick)
      }
      tick()
    })
  }

  #phaseOf (due: number): Phase | undefined {
    for (const phase of this.#phases) if (due >= phase.from) return phase
    return undefined
  }
}
