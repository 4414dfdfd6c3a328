import { z } from 'zod'
import { definePlugin } from '../broker/plugin-api.ts'
import type { GateVerdict } from '../broker/plugin-api.ts'

/** Refuses direct messages to a user who blocked the sender. Groups are not asked: who is a member may speak there. */
export default definePlugin({
  name: 'block-list',
  description: 'Refuses direct messages to users who blocked the sender',
  options: z.strictObject({}),
  after: ['rate-limit'],
  // The store gives up before: store.timeoutMs is 5 s.
  timeoutMs: 30_000,
  onFailure: 'refuse',
  start (_options, context) {
    return {
      onPublish ({ from, to }) {
        if (to.kind !== 'user' || to.id === from) return undefined
        const blocked = context.blocks(to.id, from)
        return typeof blocked === 'boolean' ? verdict(blocked) : blocked.then(verdict)
      }
    }
  }
})

function verdict (blocked: boolean): GateVerdict {
  return blocked ? { code: 'blocked' } : undefined
}
