/** One group of shared subscriptions (MQTT 5, section 4.8.2): deals what is in its queue to the members that are connected and have room. */
import { isExpired, type Body, type PacketLike } from './persistence-packets.ts'
import type { Entry } from './persistence-entry.ts'
import type { SharedQueues } from './persistence-shared.ts'
import type { SubscriptionLike } from './persistence-subscriptions.ts'
import type { Share } from './shared-filter.ts'

/** A member's client, as its groups need it. */
export interface Dealer {
  /** Its session outlives the connection: what it is dealt becomes its own. */
  readonly kept: boolean
  /** Messages that it may be sent at once. */
  readonly free: number
  /** Sends a message of its own queue, or one at QoS 0. */
  give (packet: PacketLike): void
  /** Sends a message of the group's queue; returns its packet id. `over` is called when it is acknowledged, refused, or will not be sent. */
  lend (packet: PacketLike, over: () => void): void
}

interface Member { session: string, subscription: SubscriptionLike, client: Dealer | undefined, /** dealt to it, and not acknowledged */ lent: Map<number, Entry>, /** on their way into its queue */ moving: number }

/** Messages that are dealt at once. */
const handful = 32
const retryMs = 1000
/** Expiry is counted in seconds. */
const graceMs = 999

export class SharedGroup {
  readonly share: Share
  readonly #queues: SharedQueues
  readonly #onError: (err: Error) => void
  /** Who was dealt something last is the last one. */
  readonly #members = new Map<string, Member>()
  /** Were members, and have what they were lent until they acknowledge it or their connection ends [MQTT-3.10.4-3]. */
  readonly #former = new Map<string, Member>()
  /** Messages that are with a member, or on their way, by number. */
  readonly #dealt = new Map<number, Entry>()
  /** So many messages the queue had lost when it was looked at last. */
  #lost = 0
  #dealing = false
  #again = false

  constructor (share: Share, queues: SharedQueues, onError: (err: Error) => void) {
    this.share = share
    this.#queues = queues
    this.#onError = onError
  }

