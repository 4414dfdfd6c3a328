/** Which conversations users are in, by user: the keys of the rows, not the rows. Bounded by the number of keys. */
import { WeightedLru } from './weighted-lru.ts'

/** The keys of a user's rows and of their conversations' heads, in the order of the rows. */
interface List { members: readonly string[], heads: readonly string[] }

export class Lists {
  /** Grows with each change of a membership: a reader must not keep what it read before. */
  changes = 0
  /** Conversations of the longest list that is kept. */
  readonly longest: number
  readonly #lists: WeightedLru<List>

  /** `max`: conversations in all lists; an empty list counts as one. */
  constructor (max: number) {
    this.longest = Math.floor(max / 2)
    this.#lists = new WeightedLru<List>(max, list => Math.max(1, list.members.length))
  }

  get (user: string): List | undefined { return this.#lists.get(user) }
  /** A whole list. */
  set (user: string, list: List): void { this.#lists.set(user, list) }

  /** The user came into a conversation or left one. */
  forget (user: string): void {
    this.changes++
    this.#lists.delete(user)
  }

  clear (): void {
    this.changes++
    this.#lists.clear()
  }
}
