import type { OwnRuns } from '../../link/port.ts'
import type { Interest } from './interest.ts'
import type { Stream } from './stream.ts'

/** Runs of numbers that are kept; what was noted first goes first, and comes like any other message when it is read again. */
const maxRuns = 20_000
/** Of one session; they are in its row while it is away. */
const maxOfSession = 1_000
/** When there are too many, who has more than these gives one of its own. */
const few = 16

/** Numbers from the first to the last, both included. */
type Run = [first: number, last: number]
/** Of a session: ascending, by conversation; what was noted last is the last one of the map. */
interface Notes { readonly logs: Map<string, Run[]>, size: number }

/**
 * Which messages sessions with No Local have published themselves, until their cursors have passed them: until then they may be read from the log
 * again. The log knows the user of a message, not the device. They outlast a session, as it is the client id that counts [MQTT-3.8.3-3].
 */
export class OwnMessages {
  readonly #max: number
  readonly #maxOfSession: number
  /** By session; who has noted something last is the last one. */
  readonly #sessions = new Map<string, Notes>()
  #size = 0

  constructor (max = maxRuns, ofSession = maxOfSession) {
    this.#max = max
    this.#maxOfSession = ofSession
  }

  /** Runs that are kept. */
  get size (): number { return this.#size }

  /** The session has published these numbers of a conversation. */
  note (session: string, conv: string, first: number, last = first): void {
    const notes = this.#sessions.get(session) ?? { logs: new Map<string, Run[]>(), size: 0 }
    const runs = notes.logs.get(conv) ?? []
    this.#sessions.delete(session)
    this.#sessions.set(session, notes)
    notes.logs.delete(conv)
    notes.logs.set(conv, runs)
    this.#grow(session, notes, insert(runs, first, last))
    if (notes.size > this.#maxOfSession || (this.#size > this.#max && notes.size > few)) this.#dropOldest(session, notes)
    else if (this.#size > this.#max) this.#dropOldest(...this.#sessions.entries().next().value as [string, Notes])
  }

  has (session: string, conv: string, seq: number): boolean {
    for (const [first, last] of this.#sessions.get(session)?.logs.get(conv) ?? []) if (seq <= last) return seq >= first
    return false
  }

  /** The session is sent nothing up to this number of the conversation any more. */
  passed (session: string, conv: string, seq: number): void {
    const notes = this.#sessions.get(session)
    const runs = notes?.logs.get(conv)
    if (notes === undefined || runs === undefined) return
    let over = 0
    while (over < runs.length && (runs[over] as Run)[1] <= seq) over++
    const next = runs[over]
    if (next !== undefined && next[0] <= seq) next[0] = seq + 1
    this.#drop(session, notes, conv, over)
  }

  list (session: string): OwnRuns[] { return [...this.#sessions.get(session)?.logs ?? []].map(([conv, runs]) => ({ conv, runs: runs.map(([first, last]) => ({ first, last })) })) }

  #dropOldest (session: string, notes: Notes): void {
    const [oldest] = notes.logs.keys()
    if (oldest !== undefined) this.#drop(session, notes, oldest, 1)
  }

  /** The first ones of a conversation go. */
  #drop (session: string, notes: Notes, conv: string, count: number): void {
    const runs = notes.logs.get(conv) as Run[]
    runs.splice(0, count)
    if (runs.length === 0) notes.logs.delete(conv)
    this.#grow(session, notes, -count)
  }

  #grow (session: string, notes: Notes, more: number): void {
    notes.size += more
    this.#size += more
    if (notes.size === 0) this.#sessions.delete(session)
  }
}

/** What one session has published itself. */
export class Own {
  readonly #all: OwnMessages
  readonly #session: string
  readonly #interest: Pick<Interest, 'noLocal' | 'isOwnHidden'>

  constructor (all: OwnMessages, session: string, interest: Pick<Interest, 'noLocal' | 'isOwnHidden'>) {
    this.#all = all
    this.#session = session
    this.#interest = interest
  }

  /** The session has published a message of a conversation: filters with No Local do not bring it back. */
  published (conv: string, seq: number): void {
    if (this.#interest.isOwnHidden(conv)) this.#all.note(this.#session, conv, seq)
  }

  /** A filter with No Local brought the entry's conversation when the session published it. */
  has (stream: Stream, seq: number): boolean { return this.#interest.noLocal && this.#all.has(this.#session, convOf(stream), seq) }

  /** The stream's cursor has moved. */
  passed (stream: Stream): void { if (this.#interest.noLocal) this.#all.passed(this.#session, convOf(stream), stream.acked) }

  /** What the cursors have not passed, for the time that the session is away. */
  list (): OwnRuns[] { return this.#all.list(this.#session) }
  restore (list: readonly OwnRuns[]): void { for (const { conv, runs } of list) for (const { first, last } of runs) this.#all.note(this.#session, conv, first, last) }
}

function convOf ({ kind, id }: Stream): string { return kind === 'own' ? 'g' + id.slice(1) : id }

/** Adds numbers; mostly they follow the last ones. Returns how many runs more there are. */
function insert (runs: Run[], first: number, last: number): number {
  let to = runs.length
  while (to > 0 && (runs[to - 1] as Run)[0] > last + 1) to--
  let from = to
  while (from > 0 && (runs[from - 1] as Run)[1] >= first - 1) from--
  const touched = runs.slice(from, to)
  runs.splice(from, touched.length, [Math.min(first, ...touched.map(run => run[0])), Math.max(last, ...touched.map(run => run[1]))])
  return 1 - touched.length
}
