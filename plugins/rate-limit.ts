import { z } from 'zod'
import { definePlugin } from '../broker/plugin-api.ts'

/** A pause is this long at least, milliseconds, if the burst can save it: timers are not fine, and what was saved passes at once after it. */
const minPauseMs = 20
/** Fewer users than this are not worth looking through. */
const fewUsers = 1024

/**
 * Messages per user: a burst, then a steady rate; a large message counts as several. Who sends faster is slowed down, and refused when more than `maxDelayMs` waits. A token bucket in its GCRA form (ITU-T I.371): one number a user, the time at
 * which the bucket is full again. Kept in memory: a restart fills all buckets.
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
    const users = new Map<string, { fullAtMs: number }>()
    let sweep = users.entries()
    const roomAfter = (size: number): number => Math.min(maxUsers / 2, Math.max(fewUsers, size * 2))
    let room = roomAfter(0)

    // When there are twice as many as the last time that all were looked at, each newcomer pays for looking at two: those of full buckets go, so the
    // map keeps to who sent lately. A user who comes and goes with each message would leave a piece of the map's table behind each time.
    const makeRoom = (nowMs: number): void => {
      if (users.size < room) return
      for (let looked = 0; looked < 2; looked++) {
        const next = sweep.next()
        if (next.done === true) {
          sweep = users.entries()
          room = roomAfter(users.size)
          break
        }
        if (next.value[1].fullAtMs <= nowMs) users.delete(next.value[0])
      }
      if (users.size < maxUsers) return
      const oldest = users.keys().next()
      if (oldest.done !== true) users.delete(oldest.value)
    }

    return {
      onPublish ({ from, sizeBytes }) {
        const nowMs = context.steady()
        // What costs more than a burst costs a burst: it passes when the bucket is full.
        const costMs = sizeBytes <= bytesPerMessage ? intervalMs : Math.min(Math.ceil(sizeBytes / bytesPerMessage) * intervalMs, depthMs)
        const bucket = users.get(from)
        if (bucket === undefined) {
          makeRoom(nowMs)
          users.set(from, { fullAtMs: nowMs + costMs })
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
        return waitMs > 0.001 ? { delayMs: Math.max(waitMs, shortestMs) } : undefined
      },
      close () { users.clear() }
    }
  }
})
