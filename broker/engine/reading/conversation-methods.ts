/** `conversations.*` and `unread`. */
import type { Caller, EngineHost } from '../host.ts'
import { listConversations, maxListed, unread } from './listing.ts'
import type { Methods, Parts } from '../requests/methods.ts'
import * as read from '../requests/params.ts'

export function conversationMethods ({ marks, expiry }: Parts): Methods {
  async function setting (host: EngineHost, caller: Caller, params: read.Params, name: 'muted' | 'pinned'): Promise<unknown> {
    const conv = read.conversation(caller, params)
    const on = read.flag(params, 'on', true)
    await read.membership(host, caller, conv)
    await host.store.settings(caller.user, conv, { [name]: on })
    return { conv, [name]: on }
  }

  return [
    ['conversations.list', async (host, caller, params) => {
      const page = { limit: read.limit(params, 50, maxListed), ...read.after(params) }
      await marks.settled(caller.user)
      return await listConversations({ store: host.store, expiry }, caller, host.now(), page)
    }],
    ['unread', async (host, caller) => {
      await marks.settled(caller.user)
      return await unread({ store: host.store, expiry }, caller, host.now())
    }],
    ['conversations.mute', (host, caller, params) => setting(host, caller, params, 'muted')],
    ['conversations.pin', (host, caller, params) => setting(host, caller, params, 'pinned')],
    ['conversations.clear', async (host, caller, params) => {
      const conv = read.conversation(caller, params)
      await read.membership(host, caller, conv)
      const [head] = await host.store.heads([conv])
      // First as a read mark: receipts and the badges of one's other devices follow.
      if (head !== undefined && head.seq > 0) await marks.read(caller.user, conv, head.seq)
      await host.store.clear(caller.user, conv)
      return { conv, clearedSeq: (await read.membership(host, caller, conv)).clearedSeq }
    }]
  ]
}
