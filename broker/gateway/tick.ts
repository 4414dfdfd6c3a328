import type { Engine, Submission } from '../link/port.ts'
import type { Intake } from './intake.ts'

/** What is left of the time of a long turn after the next one. */
const decay = 0.9
/** After so long without a turn the last ones say nothing. */
const staleMs = 500

/** Something with bytes to hand to the kernel. */
interface Flushable { flush (): void }

/**
 * Collects what one turn of the event loop brings: publishes go to the engine as one batch, and each connection's packets
 * go to the kernel in one write. Sockets are read in the loop's poll phase; the tick runs right after it.
 */
export class Tick {
  readonly #engine: Pick<Engine, 'submit'>
  readonly #intake: Intake | undefined
  #submissions: Submission[] = []
  #first: Array<() => void> = []
  #dirty: Flushable[] = []
  #scheduled: NodeJS.Immediate | undefined
  #running = false
  #scheduledAt = 0
  #ranAt = 0
  /** How long turns of the event loop take from their first packet on, milliseconds: the longest lately. */
  turnMs = 0
  readonly #run = (): void => { this.run() }

  /** `engine`: where publishes go. */
  constructor (engine: Pick<Engine, 'submit'>, intake?: Intake) {
    this.#engine = engine
    this.#intake = intake
  }

  submit (submission: Submission): void {
    this.#submissions.push(submission)
    this.#schedule()
  }

  /** Forgets what the session submitted this turn: what came before it failed, and it must not overtake that. */
  discard (session: string): Submission[] {
    const discarded = this.#submissions.filter(submission => submission.session === session)
    if (discarded.length > 0) this.#submissions = this.#submissions.filter(submission => submission.session !== session)
    return discarded
  }

  /** `run` is called at the end of this turn, before all that has been written goes to the kernel. */
  first (run: () => void): void {
    this.#first.push(run)
    this.#schedule()
  }

  /** `target.flush` is called at the end of this turn. The caller sees to it that it asks once. */
  flushLater (target: Flushable): void {
    this.#dirty.push(target)
    this.#schedule()
  }

  #schedule (): void {
    if (this.#scheduled !== undefined || this.#running) return
    this.#scheduledAt = performance.now()
    this.#scheduled = setImmediate(this.#run)
  }

  /** Does at once what is due. */
  run (): void {
    if (this.#scheduled !== undefined) clearImmediate(this.#scheduled)
    this.#scheduled = undefined
    this.#running = true
    try {
      const first = this.#first
      this.#first = []
      for (const run of first) run()
      if (this.#submissions.length > 0) {
        const batch = this.#submissions
        this.#submissions = []
        this.#engine.submit(batch)
      }
      this.#intake?.turned()
      const dirty = this.#dirty
      this.#dirty = []
      for (const target of dirty) target.flush()
    } finally {
      this.#running = false
    }
    const now = performance.now()
    this.turnMs = Math.max(now - this.#scheduledAt, now - this.#ranAt > staleMs ? 0 : this.turnMs * decay)
    this.#ranAt = now
    if (this.#first.length > 0 || this.#submissions.length > 0 || this.#dirty.length > 0) this.#schedule()
  }
}
