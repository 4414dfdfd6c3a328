/** `messages.*`: history, deletion for oneself, who has read a message. */
import { Refusal } from '../../errors.ts'
import type { Caller, EngineHost } from '../host.ts'
import { envelopeText } from './envelope.ts'
import { JsonText } from '../requests/json-text.ts'
import { answerBytes } from '../reading/listing.ts'
import { peerOf } from '../reading/receipts.ts'
import { floorOf, visibleAfter, visibleBefore } from './visible.ts'
import type { Methods, Parts } from '../requests/methods.ts'
import * as read from '../requests/params.ts'

const maxHistory = 200
const maxDeleted = 1_000
/** Members looked at in one answer. */
const maxReaders = 500

export function messageMethods ({ marks }: Parts): Methods {
  async function reads (host: EngineHost, caller: Caller, params: read.Params): Promise<unknown> {
    const { store } = host
    const conv = read.conversation(caller, params)
    const seq = read.seq(params, 'seq')
    const limit = read.limit(params, maxReaders, maxReaders)
    const page = read.after(params)
    const member = await read.membership(host, caller, conv)
    const [message] = await store.messagesAt([{ conv, seq }])
    if (message === undefined || seq <= floorOf(member)) throw new Refusal('not_found', 'there is no such message')
    const direct = conv.startsWith('d:')
    const members = direct ? [peerOf(conv, caller.user)] : (await store.groupMembers(conv.slice(2), { limit, ...page })).map(one => one.user)
    const asked = direct ? [...new Set([...members, caller.user])] : members
    const rows = await store.membersAt(asked.map(user => ({ user, conv })))
    const readers: string[] = []
    const receivers: string[] = []
    for (const row of rows) {
      // Not the sender, and not those who came later.
      if (row === undefined || row.user === message.from || row.joinedSeq >= seq) continue
      if (row.readSeq >= seq) readers.push(row.user)
      else if (row.deliveredSeq >= seq) receivers.push(row.user)
    }
    const next = !direct && members.length >= limit ? members.at(-1) : undefined
    return { conv, seq, read: readers, delivered: receivers, ...(next === undefined ? {} : { next }) }
  }

  return [
    ['messages.history', async (host, caller, params) => {
      const conv = read.conversation(caller, params)
      const limit = read.limit(params, 50, maxHistory)
      const after = read.optionalSeq(params, 'after')
      const before = read.optionalSeq(params, 'before')
      const member = await read.membership(host, caller, conv)
      const { store } = host
      const [head] = await store.heads([conv])
      const seq = head?.seq ?? 0
      const forward = after !== undefined
      const found = forward
        ? await visibleAfter(store, member, host.now(), { after, limit, maxBytes: answerBytes })
        : await visibleBefore(store, member, host.now(), { before: Math.min(before ?? Infinity, seq + 1), limit, maxBytes: answerBytes })
      const messages = forward && before !== undefined ? found.messages.filter(message => message.seq < before) : found.messages
      const more = found.more && !(forward && before !== undefined && found.edge >= before - 1)
      // What is stored as JSON goes out as it is.
      const answer = new JsonText(`{"conv":"${conv}","head":${seq},"messages":[`)
      messages.forEach((message, i) => { answer.add((i > 0 ? ',' : '') + envelopeText(conv, message.seq, message.content)) })
      return answer.add(`],"more":${more}${more ? `,"${forward ? 'after' : 'before'}":${found.edge}` : ''}}`)
    }],
    ['messages.delete', async (host, caller, params) => {
      const conv = read.conversation(caller, params)
      const seqs = read.seqs(params, maxDeleted)
      await read.membership(host, caller, conv)
      return { conv, deleted: await host.store.hide(caller.user, conv, seqs) }
    }],
    ['messages.reads', async (host, caller, params) => {
      await marks.settled(caller.user)
      return await reads(host, caller, params)
    }]
  ]
}
