/** What one has: the list, unread numbers, what a device lacks. */
import { z } from 'zod'
import { after, flag, limit, seqsByConversation } from './fields.ts'
import { request } from './operation.ts'
import { count, envelope, listed, roles } from './results.ts'

const maxListed = 1_000

export const conversationsList = request({
  name: 'conversations.list',
  text: 'pinned first, then by last activity; `kind` is `direct` (with `with` and how far the other one got) or `group` (with `gid`, `name`, `role`)',
  permission: 'user',
  rate: 'heavy',
  http: ['GET /v1/conversations'],
  query: true,
  params: () => z.object({ limit: limit(50, maxListed), after: after() }),
  result: () => z.strictObject({
    conversations: z.array(z.strictObject({
      conv: z.string(),
      kind: z.enum(['direct', 'group']),
      with: z.string().optional(),
      gid: z.string().optional(),
      name: z.string().optional(),
      role: roles().optional(),
      seq: count(),
      ts: z.number(),
      unread: count(),
      readSeq: count(),
      muted: z.boolean(),
      pinned: z.boolean(),
      last: envelope().optional(),
      peerReadSeq: count().optional(),
      peerDeliveredSeq: count().optional()
    })),
    unread: count(),
    next: z.string().optional()
  }),
  run: ({ conversations }, caller, page) => conversations.list(caller, page)
})

export const unread = request({
  name: 'unread',
  text: 'a number for each conversation that has unread messages, and their sum; as in the list, messages that have expired are not unread',
  permission: 'user',
  rate: 'heavy',
  http: ['GET /v1/unread'],
  query: true,
  params: () => z.object({}),
  result: () => z.strictObject({ conversations: z.record(z.string(), count()), total: count() }),
  run: ({ conversations }, caller) => conversations.unread(caller)
})

export const sync = request({
  name: 'sync',
  text: 'what is missing, also of conversations that you did not name; with `more`, ask again with each `last`; `gone` are those that are not yours (any more)',
  permission: 'user',
  rate: 'heavy',
  http: ['POST /v1/sync'],
  query: true,
  params: () => z.object({
    convs: seqsByConversation().describe('{conversation: last seq you have}').optional(),
    limit: limit(200, 500),
    gzip: flag(false)
  }),
  result: () => z.strictObject({
    conversations: z.array(z.strictObject({ conv: z.string(), head: count(), last: count(), messages: z.array(envelope()), more: z.boolean() })),
    more: z.boolean(),
    gone: listed('conv').optional()
  }),
  run: async ({ sync }, caller, { convs = {}, limit, gzip }) => {
    const result = await sync.missing(caller, new Map(Object.entries(convs)), limit)
    return gzip ? await sync.packed(caller, result) : result
  }
})
