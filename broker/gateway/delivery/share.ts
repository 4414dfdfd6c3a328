import type { Engine } from '../../link/port.ts'
import { oldestOf, type Deal, type Hand, type Member } from './member.ts'
import { entriesAt, type Place } from './resend.ts'
import { senderOf } from './sender.ts'
import type { Session } from './session.ts'
import type { Sink } from './sink.ts'
import { Stream, streamKind, type Entry, type StreamKind } from './stream.ts'

/** Of what was given back, so many are read at once. */
const handful = 64
/** Of those that had an entry, so many are remembered over the end of a share: for more a row would grow. */
const mostHad = 4

/** An entry that nobody has acknowledged, and the kept sessions that had it. */
export interface LeftPlace extends Place { had?: readonly string[] }

export interface ShareOptions {
  user: string
  engine: Pick<Engine, 'read'>
  /** The topic's bytes of a stream. */
  label: (kind: StreamKind, id: string) => Uint8Array
  /** Runs a function at the end of this turn of the event loop. */
  later: (run: () => void) => void
  /** It deals no more. */
  failed: () => void
  /** Milliseconds since the epoch. */
  now: () => number
  /** Milliseconds of a clock that only goes forward. */
  steady: () => number
  /** A member that holds the oldest entry and has acknowledged nothing for so long, while the others wait for it, is cut off, milliseconds. */
  holdTimeoutMs: number
}

/**
 * The sink of a share: a session that several connections of one user read together (ADR 21). Each entry goes to the member with most room,
 * among equals to the one that has waited longest; what a member leaves unacknowledged goes to others, before anything else.
 */
export class Share implements Sink {
  readonly unheard = false
  compact = false
  readonly #options: ShareOptions
  #session: Session | undefined
  /** By session. Who was dealt something last is the last one. */
  readonly #members = new Map<string, Member>()
  /** Are members no more, and have what they were dealt until they acknowledge it or their connection ends [MQTT-3.10.4-3]. */
  readonly #former = new Set<Member>()
  /** Given back, in the order of their turns. They are in the session's window. */
  #waiting: Deal[] = []
  /** One for which only members without room are left. */
  #refused: { readonly deal: Deal, readonly by: ReadonlySet<Member>, /** it may be otherwise now */ stale: boolean } | undefined
  #tickets = 0
  #order = 0
  #reading = false
  #woken = false
  #failed: Error | undefined

