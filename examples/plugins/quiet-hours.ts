import { z } from 'zod'
// Outside this repository: import { definePlugin } from 'sabethes/plugin-api'
import { definePlugin } from '../../broker/plugin-api.ts'

/** A gate and a listener: direct messages wait for the morning, and a count of what was sent goes to the log now and then. */
export default definePlugin({
  name: 'quiet-hours',
  description: 'Refuses direct messages during the quiet hours (UTC) and counts what is stored',
  options: z.strictObject({
    fromHour: z.int().min(0).max(23).default(22),
    toHour: z.int().min(0).max(23).default(6),
    /** The count is logged each time that so many messages were stored. */
    logEvery: z.int().min(1).default(1000)
  }),
  // Who floods is stopped first.
  after: ['rate-limit'],
  timeoutMs: 1000,
  // Hours are no safety matter: when this plugin fails, people still get their messages.
  onFailure: 'pass',
  start ({ fromHour, toHour, logEvery }, { log, now }) {
    const isQuiet = (hour: number): boolean =>
      fromHour <= toHour ? hour >= fromHour && hour < toHour : hour >= fromHour || hour < toHour
    let stored = 0
    return {
      onPublish ({ to }) {
        if (to.kind !== 'user' || !isQuiet(new Date(now()).getUTCHours())) return undefined
        return { code: 'filtered', reason: `quiet hours until ${toHour}:00 UTC` }
      },
      onStored () {
        stored += 1
        if (stored % logEvery === 0) log.info({ stored }, 'messages stored since the start')
      },
      close () { log.info({ stored }, 'messages stored in all') }
    }
  }
})
