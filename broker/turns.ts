/** Pieces that one turn of the event loop runs at most, and milliseconds that they may take together. */
const defaults = { maxPieces: 32, budgetMs: 2 }
/** Others are sending when something was committed so short a time ago, milliseconds: those who are held up commit seldom. */
export const sendingMs = 50
/** Of what was done outside of pieces, most of the time may be spent waiting, and by many at the same time. */
const mostSpentMs = 5
/** A rest is as long as the work before it, within these milliseconds. */
const rest = { leastMs: 2, mostMs: 10 }

export interface TurnsOptions {
  maxPieces?: number
  budgetMs?: number
  /** Milliseconds, monotonic. */
  now?: () => number
  /** Runs a function in the next turn, after those that were given before. */
  later?: (run: () => void) => void
  /** Runs a function when all has run that follows in promises from what runs now. */
  after?: (run: () => void) => void
  /** True while others wait for more than the event loop: what waits rests between two turns then. */
  contended?: () => boolean
  /** Runs a function when the rest is over. */
  rested?: (run: () => void, restMs: number) => void
}

/** Ticks run when no microtask is left. */
function afterPromises (run: () => void): void { queueMicrotask(() => { process.nextTick(run) }) }

/**
 * Shares the event loop. Work that would hold it up comes in pieces; each turn runs a few of them, one of each key after the other,
 * and then looks at the sockets again. So a message waits for a few short pieces, whatever the others have asked for, and who asks
 * for much waits behind who asks for little.
 *
 * Each piece runs in an immediate of its own: what follows from it in promises runs before the next piece, and counts as its time.
 *
 * While messages are committed there is a rest between two turns: an event loop that is never idle has used its share of the core, and then
 * each step of everybody's messages waits for the threads of the store.
 */
export class Turns {
  readonly #queues = new Map<string, Array<() => void>>()
  readonly #maxPieces: number
  readonly #budgetMs: number
  readonly #now: () => number
  readonly #later: (run: () => void) => void
  readonly #after: (run: () => void) => void
  readonly #contended: () => boolean
  readonly #rested: (run: () => void, restMs: number) => void
  #resting = false
  /** Milliseconds of work since the last rest. */
  #usedMs = 0
  #size = 0
  /** Immediates of this turn that have not run. */
  #armed = 0
  /** When the first of this turn's pieces began. */
  #startedAt: number | undefined

  constructor ({ maxPieces = defaults.maxPieces, budgetMs = defaults.budgetMs, now = () => performance.now(), later = setImmediate, after = afterPromises, contended = () => false, rested = setTimeout }: TurnsOptions = {}) {
    this.#maxPieces = maxPieces
    this.#budgetMs = budgetMs
    this.#now = now
    this.#later = later
    this.#after = after
    this.#contended = contended
    this.#rested = rested
  }

  /** Pieces that wait. */
  get size (): number { return this.#size }

  /** Runs `piece` when it is the key's turn; pieces of one key run in the order of the calls. It must not throw. */
  add (key: string, piece: () => void): void {
    const queue = this.#queues.get(key)
    if (queue === undefined) this.#queues.set(key, [piece])
    else queue.push(piece)
    this.#size++
    // What comes while a turn's pieces run waits for the next turn.
    if (this.#startedAt === undefined && !this.#resting && this.#armed < this.#maxPieces) {
      this.#armed++
      this.#later(this.#step)
    }
  }

  /** What was done, or waited for, outside of pieces brings the next rest nearer. */
  spend (ms: number): void { this.#usedMs += Math.min(ms, mostSpentMs) }

  /** Resolves when it is the key's turn. */
  next (key: string): Promise<void> { return new Promise(resolve => { this.add(key, resolve) }) }

  readonly #step = (): void => {
    const now = this.#now()
    this.#startedAt ??= now
    this.#armed--
    if (now - this.#startedAt < this.#budgetMs) this.#run()
    if (this.#armed === 0) this.#after(this.#settle)
  }

  readonly #settle = (): void => {
    this.#usedMs += this.#now() - (this.#startedAt as number)
    this.#startedAt = undefined
    if (this.#usedMs < this.#budgetMs) return this.#arm()
    const restMs = Math.min(Math.max(this.#usedMs, rest.leastMs), rest.mostMs)
    this.#usedMs = 0
    if (!this.#contended()) return this.#arm()
    this.#resting = true
    this.#rested(() => {
      this.#resting = false
      this.#arm()
    }, restMs)
  }

  #arm (): void {
    this.#armed = Math.min(this.#size, this.#maxPieces)
    for (let i = this.#armed; i > 0; i--) this.#later(this.#step)
  }

  #run (): void {
    const next = this.#queues.entries().next()
    if (next.done === true) return
    const [key, queue] = next.value
    const piece = queue.shift()
    this.#size--
    // Whoever had a turn goes behind the others.
    this.#queues.delete(key)
    if (queue.length > 0) this.#queues.set(key, queue)
    piece?.()
  }
}
