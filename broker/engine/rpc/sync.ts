/** `sync`: what a device lacks, given the numbers it has. */
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import type { Caller, EngineHost } from '../host.ts'
import { answerBytes, entriesOf, envelopeOf } from '../listing.ts'
import { floorOf, visibleAfter } from '../visible.ts'
import type { Methods } from './methods.ts'
import * as read from './params.ts'

const pack = promisify(gzip)

interface Missing {
  conv: string
  head: number
  /** What to give as this conversation's number next time. */
  last: number
  messages: unknown[]
  /** There is more of this conversation. */
  more: boolean
}

interface Answer {
  conversations: Missing[]
  /** Ask again, with each conversation's `last`. */
  more: boolean
  /** Conversations that were asked for and are not there, or not the caller's (any more). */
  gone?: string[]
}

export function syncMethods (): Methods {
  return [['sync', async (host, caller, params) => {
    const convs = read.seqsByConversation(params, 'convs')
    const limit = read.limit(params, 200, 500)
    const packed = read.flag(params, 'gzip', false)
    const result = await missing(host, caller, convs, limit)
    if (!packed) return result
    // Bytes go out as they are, so they hold the whole answer.
    const rid = read.optionalId(params, 'rid')
    return await pack(JSON.stringify({ ...(rid === undefined ? {} : { rid }), ok: true, result }))
  }]]
}

async function missing (host: EngineHost, caller: Caller, convs: Map<string, number>, limit: number): Promise<Answer> {
  const { store } = host
  const now = host.now()
  const conversations: Missing[] = []
  const unknown = new Set(convs.keys())
  let count = 0
  let bytes = 0
  for await (const page of entriesOf(store, caller.user)) {
    for (const { member, head } of page) {
      const { conv } = member
      unknown.delete(conv)
      const after = Math.max(convs.get(conv) ?? 0, floorOf(member))
      if (after >= head.seq) continue
      // Room was left for at least one message; `gone` comes with the last page only.
      if (count >= limit || bytes >= answerBytes) return { conversations, more: true }
      const found = await visibleAfter(store, member, now, { after, limit: limit - count, maxBytes: answerBytes - bytes })
      count += found.messages.length
      for (const message of found.messages) bytes += Buffer.byteLength(message.content)
      conversations.push({ conv, head: head.seq, last: found.edge, messages: found.messages.map(message => envelopeOf(conv, message)), more: found.more })
    }
  }
  const more = conversations.some(one => one.more)
  return { conversations, more, ...(!more && unknown.size > 0 ? { gone: [...unknown] } : {}) }
}
