/** What a user does with their conversations: lists and settings, clearing, read marks. */
import { directId, groupId } from '../../topics.ts'
import type { Addressee, Caller, Page, Rules } from '../../operations/rules.ts'
import type { EngineHost } from '../host.ts'
import { membership } from '../membership.ts'
import type { Expiry } from './expiry.ts'
import type { JsonText } from '../requests/json-text.ts'
import { listConversations, unread } from './listing.ts'
import type { Marks } from './marks.ts'
import type { Receipts } from './receipts.ts'

export interface ConversationsOptions { host: EngineHost, marks: Marks, receipts: Receipts, expiry: Expiry }

export class Conversations {
  readonly #host: EngineHost
  readonly #marks: Marks
  readonly #receipts: Receipts
  readonly #expiry: Expiry

  constructor ({ host, marks, receipts, expiry }: ConversationsOptions) {
    this.#host = host
    this.#marks = marks
    this.#receipts = receipts
    this.#expiry = expiry
  }

  async list (caller: Caller, page: Page): Promise<JsonText> {
    await this.#marks.settled(caller.user)
    return await listConversations({ store: this.#host.store, expiry: this.#expiry }, caller, this.#host.now(), page)
  }

  async unread (caller: Caller): Promise<JsonText> {
    await this.#marks.settled(caller.user)
    return await unread({ store: this.#host.store, expiry: this.#expiry }, caller, this.#host.now())
  }

  async set (user: string, conv: string, settings: Parameters<Rules['conversations']['set']>[2]): Promise<void> {
    await membership(this.#host.store, user, conv)
    await this.#host.store.settings(user, conv, settings)
  }

  /** Resolves to the number up to which the history is hidden for the user. */
  async clear (user: string, conv: string): Promise<number> {
    const { store } = this.#host
    await membership(store, user, conv)
    const [head] = await store.heads([conv])
    // First as a read mark: receipts and the badges of one's other devices follow.
    if (head !== undefined && head.seq > 0) await this.#marks.read(user, conv, head.seq)
    await store.clear(user, conv)
    return (await membership(store, user, conv)).clearedSeq
  }

  /** Everything up to `seq` was read. Throws `Refusal` (`not_found`). */
  async mark (user: string, target: Addressee, seq: number): Promise<void> {
    const { store } = this.#host
    const conv = target.kind === 'user' ? directId(user, target.id) : groupId(target.id)
    const member = await membership(store, user, conv)
    const [head] = await store.heads([conv])
    const upTo = Math.min(seq, head?.seq ?? 0)
    // A reply reads without saying that a device received what was there.
    if (upTo > Math.min(member.readSeq, member.deliveredSeq)) await this.#marks.read(user, conv, upTo)
    // Nothing moves: but a crash may have come between an earlier mark and its receipt.
    if (upTo <= member.readSeq) this.#receipts.read(user, conv, member.readSeq)
  }
}
