/** Who of the connected clients gets a message of an ordinary topic; Aedes has it instead of its emitter. */
import type { PacketLike } from './persistence-packets.ts'
import { mergeRecipients, type Receiver } from './persistence-recipients.ts'
import type { MatchedSubscription, SubscriptionLike } from './persistence-subscriptions.ts'
import { FilterTree } from './persistence-trie.ts'

/** Sends a message on to one client, at what its subscriptions add up to; `done` is called once. */
export type Deliver = (packet: PacketLike, receiver: Receiver, done: () => void) => void

interface Member { deliver: Deliver, filters: Set<string> }

/** Aedes talks to itself on such topics; nobody else may. */
const own = '$SYS/'

export class Router {
  readonly #tree = new FilterTree<MatchedSubscription>()
  readonly #members = new Map<string, Member>()

  join (session: string, deliver: Deliver): void {
    this.leave(session)
    this.#members.set(session, { deliver, filters: new Set() })
  }

  /** With `deliver`: only if it is still this one's turn. False when nothing was done. */
  leave (session: string, deliver?: Deliver): boolean {
    const member = this.#members.get(session)
    if (member === undefined || (deliver !== undefined && member.deliver !== deliver)) return false
    for (const filter of member.filters) this.#tree.delete(filter, session)
    this.#members.delete(session)
    return true
  }

  /** Adds a subscription of a client that has joined, or replaces it. */
  subscribe (session: string, subscription: SubscriptionLike): void {
    const member = this.#members.get(session)
    if (member === undefined) return
    member.filters.add(subscription.topic)
    this.#tree.set(subscription.topic, session, { ...subscription, clientId: session })
  }

  unsubscribe (session: string, filter: string): void {
    if (this.#members.get(session)?.filters.delete(filter) === true) this.#tree.delete(filter, session)
  }

  /** True when a connected client would get what `publisher` sends. */
  hears (topic: string, publisher: string): boolean { return mergeRecipients(this.#tree.match(topic), 0, publisher).size > 0 }

  // ---- what Aedes asks of an emitter

  /** Sends the message to each client that subscribes, once [MQTT-3.3.5-1]; `done` is called when all are sent it. */
  emit (packet: PacketLike, done: () => void): void {
    const { topic, qos, clientId } = packet
    if (topic.startsWith(own)) return done()
    const receivers = mergeRecipients(this.#tree.match(topic), qos, clientId)
    let left = receivers.size
    if (left === 0) return done()
    const one = (): void => { if (--left === 0) done() }
    for (const [session, receiver] of receivers) (this.#members.get(session) as Member).deliver(packet, receiver, one)
  }

  on (_topic: string, _listener: unknown, done?: () => void): this {
    done?.()
    return this
  }

  removeListener (_topic: string, _listener: unknown, done?: () => void): this {
    done?.()
    return this
  }

  close (done?: () => void): void { done?.() }
}
