/**
 * Limits that several servers count together, without asking each other: each tells the others what was spent at it, every quarter of a second, of keys
 * that spend more than a small share of their limit (ADR 27). What was spent elsewhere comes out of the same bucket, later.
 */
import type { LimitWord, LimitWords, SignInWord } from '../link/limits.ts'

/** Milliseconds between two words of what was spent. */
export const tellMs = 250
/** What all servers together keep to themselves: this part of the limit, at most. */
const untoldPart = 1 / 4
/** Keys in one word, and keys that wait for one; what is more is not told. */
const keysOfWord = 1_000
const maxDue = 100_000

export interface SharedRate { perSecond: number, burst: number }
/** Tokens of a key that were spent here. */
export type Spend = (key: string, tokens: number) => void

export class SharedLimits {
  readonly #words: LimitWords
  readonly #steady: () => number
  readonly #tallies = new Map<string, { tally: Tally, onSpent: Spend }>()
  #onSignIn: (word: SignInWord) => void = () => {}
  #timer: NodeJS.Timeout | undefined
  #closed = false

  /** `steady`: milliseconds of a clock that only goes forward. */
  constructor (words: LimitWords, steady: () => number) {
    this.#words = words
    this.#steady = steady
  }

  /** What is spent at other servers under the same name goes to `onSpent`, what is spent here is to go to what it answers. */
  share (name: string, rate: SharedRate, onSpent: Spend): Spend {
    const tally = new Tally(rate, this.#steady)
    this.#tallies.set(name, { tally, onSpent })
    return (key, tokens) => {
      const { servers } = this.#words
      if (servers > 1 && tally.spend(key, tokens, servers)) this.#arm()
    }
  }

  /** The same for sign-ins, which are told at once. */
  shareSignIns (onWord: (word: SignInWord) => void): (word: SignInWord) => void {
    this.#onSignIn = onWord
    return word => { if (this.#words.servers > 1) this.#words.tell([word]) }
  }

  /** Words of another server. */
  hear (words: readonly LimitWord[]): void {
    for (const word of words) {
      if ('signIn' in word) this.#onSignIn(word)
      else for (const [key, tokens] of word.spent) this.#tallies.get(word.limit)?.onSpent(key, tokens)
    }
  }

  /** What is due, now: a timer does it otherwise. */
  tell (): void {
    const words: LimitWord[] = []
    for (const [limit, { tally }] of this.#tallies) {
      const spent = tally.take(keysOfWord)
      if (spent.length > 0) words.push({ limit, spent })
      if (tally.isDue) this.#arm()
    }
    if (words.length > 0) this.#words.tell(words)
  }

  close (): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }

  #arm (): void {
    if (this.#timer !== undefined || this.#closed) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.tell()
    }, tellMs)
    this.#timer.unref()
  }
}

/** What was spent here and not told: forgotten at a small part of the rate, so that who keeps far below the limit is never told of. */
class Tally {
  readonly #rate: SharedRate
  readonly #steady: () => number
  /** In the order of the last time. */
  readonly #untold = new Map<string, { tokens: number, at: number }>()
  readonly #due = new Map<string, number>()

  constructor (rate: SharedRate, steady: () => number) {
    this.#rate = rate
    this.#steady = steady
  }

  get isDue (): boolean { return this.#due.size > 0 }

  /** True when it is to be told. */
  spend (key: string, tokens: number, servers: number): boolean {
    const due = this.#due.get(key)
    if (due !== undefined) {
      this.#due.set(key, due + tokens)
      return true
    }
    const now = this.#steady()
    const part = untoldPart / servers
    const perMs = this.#rate.perSecond * part / 1000
    const before = this.#untold.get(key)
    const untold = tokens + (before === undefined ? 0 : Math.max(0, before.tokens - (now - before.at) * perMs))
    this.#untold.delete(key)
    if (untold >= Math.max(1, this.#rate.burst * part) && this.#due.size < maxDue) {
      this.#due.set(key, untold)
      return true
    }
    this.#untold.set(key, { tokens: untold, at: now })
    this.#makeRoom(now, perMs)
    return false
  }

  /** At most `count` of those that are due. */
  take (count: number): Array<[key: string, tokens: number]> {
    const taken: Array<[string, number]> = []
    for (const one of this.#due) {
      if (taken.length === count) break
      taken.push(one)
    }
    for (const [key] of taken) this.#due.delete(key)
    return taken
  }

  /** Each newcomer pays for looking at the two that spent longest ago. */
  #makeRoom (now: number, perMs: number): void {
    let looked = 0
    for (const [key, { tokens, at }] of this.#untold) {
      if (++looked > 2 || (tokens > (now - at) * perMs && this.#untold.size <= maxDue)) break
      this.#untold.delete(key)
    }
  }
}
