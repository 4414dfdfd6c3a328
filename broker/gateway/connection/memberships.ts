import type { Logger } from 'pino'
import { Refusal } from '../../errors.ts'
import type { Dealt } from '../delivery/dealt.ts'
import type { Hand, Member } from '../delivery/member.ts'
import type { Session } from '../delivery/session.ts'
import type { Share } from '../delivery/share.ts'
import { uncounted, type Entry, type Stream } from '../delivery/stream.ts'
import type { Attempt, Waitlist } from '../waitlist.ts'
import { disconnectReasons } from './disconnect-reasons.ts'
import type { MqttSink } from './mqtt-sink.ts'

/** A connection, as a member of shares. */
export interface MemberClient {
  fail (err: Error): void
  close (how?: { reason?: number, why?: string }): void
}

/** The same when its session goes on. */
export interface ReturningClient extends MemberClient {
  readonly session: Session | undefined
  readonly sink: MqttSink | undefined
}

/** The shares of all users, as a member needs them. */
export interface OpenShares {
  /** Who is to have a place when there is one. */
  readonly waitlist: Waitlist
  /** Opens the share `{user}/{filter}`, or finds it open; it stays so until `left`. Throws `Refusal`. */
  enter (user: string, filter: string): Promise<Share>
  /** `unsubscribed`: not because a connection has ended. */
  left (user: string, filter: string, unsubscribed: boolean): void
}

/** A place in one share. `share` is undefined until it is open, `member` until it is dealt to. */
interface Seat { readonly filter: string, share: Share | undefined, hand: Hand | undefined, member: Member | undefined, unsubscribed: boolean, opening: Promise<void> | undefined }

/** Which shares a connection is a member of. */
export class Memberships implements Dealt {
  readonly #client: MemberClient
  readonly #session: Session
  readonly #sink: MqttSink
  readonly #shares: OpenShares
  /** By what the share's session is called. */
  readonly #seats = new Map<string, Seat>()
  /** Places that were refused and are wanted still. */
  readonly #wanted = new Map<string, Attempt>()

  constructor (client: MemberClient, session: Session, sink: MqttSink, shares: OpenShares) {
    this.#client = client
    this.#session = session
    this.#sink = sink
    this.#shares = shares
  }

  /** The connection's; made when there is none. */
  static of (client: MemberClient, session: Session, sink: MqttSink, shares: OpenShares): Memberships {
    if (session.dealt instanceof Memberships) return session.dealt
    const made = new Memberships(client, session, sink, shares)
    session.dealt = made
    return made
  }

  /** Takes a place in the share of a filter (`$share/…`); nothing is dealt before `start`. Throws `Refusal`. */
  async enter (filter: string): Promise<void> {
    const id = this.#idOf(filter)
    let seat = this.#seats.get(id)
    if (seat === undefined) {
      seat = { filter, share: undefined, hand: undefined, member: undefined, unsubscribed: false, opening: undefined }
      this.#seats.set(id, seat)
      seat.opening = this.#open(id, seat)
    }
    seat.unsubscribed = false
    await seat.opening
  }

  #idOf (filter: string): string { return `${this.#session.user}/${filter}` }

  async #open (id: string, seat: Seat): Promise<void> {
    try {
      seat.share = await this.#shares.enter(this.#session.user, seat.filter)
    } catch (err) {
      this.#seats.delete(id)
      throw err
    }
    this.#wantNoMore(id)
    if (this.#session.closed || seat.unsubscribed) this.#leave(id, seat)
  }

  /** A kept subscription has no place in its share: it gets one when there is one. */
  want (filter: string): void {
    if (this.#session.closed) return
    const attempt = async () => await this.#tryAgain(filter)
    this.#wanted.set(this.#idOf(filter), attempt)
    this.#shares.waitlist.add(this.#idOf(filter), attempt)
  }

  #wantNoMore (id: string): void {
    const attempt = this.#wanted.get(id)
    if (attempt === undefined) return
    this.#wanted.delete(id)
    this.#shares.waitlist.delete(id, attempt)
  }

