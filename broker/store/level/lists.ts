/** Which conversations users are in, by user: the keys of the rows, not the rows. Bounded by the number of keys. */
import { key, parts } from './keys.ts'
import { WeightedLru } from '../cache/weighted-lru.ts'

/** The keys of a user's rows and of their conversations' heads, in the order of the rows. */
interface List { members: readonly string[], heads: readonly string[] }

/** Lists that are put together from pages at the same time. */
const maxPartial = 64

/** A longer list is read again when it changes. */
const mostChanged = 1000

/** The place of the first name that is greater; names are ids and signs of ASCII, which sort as LevelDB's bytes do. */
export function firstAfter (names: readonly string[], bound: string): number {
  let [low, high] = [0, names.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((names[middle] as string) > bound) high = middle
    else low = middle + 1
  }
  return low
}

/** The key of the head of the conversation of a member's row. */
function headOf (name: string): string { return key.head(parts(name)[2] as string) }

export class Lists {
  /** Grows with each change of a membership: a reader must not keep what it read before. */
  changes = 0
  /** Conversations of the longest list that is kept. */
  readonly longest: number
  readonly #lists: WeightedLru<List>
  /** Whose pages are being read, and how often their memberships had changed when the first of them began. */
  readonly #reading = new Map<string, number>()
  /** What was read of lists from their beginning. */
  readonly #partial = new Map<string, string[]>()

  /** `max`: conversations in all lists; an empty list counts as one. */
  constructor (max: number) {
    this.longest = Math.floor(max / 2)
    this.#lists = new WeightedLru<List>(max, list => Math.max(1, list.members.length))
  }

  get (user: string): List | undefined { return this.#lists.get(user) }
  /** A whole list. */
  set (user: string, list: List): void { this.#lists.set(user, list) }

  /** To call before a page of a user's list is read; returns what `page` is given. */
  begin (user: string): number {
    let since = this.#reading.get(user)
    if (since === undefined) this.#reading.set(user, since = this.changes)
    const [oldest] = this.#reading.keys()
    if (this.#reading.size > maxPartial) this.#drop(oldest as string)
    return since
  }

  #drop (user: string): void {
    this.#reading.delete(user)
    this.#partial.delete(user)
  }

  /**
   * A page of a user's list was read, whose rows have these keys: the first one, or the one after the key `after`. `since`: of `begin`.
   * When it is the `last` one and all before it are known, the list is kept.
   */
  page (user: string, names: readonly string[], { after, last, since }: { after: string | undefined, last: boolean, since: number }): void {
    if (since !== this.#reading.get(user)) return
    let known = this.#partial.get(user)
    if (after === undefined) {
      // Another reader of the same list may be further.
      if (known !== undefined && !last) return
      this.#partial.set(user, known = [...names])
    } else {
      if (known === undefined || known.at(-1) !== after) return
      for (const name of names) known.push(name)
    }
    if (!last && known.length <= this.longest) return this.#bound(user)
    this.#drop(user)
    if (last) this.set(user, { members: known, heads: known.map(headOf) })
  }

  /** All that is read of lists has no more keys than one may have; `user` goes last. */
  #bound (user: string): void {
    let length = 0
    for (const names of this.#partial.values()) length += names.length
    for (const [other, names] of this.#partial) {
      if (length <= this.longest || other === user) continue
      length -= names.length
      this.#drop(other)
    }
  }

  /** The list is not what it was. */
  forget (user: string): void {
    this.changes++
    this.#drop(user)
    this.#lists.delete(user)
  }

  /** The user came into a conversation, or left one: that of the row of this key. Who is reading the list keeps nothing of it. */
  placed (user: string, name: string, placed: boolean): void {
    const list = this.#lists.get(user)
    this.forget(user)
    if (list === undefined || list.members.length >= mostChanged) return
    const at = firstAfter(list.members, name)
    const known = at > 0 && list.members[at - 1] === name
    if (placed === known) return this.set(user, list)
    // New arrays: others go through the old ones.
    const [from, gone] = placed ? [at, 0] : [at - 1, 1]
    const [members, heads] = [[...list.members], [...list.heads]]
    members.splice(from, gone, ...placed ? [name] : [])
    heads.splice(from, gone, ...placed ? [headOf(name)] : [])
    this.set(user, { members, heads })
  }

  clear (): void {
    this.changes++
    this.#reading.clear()
    this.#partial.clear()
    this.#lists.clear()
  }
}
