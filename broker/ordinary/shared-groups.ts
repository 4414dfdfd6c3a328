/** All groups of shared subscriptions. */
import type { SharedQueues } from './persistence-shared.ts'
import type { SubscriptionLike } from './persistence-subscriptions.ts'
import type { Router } from './router.ts'
import { shareOf } from './shared-filter.ts'
import { SharedGroup, type Dealer } from './shared-group.ts'

export interface SharedGroupsOptions {
  queues: SharedQueues
  router: Router
  /** Whether a session may read what a filter matches. */
  mayShare: (session: string, filter: string) => boolean
  onError: (err: Error) => void
}

export class SharedGroups {
  readonly #options: SharedGroupsOptions
  readonly #groups = new Map<string, SharedGroup>()
  /** By session. */
  readonly #memberships = new Map<string, Set<SharedGroup>>()
  /** Sessions whose messages are on their way back to their groups. */
  readonly #ending = new Map<string, Promise<void>>()

  constructor (options: SharedGroupsOptions) { this.#options = options }

  /** Groups of sessions that are kept from an earlier run. */
  restore (): void {
    const { queues, mayShare } = this.#options
    for (const [session, subscription] of queues.members()) {
      // The configuration may have changed.
      if (mayShare(session, shareOf(subscription.topic).filter)) this.join(session, subscription, undefined)
    }
    queues.clear(new Set(this.#groups.keys()))
  }

  join (session: string, subscription: SubscriptionLike, client: Dealer | undefined): void {
    const { queues, router, onError } = this.#options
    const share = shareOf(subscription.topic)
    let group = this.#groups.get(share.key)
    if (group === undefined) {
      const made = group = new SharedGroup(share, queues, onError)
      this.#groups.set(share.key, made)
      router.join(share.key, (packet, { qos }, done) => {
        // The members may have changed their QoS since it was queued.
        if (Math.min(qos, packet.qos) === 0 && !queues.took(share.key, packet)) made.pass(packet)
        else made.deal()
        done()
      })
    }
    let own = this.#memberships.get(session)
    if (own === undefined) this.#memberships.set(session, own = new Set())
    own.add(group)
    group.join(session, subscription, client)
    router.subscribe(share.key, { topic: share.filter, qos: group.qos, rap: true })
  }

  leave (session: string, key: string): void {
    const group = this.#groups.get(key)
    if (group === undefined) return
    group.leave(session)
    this.#look(session, group)
    if (!group.closed) return this.#options.router.subscribe(key, { topic: group.share.filter, qos: group.qos, rap: true })
    this.#groups.delete(key)
    this.#options.router.leave(key)
  }

  /** The session's connection is over. */
  disconnected (session: string): void {
    for (const group of this.#memberships.get(session) ?? []) {
      group.disconnected(session)
      this.#look(session, group)
    }
  }

  /** There is room for more of what a session's groups have. */
  wake (session: string): void {
    for (const group of this.#memberships.get(session) ?? []) {
      group.deal()
      this.#look(session, group)
    }
  }

  /** The session may have to do with the group no more. */
  #look (session: string, group: SharedGroup): void {
    if (group.knows(session)) return
    const own = this.#memberships.get(session)
    if (own?.delete(group) === true && own.size === 0) this.#memberships.delete(session)
  }

  /**
   * The session is over: what it was dealt is its groups' again. To be called before its queue is dropped. At the end of a connection and at the
   * beginning of the next one at the same time: what goes back does so once.
   */
  ended (session: string): Promise<void> {
    const before = this.#ending.get(session)
    if (before !== undefined) return before
    const ending = this.#end(session).finally(() => { this.#ending.delete(session) })
    this.#ending.set(session, ending)
    return ending
  }

  async #end (session: string): Promise<void> {
    for (const group of [...this.#memberships.get(session) ?? []]) this.leave(session, group.share.key)
    for (const key of await this.#options.queues.giveBack(session)) this.#groups.get(key)?.deal()
  }
}
