/** Block lists: who does not accept messages from whom. */
import type { EngineHost } from '../host.ts'
import { Refusal } from '../../errors.ts'
import { KeyedQueue } from '../keyed-queue.ts'
import { LookupCache } from '../lookup-cache.ts'

/** Lists in memory. */
const maxCachedLists = 20_000
const nobody: ReadonlySet<string> = new Set()

export class Blocks {
  readonly #host: EngineHost
  readonly #lists: LookupCache<ReadonlySet<string>>
  readonly #queue = new KeyedQueue()

  constructor (host: EngineHost) {
    this.#host = host
    this.#lists = new LookupCache(async uid => {
      const blocked = await host.store.blocks(uid)
      return blocked.length === 0 ? nobody : new Set(blocked)
    }, maxCachedLists)
  }

  /** True when `receiver` blocks `sender`; synchronous when the list is in memory. */
  has (receiver: string, sender: string): boolean | Promise<boolean> {
    const list = this.#lists.get(receiver)
    return list instanceof Promise ? list.then(loaded => loaded.has(sender)) : list.has(sender)
  }

  async list (user: string): Promise<string[]> { return [...await this.#lists.get(user)] }

  /** Blocking twice, and unblocking who is not blocked, change nothing. Throws `Refusal` (`bad_payload`, `not_found`, `too_large`). */
  add (user: string, other: string): Promise<void> {
    return this.#queue.run(user, async () => {
      if (other === user) throw new Refusal('bad_payload', 'you cannot block yourself')
      const list = await this.#lists.get(user)
      if (list.has(other)) return
      if (!await this.#host.userExists(other)) throw new Refusal('not_found', `there is no user '${other}'`)
      const { maxBlocks } = this.#host.limits
      if (list.size >= maxBlocks) throw new Refusal('too_large', `a block list has at most ${maxBlocks} users`)
      await this.#set(user, other, true)
    })
  }

  remove (user: string, other: string): Promise<void> {
    return this.#queue.run(user, () => this.#set(user, other, false))
  }

  /** To call when the account went, or another server has changed the list. */
  forget (user: string): void { this.#lists.forget(user) }

  clear (): void { this.#lists.clear() }

  async #set (user: string, other: string, blocked: boolean): Promise<void> {
    try {
      await this.#host.store.setBlock(user, other, blocked)
    } finally {
      this.#lists.forget(user)
    }
  }
}