  get closed (): boolean { return this.#members.size === 0 }
  /** The session has to do with the group. */
  knows (session: string): boolean { return this.#members.has(session) || this.#former.has(session) }

  /** A session subscribes, or is there from an earlier run; `client`: it is connected. */
  join (session: string, subscription: SubscriptionLike, client: Dealer | undefined): void {
    const known = this.#members.get(session) ?? this.#former.get(session) ?? { session, lent: new Map<number, Entry>(), moving: 0 }
    this.#former.delete(session)
    this.#members.set(session, Object.assign(known, { subscription, client }))
    this.#open()
    this.deal()
  }

  /** The member's connection is over; what it was lent is the group's again. */
  disconnected (session: string): void {
    const [former, member] = [this.#former.get(session), this.#members.get(session)]
    this.#former.delete(session)
    if (member !== undefined) member.client = undefined
    if (former !== undefined || member !== undefined) this.#open()
    this.#takeBack(former)
    this.#takeBack(member)
  }

  /** The member is none any more; its connection may go on. */
  leave (session: string): void {
    const member = this.#members.get(session)
    this.#members.delete(session)
    if (this.closed) {
      this.#former.clear()
      return this.#queues.close(this.share)
    }
    const keeps = member?.client !== undefined && member.lent.size > 0
    if (keeps) this.#former.set(session, member)
    this.#open()
    if (!keeps) this.#takeBack(member)
  }

  /** The queue stays in memory while somebody is dealt to, or has what it was lent: that is taken out of it when it is acknowledged. */
  #open (): void {
    if (this.closed) return
    const awake = this.#former.size > 0 || [...this.#members.values()].some(({ client }) => client !== undefined)
    this.#queues.open(this.share, this.qos, awake)
  }

  #takeBack (member: Member | undefined): void {
    if (member === undefined) return
    for (const seq of member.lent.keys()) this.#dealt.delete(seq)
    member.lent.clear()
    this.deal()
  }

  /** What is queued for the group: at the highest QoS of its members. */
  get qos (): 0 | 1 | 2 { return Math.max(0, ...[...this.#members.values()].map(({ subscription }) => subscription.qos)) as 0 | 1 | 2 }

  /** A message that is not queued goes to one that is connected. */
  pass (packet: PacketLike): void {
    const [session, member] = this.#best(true) ?? []
    if (session === undefined || member?.client === undefined) return
    this.#last(session, member)
    member.client.give(this.#packet(packet, member, 0))
  }

  /** Deals as far as there is room; at once, or when what is under way is dealt. */
  deal (): void {
    this.#again = true
    if (this.#dealing) return
    this.#dealing = true
    this.#deal().catch((err: Error) => {
      // The store is away: nothing is lost, and nobody is served faster by asking at once.
      this.#again = false
      setTimeout(() => { this.deal() }, retryMs).unref()
      this.#onError(err)
    }).finally(() => {
      this.#dealing = false
      if (this.#again) this.deal()
    })
  }

  async #deal (): Promise<void> {
    while (this.#again) {
      this.#again = false
      this.#forgetLost()
      if (this.#queues.size(this.share.key) <= this.#dealt.size || this.#best() === undefined) continue
      const page = await this.#queues.next(this.share.key, handful, seq => this.#dealt.has(seq))
      const moves: Array<Promise<void>> = []
      for (const [entry, body] of page) {
        const move = this.#dealOne(entry, body)
        if (move === 'no room') break
        if (move !== undefined) moves.push(move)
        this.#again = true
      }
      await Promise.all(moves)
    }
  }

  /** What a full queue dropped while a member has it counts as dealt no more. */
  #forgetLost (): void {
    const lost = this.#queues.lost(this.share.key)
    if (lost === this.#lost) return
    this.#lost = lost
    for (const [seq, { gone }] of this.#dealt) if (gone === true) this.#dealt.delete(seq)
  }

  #dealOne (entry: Entry, body: Body): Promise<void> | undefined | 'no room' {
    const { key } = this.share
    // One that has no time at all is for who is there.
    if (isExpired(body, Date.now() - graceMs)) return this.#queues.remove(key, entry) as undefined
    const [session, member] = this.#best() ?? []
    if (session === undefined || member?.client === undefined) return 'no room'
    this.#last(session, member)
    const { client, subscription } = member
    const qos = Math.min(subscription.qos, body.qos) as 0 | 1 | 2
    if (qos === 0) {
      this.#queues.remove(key, entry)
      return client.give(this.#packet(body, member, 0)) as undefined
    }
    this.#dealt.set(entry.seq, entry)
    if (client.kept) return this.#move(entry, body, session, member, qos)
    // At QoS 2 it is the member's alone from here on [MQTT-4.8.2-5], and the member's session ends with its connection.
    if (qos === 2) this.#over(member, entry)
    else member.lent.set(entry.seq, entry)
    client.lend(this.#packet(body, member, qos), () => { if (member.lent.get(entry.seq) === entry) this.#over(member, entry) })
    return undefined
  }

  async #move (entry: Entry, body: Body, session: string, member: Member, qos: 1 | 2): Promise<void> {
    const { rap = false, subscriptionIdentifier: identifier } = member.subscription
    member.moving++
    try {
      const packet = await this.#queues.move(this.share.key, entry, body, { session, qos, rap, identifier })
      // It may have gone meanwhile: it finds the message in its queue.
      member.client?.give(this.#packet(packet, member, qos))
    } finally {
      member.moving--
      this.#dealt.delete(entry.seq)
    }
  }

  #over (member: Member, entry: Entry): void {
    member.lent.delete(entry.seq)
    this.#dealt.delete(entry.seq)
    this.#queues.remove(this.share.key, entry)
    if (member.lent.size === 0 && this.#former.delete(member.session)) this.#open()
  }

  #packet (packet: Body | PacketLike, { subscription: { rap = false, subscriptionIdentifier } }: Member, qos: 0 | 1 | 2): PacketLike {
    const identified = subscriptionIdentifier === undefined ? packet.properties : { ...packet.properties, subscriptionIdentifier: [subscriptionIdentifier] }
    // That its publisher sent it again is nothing to who gets it [MQTT-3.3.1-3].
    return { ...packet, cmd: 'publish', dup: false, qos, retain: rap && packet.retain, ...identified !== undefined && { properties: identified } }
  }

  /** The member with most room; among equals the one that has waited longest. `anyway`: room or not. */
  #best (anyway = false): [string, Member] | undefined {
    let best: [string, Member] | undefined
    let most = anyway ? -Infinity : 0
    for (const one of this.#members) {
      const { client, moving } = one[1]
      const free = client === undefined ? -Infinity : client.free - moving
      if (free > most) [best, most] = [one, free]
    }
    return best
  }

  #last (session: string, member: Member): void {
    this.#members.delete(session)
    this.#members.set(session, member)
  }
}
