/** Which conversations users are in, by user: the keys of the rows, not the rows. Bounded by the number of keys. */
import { key, parts } from './keys.ts'
import { WeightedLru } from './weighted-lru.ts'

/** The keys of a user's rows and of their conversations' heads, in the order of the rows. */
interface List { members: readonly string[], heads: readonly string[] }

/** Lists that are put together from pages at the same time. */
const maxPartial = 16

export class Lists {
  /** Grows with each change of a membership: a reader must not keep what it read before. */
  changes = 0
  /** Conversations of the longest list that is kept. */
  readonly longest: number
  readonly #lists: WeightedLru<List>
  /** What was read of lists from their beginning, since no membership changed. */
  readonly #partial = new Map<string, string[]>()
  #partialSince = 0

  /** `max`: conversations in all lists; an empty list counts as one. */
  constructor (max: number) {
    this.longest = Math.floor(max / 2)
    this.#lists = new WeightedLru<List>(max, list => Math.max(1, list.members.length))
  }

  get (user: string): List | undefined { return this.#lists.get(user) }
  /** A whole list. */
  set (user: string, list: List): void { this.#lists.set(user, list) }

  /**
   * A page of a user's list was read, whose rows have these keys: the first one, or the one after the key `after`. `since`: `changes` when
   * its reading began. When it is the `last` one and all before it are known, the list is kept.
   */
  page (user: string, names: readonly string[], { after, last, since }: { after: string | undefined, last: boolean, since: number }): void {
    if (since !== this.changes) return
    if (this.#partialSince !== this.changes) this.#partial.clear()
    this.#partialSince = this.changes
    let known = this.#partial.get(user)
    if (after === undefined) {
      // Another reader of the same list may be further.
      if (known !== undefined && !last) return
      this.#partial.set(user, known = [...names])
    } else {
      if (known === undefined || known.at(-1) !== after) return
      for (const name of names) known.push(name)
    }
    const [oldest] = this.#partial.keys()
    if (this.#partial.size > maxPartial) this.#partial.delete(oldest as string)
    if (!last && known.length <= this.longest) return
    this.#partial.delete(user)
    if (last) this.set(user, { members: known, heads: known.map(name => key.head(parts(name)[2] as string)) })
  }

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
