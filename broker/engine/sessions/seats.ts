/**
 * One connection of a session over all servers that share the store: who opens one has another server end its own first, and gives way to who opens
 * one later. Sessions are asked for outside of the queue of their user: two servers may each wait for a session of one user at the other one.
 */
import { randomBytes } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import { Refusal } from '../../errors.ts'
import type { SessionResume } from '../../link/port.ts'
import type { Holder, Others, Released, Seat } from '../../link/remote.ts'
import type { TimeMs } from '../../store/store.ts'
import type { EngineHost } from '../host.ts'
import { userOf } from './user-of.ts'

/** A session with a connection here. */
export interface Taken extends Seat {
  /** In the store, with its cursors. */
  readonly persistent: boolean
  readonly share: boolean
  /** When it was opened: `openedAt` is when that began. */
  readonly since: TimeMs
  /** Who waits for its end. */
  waiting?: Array<() => void>
}

/** A session on its way to one. */
export interface Opening {
  readonly seat: Seat
  readonly share: boolean
  /** Servers that were asked to end their connection. */
  readonly asked: Set<string>
  /** One of them had one. */
  tookOver: boolean
  /** It goes on at another server. */
  lost: boolean
  /** Resolves when it is lost: what it waits for is not waited for any more. */
  readonly givesWay: Promise<void>
  lose (): void
}

/** The session is connected at another server, which was not asked yet. */
export interface Elsewhere { elsewhere: Holder }

/** Claims that are looked at at the same time. */
const looks = 100

export class Seats {
  readonly #host: Pick<EngineHost, 'emit' | 'now' | 'remote'>
  readonly #settled: (user: string) => Promise<void>
  readonly #taken = new Map<string, Taken>()
  /** Of each user, those of them that are shares. */
  readonly #shares = new Map<string, Set<string>>()
  readonly #opening = new Map<string, { opening: Opening, over: Promise<void> }>()
  /** Connections are told apart by it and their number: also from those of an earlier start. */
  readonly #epochs = randomBytes(9).toString('base64url')
  #opened = 0
  #round: Promise<void> | undefined
  #again = false

  /** `settled` resolves when what was begun with the sessions of a user is done. */
  constructor (host: Pick<EngineHost, 'emit' | 'now' | 'remote'>, settled: (user: string) => Promise<void>) {
    this.#host = host
    this.#settled = settled
  }