  async #tryAgain (filter: string): Promise<boolean> {
    try {
      await this.enter(filter)
    } catch (err) {
      if (err instanceof Refusal) return false
      this.#client.fail(err as Error)
      return true
    }
    const id = this.#idOf(filter)
    const seat = this.#seats.get(id)
    if (seat !== undefined) this.#join(id, seat)
    return true
  }

  /** From now on it is dealt to. */
  start (): void {
    for (const [id, seat] of this.#seats) this.#join(id, seat)
  }

  #join (id: string, seat: Seat): void {
    if (this.#session.closed || seat.share === undefined || seat.unsubscribed) return
    seat.hand ??= new MqttHand(this.#client, this.#session, this.#sink, id, seat.filter)
    seat.member = seat.share.join(seat.hand, seat.member)
  }

  /** UNSUBSCRIBE: what is under way is the connection's until it is acknowledged [MQTT-3.10.4-3]. */
  retire (filter: string): void {
    const id = this.#idOf(filter)
    this.#wantNoMore(id)
    const seat = this.#seats.get(id)
    if (seat === undefined) return
    seat.unsubscribed = true
    if (seat.member !== undefined) seat.share?.retire(seat.member)
    this.#settle(id, seat)
  }

  /** Who has unsubscribed and holds nothing has no place any more. */
  #settle (id: string, seat: Seat): void { if (seat.share !== undefined && seat.unsubscribed && (seat.member?.held.size ?? 0) === 0) this.#leave(id, seat) }

  #leave (id: string, seat: Seat): void {
    this.#seats.delete(id)
    if (seat.member !== undefined) seat.share?.gone(seat.member)
    this.#shares.left(this.#session.user, seat.filter, seat.unsubscribed)
  }

  acknowledged (stream: string, seq: number): void {
    const seat = this.#seats.get(stream)
    if (seat?.member !== undefined) {
      seat.share?.acknowledged(seat.member, seq)
      this.#settle(stream, seat)
    }
    this.wake()
  }

  wake (): void { for (const { member, share } of this.#seats.values()) if (member !== undefined) share?.wake() }

  close (): void {
    for (const id of [...this.#wanted.keys()]) this.#wantNoMore(id)
    // One that is being opened is left when it is open.
    for (const [id, seat] of [...this.#seats]) if (seat.share !== undefined) this.#leave(id, seat)
  }
}

/** A connection's place in one share. */
class MqttHand implements Hand {
  readonly #client: MemberClient
  readonly #session: Session
  readonly #sink: MqttSink
  readonly #filter: string
  /** What it is dealt is in its session's window as this one's. */
  readonly #dealt: Stream

  constructor (client: MemberClient, session: Session, sink: MqttSink, share: string, filter: string) {
    this.#client = client
    this.#session = session
    this.#sink = sink
    this.#filter = filter
    this.#dealt = uncounted(session, share)
  }

  get id (): string { return this.#session.id }
  get kept (): boolean { return this.#session.persistent }
  get crowded (): boolean { return this.#session.closed || this.#sink.crowded }
  get room (): number { return this.crowded ? 0 : this.#session.free }

  take (stream: Stream, entry: Entry, ticket: number, again: boolean, leftMs: number | undefined): 'dealt' | 'over' | 'refused' {
    const { interest } = this.#session
    const qos = interest.granted(this.#filter) ?? 0
    if (!this.#sink.deal(stream, entry, { share: this.#dealt.id, ticket, qos, again, leftMs, identifier: interest.identifier(this.#filter) })) return 'refused'
    if (qos === 0) return 'over'
    this.#session.hold(this.#dealt, ticket)
    return 'dealt'
  }

  notice (payload: Uint8Array): void { this.#sink.notice(payload) }
  fail (err: Error): void { this.#client.fail(err) }
  cutOff (): void { this.#client.close({ reason: disconnectReasons.administrative, why: 'held the oldest message of a shared subscription for too long' }) }
}

/** Makes a session that goes on a member again of the shares of these filters. */
export async function takeSeats (client: ReturningClient, shares: OpenShares, filters: readonly string[], log: Logger): Promise<void> {
  const { session, sink } = client
  if (session === undefined || sink === undefined || session.closed) return
  const memberships = Memberships.of(client, session, sink, shares)
  for (const filter of filters) {
    try {
      await memberships.enter(filter)
    } catch (err) {
      if (!(err instanceof Refusal)) throw err
      log.warn({ session: session.id, filter, reason: err.message }, 'a kept shared subscription has no place for its session')
      if (err.code !== 'forbidden') memberships.want(filter)
    }
  }
  memberships.start()
}
