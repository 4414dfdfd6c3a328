/**
 * What this server commits: its own operations, and those that others leave to it as the owner. One commit is in flight; what comes meanwhile, from
 * whomever, is the next one.
 */
import type { Operation, Outcome } from '../store/store.ts'

/** Operations of one commit, unless one part alone has more; and characters of their content. */
const maxOperations = 2_000
const maxLength = 4 * 1024 * 1024

export interface GroupCommitOptions {
  commit: (operations: readonly Operation[]) => Promise<Outcome[]>
  /** Milliseconds of a clock that only goes forward. */
  steady: () => number
}

interface Part {
  operations: readonly Operation[]
  length: number
  /** Nobody waits for it any more after that time. */
  until: number
  resolve: (outcomes: Outcome[]) => void
  reject: (error: unknown) => void
}

export class GroupCommit {
  readonly #options: GroupCommitOptions
  #waiting: Part[] = []
  #running: Promise<void> | undefined

  constructor (options: GroupCommitOptions) { this.#options = options }

  /**
   * Commits operations as a whole, behind those of earlier calls. After `waitMs` in the queue they are left out, and it rejects: who asked has given up, and has
   * committed them itself.
   */
  commit (operations: readonly Operation[], waitMs = Infinity): Promise<Outcome[]> {
    const length = operations.reduce((sum, op) => sum + ('content' in op ? op.content.length : 0), 0)
    return new Promise((resolve, reject) => {
      this.#waiting.push({ operations, length, until: this.#options.steady() + waitMs, resolve, reject })
      this.#running ??= this.#run()
    })
  }

  /** Resolves when nothing waits or is in flight. */
  async settled (): Promise<void> { await this.#running }

  async #run (): Promise<void> {
    // What comes in the same turn goes along.
    await Promise.resolve()
    while (this.#waiting.length > 0) {
      const parts = this.#next()
      if (parts.length > 0) await this.#commit(parts)
    }
    // In the same step as the last look: what comes from now on runs again.
    this.#running = undefined
  }

  #next (): Part[] {
    const parts: Part[] = []
    let [count, length] = [0, 0]
    const now = this.#options.steady()
    for (let part = this.#waiting[0]; part !== undefined; part = this.#waiting[0]) {
      if (now > part.until) part.reject(new Error('it waited for too long'))
      else if (parts.length > 0 && (count + part.operations.length > maxOperations || length + part.length > maxLength)) break
      else {
        parts.push(part)
        count += part.operations.length
        length += part.length
      }
      this.#waiting.shift()
    }
    return parts
  }

  async #commit (parts: readonly Part[]): Promise<void> {
    try {
      const outcomes = await this.#options.commit(parts.length === 1 ? (parts[0] as Part).operations : parts.flatMap(({ operations }) => operations))
      let at = 0
      for (const { operations, resolve } of parts) resolve(outcomes.slice(at, at += operations.length))
    } catch (error) {
      for (const { reject } of parts) reject(error)
    }
  }
}
