/** What a user sees of a conversation's messages: pages of them, hiding some for oneself, who has read one. */
import { Refusal } from '../../errors.ts'
import type { Page } from '../../operations/rules.ts'
import type { EngineHost } from '../host.ts'
import { membership } from '../membership.ts'
import { answerBytes } from './listing.ts'
import type { Marks } from './marks.ts'
import { peerOf } from './receipts.ts'
import { JsonText } from '../requests/json-text.ts'
import { envelopeText } from '../envelope.ts'
import { floorOf, visibleAfter, visibleBefore } from './visible.ts'

export class History {
  readonly #host: EngineHost
  readonly #marks: Marks

  constructor (host: EngineHost, marks: Marks) {
    this.#host = host
    this.#marks = marks
  }

  /** `{"conv":…,"head":…,"messages":[…],"more":…}`, ascending: the newest before `before`, or those after `after`; with `more`, where to go on. */
  async history (user: string, conv: string, { limit, before, after }: { limit: number, before?: number | undefined, after?: number | undefined }): Promise<JsonText> {
    const { store } = this.#host
    const member = await membership(store, user, conv)
    const [head] = await store.heads([conv])
    const seq = head?.seq ?? 0
    const forward = after !== undefined
    const found = forward
      ? await visibleAfter(store, member, this.#host.now(), { after, limit, maxBytes: answerBytes })
      : await visibleBefore(store, member, this.#host.now(), { before: Math.min(before ?? Infinity, seq + 1), limit, maxBytes: answerBytes })
    const messages = forward && before !== undefined ? found.messages.filter(message => message.seq < before) : found.messages
    const more = found.more && !(forward && before !== undefined && found.edge >= before - 1)
    // What is stored as JSON goes out as it is.
    const answer = new JsonText(`{"conv":"${conv}","head":${seq},"messages":[`)
    messages.forEach((message, i) => { answer.add((i > 0 ? ',' : '') + envelopeText(conv, message.seq, message.content)) })
    return answer.add(`],"more":${more}${more ? `,"${forward ? 'after' : 'before'}":${found.edge}` : ''}}`)
  }

  /** Hides messages for the user alone. Resolves to how many were not hidden before. */
  async hide (user: string, conv: string, seqs: readonly number[]): Promise<number> {
    await membership(this.#host.store, user, conv)
    return await this.#host.store.hide(user, conv, [...seqs])
  }

  /** Who of the members looked at has read a message, and who has only received it. */
  async reads (conv: string, seq: number, { user, limit, after }: Page & { user: string }): Promise<{ read: string[], delivered: string[], next?: string }> {
    const { store } = this.#host
    await this.#marks.settled(user)
    const member = await membership(store, user, conv)
    const [message] = await store.messagesAt([{ conv, seq }])
    if (message === undefined || seq <= floorOf(member)) throw new Refusal('not_found', 'there is no such message')
    const direct = conv.startsWith('d:')
    const members = direct ? [peerOf(conv, user)] : (await store.groupMembers(conv.slice(2), { limit, ...(after !== undefined && { after }) })).map(one => one.user)
    const asked = direct ? [...new Set([...members, user])] : members
    const rows = await store.membersAt(asked.map(one => ({ user: one, conv })))
    const read: string[] = []
    const delivered: string[] = []
    for (const row of rows) {
      // Not the sender, and not those who came later.
      if (row === undefined || row.user === message.from || row.joinedSeq >= seq) continue
      if (row.readSeq >= seq) read.push(row.user)
      else if (row.deliveredSeq >= seq) delivered.push(row.user)
    }
    const next = !direct && members.length >= limit ? members.at(-1) : undefined
    return { read, delivered, ...(next !== undefined && { next }) }
  }
}
