/** Subscriptions of persistent sessions. */
import { bounds, splitKey, subscriptionKey } from './persistence-records.ts'
import type { RecordChange, RecordsLike } from './persistence-records.ts'
import { FilterTree } from './persistence-trie.ts'
import { isShared } from './shared-filter.ts'

/** A subscription as Aedes gives it (`topic` is the filter). `owed`: its retained messages are still to be sent, but for those of these topics. */
export interface SubscriptionLike { topic: string, qos: 0 | 1 | 2, rh?: number, rap?: boolean, nl?: boolean, subscriptionIdentifier?: number, owed?: readonly string[] }
/** A subscription that a message matches. */
export type MatchedSubscription = SubscriptionLike & { clientId: string }

export class Subscriptions {
  readonly #clients = new Map<string, Map<string, SubscriptionLike>>()
  /** Those with QoS 0 too: they queue nothing, but their identifiers go with what others do. */
  readonly #tree = new FilterTree<MatchedSubscription>()

  /** Groups of shared subscriptions. */
  readonly #open = new Set<string>()

  async load (records: RecordsLike): Promise<void> {
    for await (const [key, value] of records.range(...bounds('u'))) {
      this.#put(splitKey(key).client, JSON.parse(Buffer.from(value).toString()) as SubscriptionLike)
    }
  }

  /** The changes are empty when nothing is new. What is owed stays so unless it is given anew. */
  add (client: string, subscriptions: readonly SubscriptionLike[]): RecordChange[] {
    const changes: RecordChange[] = []
    for (const given of subscriptions) {
      const { topic, qos, rh, rap, nl, subscriptionIdentifier } = given
      const before = this.#clients.get(client)?.get(topic)
      const owed = given.owed ?? before?.owed
      const row = { topic, qos, rh, rap, nl, ...subscriptionIdentifier !== undefined && { subscriptionIdentifier }, ...owed !== undefined && { owed } } as SubscriptionLike
      if (before !== undefined && before.owed === owed && JSON.stringify(before) === JSON.stringify(row)) continue
      changes.push(this.#write(client, row))
    }
    return changes
  }

  /**
   * Retained messages were sent of what was `owed` before: those of the topics `sent`; all, when that is undefined. Nothing changes when
   * the subscription was asked for anew meanwhile.
   */
  owe (client: string, filter: string, owed: readonly string[], sent: readonly string[] | undefined): RecordChange[] {
    const before = this.#clients.get(client)?.get(filter)
    if (before?.owed !== owed) return []
    const row = { ...before }
    if (sent === undefined) delete row.owed
    else row.owed = sent
    return [this.#write(client, row)]
  }

  #write (client: string, row: SubscriptionLike): RecordChange {
    this.#put(client, row)
    return { key: subscriptionKey(client, row.topic), value: Buffer.from(JSON.stringify(row)) }
  }

  remove (client: string, filters: Iterable<string>): RecordChange[] {
    const own = this.#clients.get(client)
    const changes: RecordChange[] = []
    if (own === undefined) return changes
    for (const filter of filters) {
      if (!own.delete(filter)) continue
      if (!isShared(filter)) this.#tree.delete(filter, client)
      changes.push({ key: subscriptionKey(client, filter), value: null })
    }
    if (own.size === 0) this.#clients.delete(client)
    return changes
  }

  clear (client: string): RecordChange[] {
    return this.remove(client, [...this.#clients.get(client)?.keys() ?? []])
  }

  of (client: string): SubscriptionLike[] {
    return [...this.#clients.get(client)?.values() ?? []].map(subscription => ({ ...subscription }))
  }

  /** The queue of a group gets what matches the filter. */
  open (key: string, subscription: SubscriptionLike): void {
    this.#tree.set(subscription.topic, key, { clientId: key, ...subscription })
    this.#open.add(key)
  }

  shut (key: string, filter: string): void {
    this.#tree.delete(filter, key)
    this.#open.delete(key)
  }

  isOpen (key: string): boolean { return this.#open.has(key) }

  has (client: string): boolean { return this.#clients.has(client) }
  match (topic: string): MatchedSubscription[] { return this.#tree.match(topic) }
  clients (): IterableIterator<string> { return this.#clients.keys() }

  * clientsOf (filter: string): Generator<string> {
    for (const [client, own] of this.#clients) if (own.has(filter)) yield client
  }

  /** `subsCount`: those that queue. */
  counts (): { subsCount: number, clientsCount: number } {
    let subsCount = 0
    for (const own of this.#clients.values()) for (const { qos } of own.values()) if (qos > 0) subsCount++
    return { subsCount, clientsCount: this.#clients.size }
  }

  #put (client: string, subscription: SubscriptionLike): void {
    let own = this.#clients.get(client)
    if (own === undefined) this.#clients.set(client, own = new Map())
    own.set(subscription.topic, subscription)
    if (!isShared(subscription.topic)) this.#tree.set(subscription.topic, client, { clientId: client, ...subscription })
  }
}
