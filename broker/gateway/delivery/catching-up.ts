import type { Shared } from './shared.ts'
import type { Entry, Stream } from './stream.ts'

const readBytes = 65536
/** Messages of one read for a device that keeps up with its backlog. */
const maxReadAhead = 128
/** What was read ahead is kept this long. */
const aheadMs = 1000

/** The session, as catching up needs it. */
export interface Follower {
  readonly user: string
  readonly closed: boolean
  /** Entries that the window has room for, and has room for when it is empty. */
  readonly free: number
  readonly capacity: number
  readonly crowded: boolean
  send (stream: Stream, entry: Entry): void
  /** Entries of the stream have been sent. */
  advanced (stream: Stream): void
  /** Numbers that were looked at were not for this user. */
  skipped (stream: Stream): void
  /** A stream is not behind any more. */
  caughtUp (): void
  fail (err: Error): void
}

/** A page of a stream's log, of which `at` entries were sent. `head` is the stream's when the page was asked for. */
interface Ahead { stream: Stream, entries: readonly Entry[], at: number, last: number, head: number }

/** The streams of a session that are behind, and what is read of them from the log. */
export class CatchingUp {
  readonly #session: Follower
  readonly #shared: Pick<Shared, 'engine' | 'pauses' | 'recent' | 'later' | 'steady'>
  #behind: Stream[] = []
  /** The store does not know yet what was heard of them. */
  readonly #waiting = new Set<Stream>()
  #reading = false
  #running = false
  #again = false
  #woken = false
  #ahead: Ahead | undefined
  #aheadAt = 0
  #readAhead = 0
  readonly #goOn = (): void => {
    this.#woken = false
    this.catchUp()
  }

  constructor (session: Follower, shared: Pick<Shared, 'engine' | 'pauses' | 'recent' | 'later' | 'steady'>) {
    this.#session = session
    this.#shared = shared
  }

  /** Streams that are behind. */
  get count (): number { return this.#behind.length + this.#waiting.size }

  queue (stream: Stream): void {
    if (stream.queued || stream.closed) return
    stream.queued = true
    this.#behind.push(stream)
    this.catchUp()
  }

  /** Reads on of a stream that waits for the store. */
  again (stream: Stream): void {
    if (!this.#waiting.delete(stream)) return
    stream.queued = false
    this.queue(stream)
  }

  /** Reads on at the end of this turn: the acknowledgements of one read make room for one step, not for one each. */
  wake (): void {
    if (this.#woken) return
    this.#woken = true
    this.#shared.later(this.#goOn)
  }

  /** Reads on for the streams that are behind, in turn, as far as window and sink have room. */
  catchUp (): void {
    // What is sent here may make it call itself: a page of what needs no room in the window is followed by the next one at once.
    this.#again = true
    if (this.#running) return
    this.#running = true
    try {
      while (this.#again) {
        this.#again = false
        this.#step()
      }
    } finally {
      this.#running = false
    }
  }

  #step (): void {
    const session = this.#session
    if (session.closed || this.#reading) return
    while (this.#behind.length > 0 && (this.#behind[0] as Stream).closed) this.#behind.shift()
    const stream = this.#behind[0]
    if (stream === undefined || session.free === 0 || session.crowded) return
    if (this.#ahead?.stream === stream) return this.#deliver(this.#ahead)
    this.#ahead = undefined
    const kept = this.#shared.recent.after(stream.id, stream, maxReadAhead, readBytes)
    if (kept !== undefined) return this.#deliver({ stream, entries: kept, at: 0, last: (kept.at(-1) as Entry).seq, head: stream.head })
    if (!this.#shared.pauses.holds(this)) this.#read(stream)
  }

  #read (stream: Stream): void {
    const session = this.#session
    this.#reading = true
    const { head } = stream
    // A device that takes what it gets is read ahead for; the first read brings no more than it has room for.
    const limit = Math.max(session.free, this.#readAhead)
    this.#shared.engine.read({ user: session.user, stream: stream.id, after: stream.sentTo, limit, maxBytes: readBytes }).then(page => {
      this.#reading = false
      this.#shared.pauses.wasRead(page.entries.length)
      if (session.closed) return
      if (!stream.closed) this.#deliver({ stream, entries: page.entries, at: 0, last: page.last, head })
      this.catchUp()
    }).catch((err: Error) => {
      this.#reading = false
      session.fail(err)
    })
  }

  /** Sends of a page what there is room for; the stream is the first of those that are behind. */
  #deliver (page: Ahead): void {
    const session = this.#session
    const { stream, entries, head } = page
    while (page.at < entries.length) {
      if ((stream.qos === 1 && session.free === 0) || session.crowded) {
        this.#ahead = page
        this.#aheadAt = this.#shared.steady()
        return session.advanced(stream)
      }
      session.send(stream, entries[page.at++] as Entry)
    }
    this.#ahead = undefined
    this.#readAhead = Math.min(Math.max(this.#readAhead, session.capacity) * 2, maxReadAhead)
    const before = stream.sentTo
    stream.sentTo = Math.max(before, page.last)
    if (stream.sentTo > before) session.skipped(stream)
    session.advanced(stream)
    this.#behind.shift()
    stream.queued = false
    const isOlder = entries.length === 0 && stream.sentTo === before && stream.head === head
    if (stream.sentTo >= stream.head) this.#shared.recent.done(stream.id, stream)
    if (stream.sentTo < stream.head && !stream.closed && isOlder) this.#wait(stream)
    else if (stream.sentTo < stream.head) this.queue(stream)
    else if (this.#behind.length === 0) this.#readAhead = 0
    session.caughtUp()
    this.#again = true
  }

  /** The store has not got what was heard: the stream goes on when it has, and not beyond it. Nobody waits for its reader. */
  #wait (stream: Stream): void {
    stream.queued = stream.excused = true
    this.#waiting.add(stream)
  }

  /**
   * To be called about once a second: asks the store again for what it did not have, and forgets what was read ahead for a device that has taken
   * nothing for a while (it costs a read when it does again).
   */
  trim (now: number): void {
    for (const stream of [...this.#waiting]) this.again(stream)
    if (this.#ahead === undefined || now - this.#aheadAt < aheadMs) return
    this.#ahead = undefined
    this.#readAhead = 0
  }

  close (): void {
    this.#behind = []
    this.#waiting.clear()
  }
}
