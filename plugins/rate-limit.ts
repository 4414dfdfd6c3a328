import { z } from 'zod'
import { definePlugin } from '../broker/plugin-api.ts'

/**
 * Messages per user: a burst, then a steady rate. A token bucket in its GCRA form (ITU-T I.371): one number a user, the time at
 * which the bucket is full again. Kept in memory: a restart fills all buckets.
 */
export default definePlugin({
  name: 'rate-limit',
  description: 'Limits the messages of each user: a burst, then a steady rate',
  options: z.strictObject({
    messagesPerSecond: z.number().positive().max(1_000_000).default(100),
    burst: z.int().min(1).max(1_000_000).default(200),
    maxUsers: z.int().min(1).max(10_000_000).default(1_000_000)
  }),
  timeoutMs: 1000,
  onFailure: 'pass',
  start ({ messagesPerSecond, burst, maxUsers }, context) {
    const intervalMs = 1000 / messagesPerSecond
    const depthMs = burst * intervalMs
    const users = new Map<string, { fullAtMs: number }>()
    let sweep = users.entries()

    // Each newcomer pays for looking at two entries: those of full buckets go, so the map keeps to who sent lately.
    const makeRoom = (nowMs: number): void => {
      for (let looked = 0; looked < 2; looked++) {
        const next = sweep.next()
        if (next.done === true) sweep = users.entries()
        else if (next.value[1].fullAtMs <= nowMs) users.delete(next.value[0])
      }
      if (users.size < maxUsers) return
      const oldest = users.keys().next()
      if (oldest.done !== true) users.delete(oldest.value)
    }

    return {
      onPublish ({ from }) {
        const nowMs = context.now()
        const bucket = users.get(from)
        if (bucket === undefined) {
          makeRoom(nowMs)
          users.set(from, { fullAtMs: nowMs + intervalMs })
          return undefined
        }
        // Further ahead than a whole bucket: the clock went back.
        const fullAtMs = Math.min(Math.max(bucket.fullAtMs, nowMs), nowMs + depthMs)
        const waitMs = fullAtMs + intervalMs - depthMs - nowMs
        // The sums of fractions are off by less than a microsecond.
        if (waitMs > 0.001) {
          bucket.fullAtMs = fullAtMs
          return { code: 'rate_limited', reason: `at most ${messagesPerSecond} messages a second`, retryAfterMs: Math.ceil(waitMs) }
        }
        bucket.fullAtMs = fullAtMs + intervalMs
        return undefined
      },
      close () { users.clear() }
    }
  }
})