  constructor (options: ShareOptions) { this.#options = options }

  get session (): Session {
    if (this.#session === undefined) throw new Error('the share has no session yet')
    return this.#session
  }

  /** Its session, with what that had left unacknowledged when it ended. */
  begin (session: Session, left: readonly LeftPlace[]): void {
    this.#session = session
    session.restore(left)
    this.#waiting = left.map(({ stream, seq, had }) => ({ stream, seq, order: ++this.#order, at: 0, had: had === undefined ? undefined : new Set(had) }))
  }

  /** What nobody has acknowledged, in the order of sending. */
  get left (): LeftPlace[] {
    const had = new Map<string, readonly string[]>()
    const note = ({ stream, seq, had: sessions }: Deal, last: string[] = []): void => {
      const all = [...sessions ?? [], ...last]
      if (all.length > 0) had.set(`${seq} ${stream}`, all.slice(-mostHad))
    }
    for (const deal of this.#waiting) note(deal)
    for (const { hand, held } of [...this.#members.values(), ...this.#former]) for (const deal of held.values()) note(deal, hand.kept ? [hand.id] : [])
    return this.session.unacknowledged().map(({ stream, seq }) => {
      const sessions = had.get(`${seq} ${stream}`)
      return { stream, seq, ...sessions !== undefined && { had: sessions } }
    })
  }

  get crowded (): boolean { return this.#waiting.length > 0 || this.#best() === undefined }

  label (kind: StreamKind, id: string): Uint8Array { return this.#options.label(kind, id) }

  deliver (stream: Stream, entry: Entry, _again: boolean, leftMs: number | undefined): boolean {
    if (this.#isCopy(stream, entry)) return false
    const deal: Deal = { stream: stream.id, seq: entry.seq, order: ++this.#order, at: 0, had: undefined }
    const outcome = this.#deal(deal, stream, entry, leftMs)
    if (outcome === 'later') this.#waiting.push(deal)
    return outcome !== 'over'
  }

  /** What the user has said: it is no work for anybody, but for a message to oneself. */
  #isCopy ({ id, kind }: Stream, { payload }: Entry): boolean {
    if (kind === 'event') return false
    const { user } = this.#options
    if (kind === 'direct' && id === `d:${user}:${user}`) return false
    return senderOf(payload) === user
  }

  /** `over`: nobody need hear of it any more. `later`: nobody has room who might take it. */
  #deal (deal: Deal, stream: Stream, entry: Entry, leftMs: number | undefined): 'dealt' | 'over' | 'later' {
    const refused = new Set<Member>()
    for (;;) {
      const member = this.#best(refused)
      if (member === undefined) {
        if (refused.size > 0 && refused.size === this.#members.size) return 'over'
        this.#refused = { deal, by: refused, stale: false }
        return 'later'
      }
      const { hand, held } = member
      const ticket = ++this.#tickets
      const outcome = hand.take(stream, entry, ticket, deal.had?.has(hand.id) === true, leftMs)
      if (outcome === 'refused') {
        refused.add(member)
        continue
      }
      this.#isLast(member)
      if (outcome === 'over') return 'over'
      deal.at = this.#options.steady()
      held.set(ticket, deal)
      return 'dealt'
    }
  }

  /** The member has got something: its turn comes after all others'. */
  #isLast (member: Member): void {
    this.#members.delete(member.hand.id)
    this.#members.set(member.hand.id, member)
  }

  /** The member with most room; among equals the one that has waited longest. */
  #best (except?: ReadonlySet<Member>): Member | undefined {
    let best: Member | undefined
    let most = 0
    for (const member of this.#members.values()) {
      const { room } = member.hand
      if (room > most && except?.has(member) !== true) [best, most] = [member, room]
    }
    return best
  }

  /** `known`: it is a member, or was one. */
  join (hand: Hand, known?: Member): Member {
    const member = known ?? { hand, held: new Map<number, Deal>(), heardAt: 0 }
    this.#former.delete(member)
    this.#members.set(hand.id, member)
    if (this.#failed !== undefined) hand.fail(this.#failed)
    else this.#look()
    return member
  }

  /** The member is to get nothing more; what it has it keeps. */
  retire (member: Member): void {
    this.#members.delete(member.hand.id)
    if (member.held.size > 0) this.#former.add(member)
    this.#look()
  }

  /** The member's connection is over. */
  gone (member: Member): void {
    const { hand, held } = member
    if (this.#members.get(hand.id) === member) this.#members.delete(hand.id)
    this.#former.delete(member)
    for (const deal of held.values()) if (hand.kept) (deal.had ??= new Set()).add(hand.id)
    this.#waiting = [...this.#waiting, ...held.values()].sort((a, b) => a.order - b.order)
    held.clear()
    this.#look()
  }

  /** The member has what it was dealt with this ticket. */
  acknowledged (member: Member, ticket: number): void {
    const deal = member.held.get(ticket)
    if (deal === undefined) return
    member.held.delete(ticket)
    member.heardAt = this.#options.steady()
    if (member.held.size === 0) this.#former.delete(member)
    this.session.acknowledge(deal.stream, deal.seq)
  }

  /** Deals on, also what was refused. */
  #look (): void {
    if (this.#refused !== undefined) this.#refused.stale = true
    this.wake()
  }

  /** Deals on at the end of this turn: there may be room. */
  wake (): void {
    if (this.#woken || (this.#waiting.length === 0 && this.session.behindCount === 0)) return
    this.#woken = true
    this.#options.later(() => {
      this.#woken = false
      if (this.session.closed) return
      if (this.#waiting.length > 0) this.#dealAgain()
      else this.session.catchUp()
    })
  }

  #dealAgain (): void {
    const refused = this.#refused
    const mayTake = this.#best(refused?.stale === false && refused.deal === this.#waiting[0] ? refused.by : undefined)
    if (this.#reading || mayTake === undefined) return
    this.#reading = true
    const { engine, user } = this.#options
    let room = 0
    for (const { hand } of this.#members.values()) room += hand.room
    const deals = this.#waiting.slice(0, Math.min(room, handful))
    entriesAt(engine, user, deals, () => this.session.closed).then(found => {
      this.#reading = false
      if (!this.session.closed && this.#dealThese(deals, found)) this.wake()
    }).catch((err: Error) => {
      this.#reading = false
      this.fail(err)
    })
  }

  /** False when nobody has room for the next one. */
  #dealThese (deals: readonly Deal[], found: ReadonlyMap<string, ReadonlyMap<number, Entry>>): boolean {
    for (const deal of deals) {
      // One whose turn is earlier was given back meanwhile.
      if (this.#waiting[0] !== deal) return true
      const outcome = this.#dealOne(deal, found.get(deal.stream)?.get(deal.seq))
      if (outcome === 'later') return false
      this.#waiting.shift()
      if (outcome === 'over') this.session.acknowledge(deal.stream, deal.seq)
    }
    return true
  }

  /** `entry` is undefined when the user may not see it any more. */
  #dealOne (deal: Deal, entry: Entry | undefined): 'dealt' | 'over' | 'later' {
    if (entry === undefined) return 'over'
    const leftMs = entry.expiresAt === undefined ? undefined : entry.expiresAt - this.#options.now()
    if (leftMs !== undefined && leftMs <= 0) return 'over'
    const { session } = this
    const kind = streamKind(deal.stream)
    const stream = session.streams.get(deal.stream) ?? new Stream(session, deal.stream, kind, this.label(kind, deal.stream), 1, 0, 0)
    return this.#deal(deal, stream, entry, leftMs)
  }

  get deaf (): boolean { return this.#hearing === undefined }

  /** Notices are at QoS 0: they need no room, only a connection that takes what it is sent. The member that has waited longest. */
  get #hearing (): Member | undefined { for (const member of this.#members.values()) if (!member.hand.crowded) return member }

  notice (payload: Uint8Array): void {
    const member = this.#hearing
    if (member === undefined) return
    this.#isLast(member)
    member.hand.notice(payload)
  }

  /** The store failed: the members come back, to a share that is opened anew. */
  fail (err: Error): void {
    this.#failed = err
    this.#options.failed()
    for (const { hand } of [...this.#members.values(), ...this.#former]) hand.fail(err)
  }

  /** To be called about once a second, with the time of `steady`. */
  sweep (now: number): void {
    this.session.trim(now)
    this.#inTheWay(now)?.hand.cutOff()
    // What waits may have expired, or is not to be seen any more.
    this.#look()
  }

  /** Whoever keeps the others waiting and is silent. */
  #inTheWay (now: number): Member | undefined {
    const refused = this.#refused
    const isNext = refused !== undefined && refused.deal === this.#waiting[0]
    if (isNext && [...refused.by].some(member => this.#isReady(member))) return this.#mostOverdue(refused.by, now)
    const { session } = this
    if (session.free > 0 || (session.behindCount === 0 && this.#waiting.length === 0)) return undefined
    const oldest = oldestOf([...this.#members.values(), ...this.#former])
    if (oldest === undefined || !this.#isOverdue(oldest.member, oldest.deal, now)) return undefined
    return this.#best(new Set([oldest.member])) === undefined ? undefined : oldest.member
  }

  #isReady (member: Member): boolean { return this.#members.get(member.hand.id) === member && member.hand.room > 0 }

  /** Of the members but for those that refused what is next: with room it might take that. */
  #mostOverdue (refused: ReadonlySet<Member>, now: number): Member | undefined {
    const others = [...this.#members.values()].filter(member => !refused.has(member) && member.hand.room === 0)
    return oldestOf(others, (member, deal) => this.#isOverdue(member, deal, now))?.member
  }

  #isOverdue ({ heardAt }: Member, { at }: Deal, now: number): boolean { return now - Math.max(at, heardAt) > this.#options.holdTimeoutMs }

  /** Up to where streams were sent that their cursors have not reached. */
  get ahead (): Place[] {
    return [...this.session.streams.values()].filter(({ inflight }) => inflight > 0).map(({ id, sentTo }) => ({ stream: id, seq: sentTo }))
  }
}