  get (session: string): Taken | undefined { return this.#taken.get(session) }
  has (session: string): boolean { return this.#taken.has(session) }

  /** Users with a connection here. */
  users (): Set<string> { return new Set([...this.#taken.keys()].map(userOf)) }

  /** Shares of a user that are open here. */
  sharesOf (user: string): number { return this.#shares.get(user)?.size ?? 0 }

  take (taken: Taken): void {
    const { session, share } = taken
    this.#taken.set(session, taken)
    if (!share) return
    const user = userOf(session)
    this.#shares.set(user, (this.#shares.get(user) ?? new Set()).add(session))
  }

  /** The connection has ended, and that is stored as far as it can be. */
  leave (session: string): void {
    const taken = this.#taken.get(session)
    if (taken === undefined) return
    this.#taken.delete(session)
    if (taken.share) this.#leaveShare(session)
    else this.#host.remote?.others.leave(taken)
    for (const resolve of taken.waiting ?? []) resolve()
  }

  #leaveShare (session: string): void {
    const user = userOf(session)
    const shares = this.#shares.get(user)
    if (shares?.delete(session) === true && shares.size === 0) this.#shares.delete(user)
  }

  /** Has `open` take the session, as often as it is found at another server. Throws `Refusal` (`unavailable`) when another one takes it meanwhile. */
  async open (session: string, share: boolean, open: (opening: Opening) => Promise<SessionResume | Elsewhere>): Promise<SessionResume> {
    const seat = { session, epoch: `${this.#epochs}.${(++this.#opened).toString(36)}`, openedAt: this.#host.now() }
    const opening = openingOf(seat, share)
    const others = this.#host.remote?.others
    if (others === undefined) return await open(opening) as SessionResume
    const opened = this.#open(opening, others, open)
    const over = opened.then(() => {}, () => { /* told to who asked */ })
    this.#opening.set(session, { opening, over })
    try {
      return await opened
    } catch (error) {
      if (!share) others.leave(seat)
      throw error
    } finally {
      if (this.#opening.get(session)?.opening === opening) this.#opening.delete(session)
    }
  }

  /** Throws `Refusal` when another server has taken the session meanwhile. */
  check ({ lost }: Opening): void { if (lost) throw new Refusal('unavailable', 'the session goes on at another server') }

  async #open (opening: Opening, others: Others, open: (opening: Opening) => Promise<SessionResume | Elsewhere>): Promise<SessionResume> {
    const { seat, share } = opening
    // A share is taken over by nobody: who has it keeps it.
    let holder = share ? undefined : await others.claim(seat)
    for (;;) {
      if (holder !== undefined) {
        opening.asked.add(holder.node)
        const released = await Promise.race([others.release(seat.session, holder), opening.givesWay])
        if (released?.ended === true) opening.tookOver = true
        if (released?.doubts !== undefined) this.#host.remote?.adopt(seat.session, released.doubts)
      }
      this.check(opening)
      const resume = await open(opening)
      if (!('elsewhere' in resume)) return opening.tookOver ? { ...resume, takenOver: true } : resume
      holder = resume.elsewhere
    }
  }

  /** `Remote.release` */
  async release (session: string, epoch: string | undefined): Promise<Released> {
    const own = this.#opening.get(session)
    if (own !== undefined && own.opening.seat.epoch === epoch) {
      own.opening.lose()
      await own.over
      // Whoever waits for the answer to the opening has it by then.
      await turn()
    }
    const taken = this.#taken.get(session)
    if (taken === undefined || (epoch !== undefined && taken.epoch !== epoch)) {
      await this.#settled(userOf(session))
      if (!this.#taken.has(session) && !this.#opening.has(session)) await this.#cutOff(session)
      return { ended: false, ...this.#doubts(session) }
    }
    await this.#end(taken)
    return { ended: true, ...this.#doubts(session) }
  }

  /** What an earlier connection of it has left here: what its client sends again at the next server would be stored beside it. */
  async #cutOff (session: string): Promise<void> {
    const { remote } = this.#host
    remote?.cut(userOf(session), session)
    await remote?.settled(session)
  }

  #doubts (session: string): Pick<Released, 'doubts'> {
    const doubts = this.#host.remote?.doubts(session) ?? []
    return doubts.length === 0 ? {} : { doubts }
  }

  /** Ends a connection here as one that is taken over; what it brought is committed or refused when it resolves. */
  async #end (taken: Taken): Promise<void> {
    const { session } = taken
    const ended = new Promise<void>(resolve => { (taken.waiting ??= []).push(resolve) })
    this.#host.emit([{ kind: 'kick', user: userOf(session), session, code: 'taken_over' }])
    await ended
    // Its will may come behind its end, in the same turn.
    await turn()
    await this.#host.remote?.settled(session)
  }

  /** What of the session waits with others' patience would overtake what its client sends at the next server. To be called when its end comes. */
  ending (session: string): void {
    if (this.#taken.get(session)?.waiting !== undefined) this.#host.remote?.cut(userOf(session), session)
  }

  /** `Remote.recheck` */
  recheck (): Promise<void> {
    if (this.#round !== undefined) this.#again = true
    this.#round ??= this.#recheck().finally(() => { this.#round = undefined })
    return this.#round
  }

  async #recheck (): Promise<void> {
    const others = this.#host.remote?.others
    if (others === undefined) return
    do {
      this.#again = false
      await Promise.all([...this.#opening.values()].map(({ over }) => over))
      const all = [...this.#taken.values()].filter(({ share }) => !share)
      for (let at = 0; at < all.length; at += looks) await Promise.all(all.slice(at, at + looks).map(one => this.#keep(one, others)))
    } while (this.#again)
  }

  async #keep (taken: Taken, others: Others): Promise<void> {
    const { session, epoch, openedAt } = taken
    const isHere = (): boolean => this.#taken.get(session) === taken
    if (!isHere()) return
    const { mine, holder } = await others.keep({ session, epoch, openedAt })
    if (!isHere()) {
      // It has ended meanwhile, and the claim was made behind that.
      if (mine) others.leave(taken)
    } else if (!mine) this.#host.emit([{ kind: 'kick', user: userOf(session), session, code: 'taken_over' }])
    else if (holder !== undefined) await others.release(session, holder)
  }
}

function openingOf (seat: Seat, share: boolean): Opening {
  let lose = (): void => {}
  const givesWay = new Promise<void>(resolve => { lose = resolve })
  const opening: Opening = {
    seat,
    share,
    asked: new Set(),
    tookOver: false,
    lost: false,
    givesWay,
    lose () {
      opening.lost = true
      lose()
    }
  }
  return opening
}
