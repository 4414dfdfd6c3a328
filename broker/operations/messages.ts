/** `messages.*`: a conversation's messages. */
import { z } from 'zod'
import { after, conversationOf, inConversation, limit, needsOne, seq, seqs } from './fields.ts'
import { request } from './operation.ts'
import { count, envelope, listed } from './results.ts'

const maxHistory = 200

export const messagesHistory = request({
  name: 'messages.history',
  text: 'ascending, the newest unless `after` is given; with `more`, go on with the `before` or `after` of the answer; `head` is the conversation\'s last number',
  permission: 'user',
  rate: 'plain',
  http: ['GET /v1/conversations/{conv}/messages'],
  query: true,
  long: true,
  params: () => inConversation({ before: seq().optional(), after: seq().optional(), limit: limit(50, maxHistory) }),
  result: () => z.strictObject({ conv: z.string(), head: count(), messages: z.array(envelope()), more: z.boolean(), before: count().optional(), after: count().optional() }),
  run: ({ messages }, caller, { before, after, limit, ...named }) => messages.history(caller.user, conversationOf(caller, named), { before, after, limit })
})

const maxDeleted = 1_000

export const messagesDelete = request({
  name: 'messages.delete',
  text: 'hidden for you alone; how many were not before',
  permission: 'user',
  rate: 'plain',
  http: ['POST /v1/conversations/{conv}/messages/delete'],
  query: false,
  params: () => needsOne(inConversation({ seqs: seqs(maxDeleted).describe(`1 to ${maxDeleted} numbers; or one, as \`seq\``).optional(), seq: seq(1).optional() }), 'seqs', ['seq']),
  result: () => z.strictObject({ conv: z.string(), deleted: count() }),
  run: async ({ messages }, caller, { seq, seqs = [], ...named }) => {
    const conv = conversationOf(caller, named)
    return { conv, deleted: await messages.hide(caller.user, conv, seq === undefined ? [...new Set(seqs)] : [seq]) }
  }
})

/** Members looked at in one answer. */
const maxReaders = 500

export const messagesReads = request({
  name: 'messages.reads',
  text: 'of the members looked at, without the sender and who came later; who has read is not in `delivered`',
  permission: 'user',
  rate: 'heavy',
  http: ['GET /v1/conversations/{conv}/messages/{seq}/reads'],
  query: true,
  params: () => inConversation({ seq: seq(), after: after(), limit: limit(maxReaders, maxReaders) }),
  result: () => z.strictObject({ conv: z.string(), seq: count(), read: listed('user'), delivered: listed('user'), next: z.string().optional() }),
  run: async ({ messages }, caller, { seq, after, limit, ...named }) => {
    const conv = conversationOf(caller, named)
    return { conv, seq, ...await messages.reads(conv, seq, { user: caller.user, after, limit }) }
  }
})
