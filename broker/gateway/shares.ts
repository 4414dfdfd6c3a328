import type { Logger } from 'pino'
import { Refusal } from '../errors.ts'
import { Few } from '../few.ts'
import type { Engine } from '../link/port.ts'
import { sharedFilter, type ChatFilter, type StreamKind, type Topics } from '../topics.ts'
import { logFailure, valueOf } from './connection/failure.ts'
import type { OpenShares } from './connection/memberships.ts'
import type { Pump } from './delivery/pump.ts'
import { Session } from './delivery/session.ts'
import { Share } from './delivery/share.ts'
import type { GatewayLimits } from './limits.ts'
import { Waitlist } from './waitlist.ts'

export interface SharesContext {
  readonly engine: Pick<Engine, 'openSession' | 'saveSubscriptions' | 'closeSession' | 'read'>
  readonly pump: Pump
  readonly topics: Topics
  readonly limits: Pick<GatewayLimits, 'opening' | 'shareMembers' | 'shareInflight' | 'shareHoldTimeoutMs' | 'shareExpirySeconds'>
  readonly log: Logger
}

/** One share, open or on its way. */
interface Slot {
  holders: number
  /** The last one that left had unsubscribed. */
  unsubscribed: boolean
  share: Share | undefined
  /** It is to be closed before another one is opened. */
  failed: Share | undefined
  /** What is done with it is done one after the other. */
  last: Promise<void>
  queued: number
}

/** Shared subscriptions to chat topics: each is one persistent session, which is open while a connection subscribes to it (ADR 21). */
export class Shares implements OpenShares {
  /** Sessions that are opened at the same time, shares and others. */
  readonly opening: Few
  readonly waitlist = new Waitlist()
  readonly #context: SharesContext
  /** By `{user}/{filter}`. */
  readonly #slots = new Map<string, Slot>()

  constructor (context: SharesContext) {
    this.#context = context
    this.opening = new Few(context.limits.opening)
  }

  async enter (user: string, filter: string): Promise<Share> {
    const { limits } = this.#context
    const id = `${user}/${filter}`
    let slot = this.#slots.get(id)
    if (slot === undefined) this.#slots.set(id, slot = { holders: 0, unsubscribed: false, share: undefined, failed: undefined, last: Promise.resolve(), queued: 0 })
    if (slot.holders >= limits.shareMembers) throw new Refusal('rate_limited', `a shared subscription has at most ${limits.shareMembers} sessions`)
    slot.holders++
    const mine = slot
    try {
      return await this.#run(id, mine, async () => await this.#current(id, mine, user, filter))
    } catch (err) {
      this.#leave(id, mine, false)
      throw err
    }
  }

