/** One who reads without MQTT: a session of the delivery that is kept nowhere, whose place goes with what it is sent. */
import type { Code } from '../../errors.ts'
import type { Engine } from '../../link/port.ts'
import { placeName, type Position } from '../../link/position.ts'
import type { Topics } from '../../topics.ts'
import { valueOf } from '../connection/failure.ts'
import type { Pump } from '../delivery/pump.ts'
import { Session } from '../delivery/session.ts'
import type { Sink } from '../delivery/sink.ts'
import type { Entry, Stream, StreamKind } from '../delivery/stream.ts'
import type { Few } from '../../few.ts'
import type { Traffic } from '../traffic.ts'
import { Places } from './places.ts'

/** Milliseconds within which all is said, where nothing is known yet. */
const unknownMs = 20_000

/** Why it ends. `moved`: there is more to go on from than an id holds. */
export type StreamEnd = Code | 'moved'

/** Where a reader's entries go. Calls come one by one, and `Reader` is not to be called from within them. */
export interface Outlet {
  /** It takes nothing more at the moment; `Reader.wake` is called when that is over. */
  readonly crowded: boolean
  /** `payload` is only lent. `id`: where the reader is behind this. */
  entry (kind: 'message' | 'event', payload: Uint8Array, id: string): void
  notice (payload: Uint8Array): void
  /** All that there was is delivered. */
  rested (): void
  /** Called about once a second, with the time of a clock that only goes forward. */
  tick (now: number): void
  /** Nothing comes any more; `id`: from where to go on. */
  end (why: StreamEnd, id: string): void
}

/** Who reads. `until`: when what let them in ends, milliseconds since the epoch. `grant`: the login that it is of. */
export interface Signed { readonly user: string, until?: number | undefined, readonly grant?: string | undefined }

export interface ReaderContext {
  readonly engine: Pick<Engine, 'openSession' | 'closeSession' | 'hangUp'>
  readonly pump: Pump
  readonly opening: Few
  readonly topics: Topics
  readonly traffic: Traffic
  readonly window: number
  /** What it failed by is for the log. */
  failed (err: Error, user: string): void
  left (reader: Reader): void
}

export class Reader implements Sink {
  readonly signed: Signed
  readonly #context: ReaderContext
  readonly #outlet: Outlet
  readonly #places: Places
  readonly #session: Session
  #opened = false
  #ended = false
  /** There is no place for what is delivered: it is told where to go on at once. */
  #moved = false
  compact = false
  readonly unheard = false

  /** `position`: where it goes on; without it, with what comes from now on. */
  constructor (context: ReaderContext, outlet: Outlet, name: string, signed: Signed, position: Position | undefined) {
    const { pump, window } = context
    this.#context = context
    this.#outlet = outlet
    this.signed = signed
    const now = pump.now()
    this.#places = new Places(position ?? { time: this.#whole, places: new Map() }, now)
    this.#session = new Session(pump, this, { id: name, user: signed.user, expirySeconds: 0, window })
  }

  /** Where it is. */
  get id (): string { return this.#places.toString() }
  get ended (): boolean { return this.#ended }
  /** It has been sent all that there is. */
  get isRested (): boolean { return this.#opened && this.#session.rested }

  get crowded (): boolean { return this.#outlet.crowded }

  /** Begins to deliver. */
  open (): void {
    const { opening } = this.#context
    opening.enter(() => {
      this.#open().catch((err: Error) => { this.fail(err) }).finally(() => { opening.leave() })
    })
  }

  async #open (): Promise<void> {
    const { engine, pump, topics } = this.#context
    if (this.#ended) return
    const session = this.#session
    const { id, user } = session
    valueOf(await engine.openSession({ session: id, user, clientId: id.slice(user.length + 1), cleanStart: true, expirySeconds: 0 }))
    this.#opened = true
    if (this.#ended) return this.#close()
    for (const filter of [topics.inbox(user), topics.event(user), topics.notice(user), topics.group('+')]) {
      const means = topics.filter(filter, user)
      if (means !== undefined) session.interest.set(filter, means, 1)
    }
    pump.add(session)
    session.applyInterest()
  }

  position (): Position { return this.#places.position }

  label (_kind: StreamKind, id: string): Buffer { return Buffer.from(placeName(id), 'latin1') }

  deliver (stream: Stream, entry: Entry): boolean {
    if (this.#ended || this.#moved) return false
    const { pump, traffic } = this.#context
    // What was said before that time has all been delivered, or something would be behind.
    if (this.#session.rested) this.#places.advance(pump.wholeMs)
    const name = (stream.label as Buffer).toString('latin1')
    if (!this.#places.move(name, entry.seq, pump.now())) {
      this.#moved = true
      pump.later(() => { this.end('moved') })
      return false
    }
    traffic.sent++
    this.#outlet.entry(stream.kind === 'event' ? 'event' : 'message', entry.payload, this.id)
    return false
  }

  notice (payload: Uint8Array): void { if (!this.#ended) this.#outlet.notice(payload) }

  rested (): void { if (!this.#ended) this.#outlet.rested() }

  /** There is room again. */
  wake (): void { if (!this.#ended) this.#session.catchUp() }

  /** About once a second. `now`: the server's time; `steady`: of a clock that only goes forward. */
  tick (now: number, steady: number): void {
    if (this.signed.until !== undefined && this.signed.until <= now) return this.end('unauthorized')
    this.#session.trim(steady)
    this.#outlet.tick(steady)
  }

  fail (err: Error): void {
    if (this.#ended) return
    this.#context.failed(err, this.signed.user)
    this.end('unavailable')
  }

  /** Nothing is delivered any more. Safe to call twice. */
  end (why: StreamEnd): void {
    if (this.#ended) return
    const { id } = this
    this.leave()
    this.#outlet.end(why, why === 'moved' ? this.#fresh() : id)
  }

  /** The same, of one who has gone. */
  leave (): void {
    if (this.#ended) return
    this.#ended = true
    this.#context.left(this)
    if (this.#opened) this.#close()
  }

  #fresh (): string { return new Places({ time: this.#whole, places: new Map() }, 0).toString() }

  /** What was stamped before has been said, as far as is known. */
  get #whole (): number {
    const { pump } = this.#context
    return Math.min(pump.now(), pump.wholeMs === -Infinity ? pump.now() - unknownMs : pump.wholeMs)
  }

  #close (): void {
    const { engine, pump } = this.#context
    const session = this.#session
    pump.remove(session)
    session.close()
    engine.hangUp(session.id, false)
    engine.closeSession({ session: session.id, expirySeconds: 0, graceful: false, inflight: [], proven: 0 }).catch((err: Error) => { this.#context.failed(err, session.user) })
  }
}
