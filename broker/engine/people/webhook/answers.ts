/** What an account system said lately. Nothing in memory tells the password: what was asked is known by a keyed hash. */
import { createHmac, randomBytes } from 'node:crypto'
import type { Question, Verdict } from './call.ts'

/** Answers that are remembered; the oldest go first. */
const maxAnswers = 100_000

export interface AnswerTimes {
  /** How long a yes counts, and a no, milliseconds. */
  yesMs: number
  noMs: number
  /** How long a yes is kept for the case that there is no answer, milliseconds. */
  downMs: number
}

interface Kept { verdict: Verdict, at: number }

export class Answers {
  readonly #times: AnswerTimes
  /** Milliseconds since the epoch, and of a clock that only goes forward. */
  readonly #clocks: { now: () => number, steady: () => number }
  readonly #key = randomBytes(32)
  /** In the order in which they came. */
  readonly #kept = new Map<string, Kept>()

  constructor (times: AnswerTimes, clocks: { now: () => number, steady: () => number }) {
    this.#times = times
    this.#clocks = clocks
  }

  /** What a question is known by. */
  name ({ user, password, clientId, address, protocol }: Question): string {
    return createHmac('sha256', this.#key).update(JSON.stringify([user, password, clientId, address, protocol])).digest('base64')
  }

  /** An answer that still counts. */
  fresh (name: string): Verdict | undefined {
    const { yesMs, noMs } = this.#times
    return this.#find(name, verdict => verdict.allow ? yesMs : noMs)
  }

  /** An answer for the case that there is no other. */
  late (name: string): Verdict | undefined { return this.#find(name, verdict => verdict.allow ? this.#times.downMs : 0) }

  keep (name: string, verdict: Verdict): void {
    this.#kept.delete(name)
    this.#kept.set(name, { verdict, at: this.#clocks.steady() })
    if (this.#kept.size <= maxAnswers) return
    const [oldest] = this.#kept.keys()
    this.#kept.delete(oldest as string)
  }

  #find (name: string, ageMs: (verdict: Verdict) => number): Verdict | undefined {
    const kept = this.#kept.get(name)
    if (kept === undefined || this.#clocks.steady() - kept.at >= ageMs(kept.verdict)) return undefined
    const { verdict } = kept
    return verdict.allow && verdict.until !== undefined && verdict.until <= this.#clocks.now() ? undefined : verdict
  }
}