  async #current (id: string, slot: Slot, user: string, filter: string): Promise<Share> {
    await this.#closeFailed(id, slot)
    if (slot.share !== undefined) return slot.share
    const share = await this.#open(id, slot, user, filter)
    // It tells its members when it has failed already.
    if (slot.failed !== share) slot.share = share
    return share
  }

  /** Who comes from now on gets another one. */
  #fail (id: string, slot: Slot, share: Share): void {
    // More than one read of it may fail, and what was read as it was closed.
    if (slot.failed === share || share.session.closed) return
    slot.share = undefined
    slot.failed = share
    this.#run(id, slot, async () => { await this.#closeFailed(id, slot) }).catch((err: Error) => { this.#notStored(id, err) })
  }

  async #closeFailed (id: string, slot: Slot): Promise<void> {
    const { failed } = slot
    if (failed === undefined) return
    slot.failed = undefined
    try {
      await this.#close(failed, false)
    } catch (err) {
      this.#notStored(id, err as Error)
    }
  }

  #notStored (id: string, err: Error): void { logFailure(this.#context.log, err, { session: id }, 'the end of a session was not stored') }

  /** Does something with a share after what is under way with it. */
  async #run<Result> (id: string, slot: Slot, work: () => Promise<Result>): Promise<Result> {
    slot.queued++
    const done = slot.last.then(work).finally(() => { if (--slot.queued === 0 && slot.holders === 0) this.#slots.delete(id) })
    slot.last = done.then(() => {}, () => { /* told to who asked */ })
    return await done
  }

  async #open (id: string, slot: Slot, user: string, filter: string): Promise<Share> {
    const { opening } = this
    const { topics } = this.#context
    const means = topics.filter(sharedFilter(filter), user)
    if (means === undefined) throw new Refusal('forbidden')
    await new Promise<void>(resolve => { opening.enter(resolve) })
    try {
      return await this.#opened(id, slot, user, filter, means)
    } finally {
      opening.leave()
    }
  }

  async #opened (id: string, slot: Slot, user: string, filter: string, means: ChatFilter): Promise<Share> {
    const { engine, limits, pump, topics } = this.#context
    const expirySeconds = limits.shareExpirySeconds
    const { inflight, present, subscriptions } = valueOf(await engine.openSession({ session: id, user, clientId: filter, cleanStart: false, expirySeconds, share: true }))
    const share: Share = new Share({
      user,
      engine,
      label: labels(topics, user),
      later: run => { pump.later(run) },
      now: () => pump.now(),
      steady: () => pump.steady(),
      failed: () => { this.#fail(id, slot, share) },
      holdTimeoutMs: limits.shareHoldTimeoutMs
    })
    // What it left has a place, whatever the limit is now.
    const session = new Session(pump, share, { id, user, expirySeconds, resumed: present, window: Math.max(limits.shareInflight, inflight.length) })
    session.interest.copies = false
    session.interest.set(sharedFilter(filter), means, 1)
    try {
      if (subscriptions.length !== 1) await engine.saveSubscriptions(id, session.interest.list())
    } catch (err) {
      await engine.closeSession({ session: id, expirySeconds, graceful: true, inflight })
      throw err
    }
    share.begin(session, inflight)
    pump.add(session)
    session.applyInterest()
    return share
  }

  left (user: string, filter: string, unsubscribed: boolean): void {
    const id = `${user}/${filter}`
    const slot = this.#slots.get(id)
    if (slot === undefined) return
    this.#leave(id, slot, unsubscribed)
    this.waitlist.next(id)
  }

  #leave (id: string, slot: Slot, unsubscribed: boolean): void {
    slot.holders--
    slot.unsubscribed = unsubscribed
    this.#run(id, slot, async () => {
      const { share } = slot
      if (slot.holders > 0 || share === undefined) return
      slot.share = undefined
      await this.#close(share, slot.unsubscribed)
    }).catch((err: Error) => { this.#notStored(id, err) })
  }

  async #close (share: Share, unwanted: boolean): Promise<void> {
    const { engine, pump } = this.#context
    const { session } = share
    const inflight = share.left.map(place => ({ packetId: 0, ...place }))
    const sent = share.ahead
    pump.remove(session)
    session.close()
    await engine.closeSession({ session: session.id, expirySeconds: session.expirySeconds, graceful: true, inflight, sent, ...unwanted && { unwanted } })
  }

  /** Called every second. */
  sweep (steadyMs: number): void {
    for (const { share } of this.#slots.values()) share?.sweep(steadyMs)
    this.waitlist.sweep()
  }

  /** Resolves when all that is on its way is done; to be called when no connection is left. */
  async close (): Promise<void> { while (this.#slots.size > 0) await Promise.all([...this.#slots.values()].map(slot => slot.last)) }
}

/** Topics by their bytes, the same ones for all entries of a topic. */
function labels (topics: Topics, user: string): (kind: StreamKind, id: string) => Uint8Array {
  const [inbox, event] = [Buffer.from(topics.inbox(user)), Buffer.from(topics.event(user))]
  return (kind, id) => kind === 'group' ? Buffer.from(topics.group(id.slice(2))) : kind === 'event' ? event : inbox
}
