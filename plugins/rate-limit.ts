import { z } from 'zod'
import { definePlugin } from '../broker/plugin-api.ts'

/** A pause is this long at least, milliseconds, if the burst can save it: timers are not fine, and what was saved passes at once after it. */
const minPauseMs = 20
/** What other servers say was spent there may go so far beyond an empty bucket: full buckets at eight of them, and what is spent until they have heard of each other. */
const mostBuckets = 8
const mostDebtMs = 10_000
/** Fewer users than this are not worth looking through. */
const fewUsers = 1024

/** Whose buckets are not full, and some others. */
class Users {
  readonly #maxUsers: number
  readonly #buckets = new Map<string, { fullAtMs: number }>()
  #sweep = this.#buckets.entries()
  #room: number

  constructor (maxUsers: number) {
    this.#maxUsers = maxUsers
    this.#room = this.#roomAfter(0)
  }

  get (user: string): { fullAtMs: number } | undefined { return this.#buckets.get(user) }

  add (user: string, fullAtMs: number, nowMs: number): void {
    this.#makeRoom(nowMs)
    this.#buckets.set(user, { fullAtMs })
  }

  clear (): void { this.#buckets.clear() }

  #roomAfter (size: number): number { return Math.min(this.#maxUsers / 2, Math.max(fewUsers, size * 2)) }

  /**
   * When there are twice as many as the last time that all were looked at, each newcomer pays for looking at two: those of full buckets go, so the
   * map keeps to who sent lately. A user who comes and goes with each message would leave a piece of the map's table behind each time.
   */
  #makeRoom (nowMs: number): void {
    const buckets = this.#buckets
    if (buckets.size < this.#room) return
    for (let looked = 0; looked < 2; looked++) {
      const next = this.#sweep.next()
      if (next.done === true) {
        this.#sweep = buckets.entries()
        this.#room = this.#roomAfter(buckets.size)
        break
      }
      if (next.value[1].fullAtMs <= nowMs) buckets.delete(next.value[0])
    }
    if (buckets.size < this.#maxUsers) return
    const oldest = buckets.keys().next()
    if (oldest.done !== true) buckets.delete(oldest.value)
  }
}

/**
 * Messages per user: a burst, then a steady rate; a large message counts as several. Who sends faster is slowed down, and refused when more than `maxDelayMs` waits. A token bucket in its GCRA form (ITU-T I.371): one number a user, the time at
 * which the bucket is full again. Kept in memory: a restart fills all buckets. Servers that work as one tell each other what was spent.
 */
export default definePlugin({
  name: 'rate-limit',
  description: 'Slows the messages of each user to a rate, after a burst',
  options: z.strictObject({
    messagesPerSecond: z.number().positive().max(1_000_000).default(100),
    burst: z.int().min(1).max(1_000_000).default(200),
    bytesPerMessage: z.int().min(1).max(2 ** 31 - 1).default(16_384),
    maxDelayMs: z.int().min(0).max(60_000).default(5_000),
    maxUsers: z.int().min(1).max(10_000_000).default(1_000_000)
  }),
  timeoutMs: 1000,
  onFailure: 'pass',
  start ({ messagesPerSecond, burst, bytesPerMessage, maxDelayMs, maxUsers }, context) {
    const intervalMs = 1000 / messagesPerSecond
    const depthMs = burst * intervalMs
    const shortestMs = Math.min(minPauseMs, depthMs, maxDelayMs)
    const users = new Users(maxUsers)
    const spent = context.shareLimit?.({ perSecond: messagesPerSecond, burst }, (user, messages) => {
      const nowMs = context.steady()
      const bucket = users.get(user)
      const fullAtMs = Math.min(Math.max(bucket?.fullAtMs ?? nowMs, nowMs) + messages * intervalMs, nowMs + mostBuckets * depthMs + mostDebtMs)
      if (bucket === undefined) users.add(user, fullAtMs, nowMs)
      else bucket.fullAtMs = fullAtMs
    })

    return {
      onPublish ({ from, sizeBytes }) {
        const nowMs = context.steady()
        // What costs more than a burst costs a burst: it passes when the bucket is full.
        const costMs = sizeBytes <= bytesPerMessage ? intervalMs : Math.min(Math.ceil(sizeBytes / bytesPerMessage) * intervalMs, depthMs)
        const bucket = users.get(from)
        if (bucket === undefined) {
          users.add(from, nowMs + costMs, nowMs)
          spent?.(from, costMs / intervalMs)
          return undefined
        }
        const fullAtMs = Math.max(bucket.fullAtMs, nowMs)
        const waitMs = fullAtMs + costMs - depthMs - nowMs
        // The sums of fractions are off by less than a microsecond.
        if (waitMs > maxDelayMs + 0.001) {
          bucket.fullAtMs = fullAtMs
          return { code: 'rate_limited', reason: `at most ${messagesPerSecond} messages a second${costMs > intervalMs ? `, each of at most ${bytesPerMessage} bytes` : ''}`, retryAfterMs: Math.ceil(waitMs - maxDelayMs) }
        }
        bucket.fullAtMs = fullAtMs + costMs
        spent?.(from, costMs / intervalMs)
        return waitMs > 0.001 ? { delayMs: Math.max(waitMs, shortestMs) } : undefined
      },
      close () { users.clear() }
    }
  }
})
