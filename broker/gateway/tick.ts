import type { Engine, Submission } from '../link/port.ts'

/** Something with bytes to hand to the kernel. */
interface Flushable { flush (): void }

/**
 * Collects what one turn of the event loop brings: publishes go to the engine as one batch, and each connection's packets
 * go to the kernel in one write. Sockets are read in the loop's poll phase; the tick runs right after it.
 */
export class Tick {
  readonly #engine: Pick<Engine, 'submit'>
  #submissions: Submission[] = []
  #dirty: Flushable[] = []
  #scheduled: NodeJS.Immediate | undefined
  #running = false
  readonly #run = (): void => { this.run() }

  /** `engine`: where publishes go. */
  constructor (engine: Pick<Engine, 'submit'>) { this.#engine = engine }

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

  /** `target.flush` is called at the end of this turn. The caller sees to it that it asks once. */
  flushLater (target: Flushable): void {
    this.#dirty.push(target)
    this.#schedule()
  }

  #schedule (): void {
    if (this.#scheduled === undefined && !this.#running) this.#scheduled = setImmediate(this.#run)
  }

  /** Does at once what is due. */
  run (): void {
    if (this.#scheduled !== undefined) clearImmediate(this.#scheduled)
    this.#scheduled = undefined
    this.#running = true
    try {
      if (this.#submissions.length > 0) {
        const batch = this.#submissions
        this.#submissions = []
        this.#engine.submit(batch)
      }
      const dirty = this.#dirty
      this.#dirty = []
      for (const target of dirty) target.flush()
    } finally {
      this.#running = false
    }
    if (this.#submissions.length > 0 || this.#dirty.length > 0) this.#schedule()
  }
}
