import type { ClassicLevel } from 'classic-level'
import type { Range } from './keys.ts'

type Iterator = ReturnType<ClassicLevel<string, string>['iterator']>
type Row = [string, string]
type Whole = (key: string, stored: string) => string | undefined

interface Wanted { range: Range, limit: number, resolve: (rows: Row[]) => void, reject: (error: unknown) => void }

/** Rows of a first look, and of the largest that follows. */
const firstRows = 8
const mostRows = 512
/** Rows of a range that are kept while it is read on. */
const mostHeld = 64
/** Iterators at the same time: one more would wait for the same core. */
const atOnce = 2

/**
 * Short ranges that are asked for at the same time are read by one iterator, one after the other. An iterator leaves some kilobytes of
 * native memory behind until the collector finds it, and the collector does not know: a thousand look-ups of a request would leave megabytes.
 * Each step of it is a trip to another thread: what it brings beyond a range is kept for the next one, as ranges of one user lie side by side.
 */
export class SharedScan {
  readonly #open: () => Promise<Iterator>
  readonly #alone: (range: Range, limit: number) => Promise<Row[]>
  readonly #whole: Whole
  #wanted: Wanted[] = []
  #running = 0
  #soon = false
  readonly #start = (): void => {
    this.#soon = false
    while (this.#wanted.length > 0 && this.#running < atOnce) this.#next()
  }

  /**
   * `open` makes an iterator over everything; `alone` reads a range that nobody shares an iterator with, or that the shared one could not
   * read; `whole` makes a value of what is stored, `undefined` when that is damaged.
   */
  constructor (open: () => Promise<Iterator>, alone: (range: Range, limit: number) => Promise<Row[]>, whole: Whole) {
    this.#open = open
    this.#alone = alone
    this.#whole = whole
  }

  /** Rows of a range in order, at most `limit`. For keys of ASCII: others sort in another order as text than as bytes. */
  rows (range: Range, limit: number): Promise<Row[]> {
    return new Promise((resolve, reject) => {
      this.#wanted.push({ range, limit, resolve, reject })
      if (this.#soon || this.#running >= atOnce) return
      this.#soon = true
      queueMicrotask(this.#start)
    })
  }

  #next (): void {
    const wanted = this.#wanted
    this.#wanted = []
    this.#running++
    this.#read(wanted).catch((error: unknown) => { for (const one of wanted) one.reject(error) }).finally(() => {
      this.#running--
      this.#start()
    })
  }

  async #read (wanted: Wanted[]): Promise<void> {
    const [first] = wanted
    if (first !== undefined && wanted.length === 1) return first.resolve(await this.#alone(first.range, first.limit))
    wanted.sort((a, b) => a.range.gt < b.range.gt ? -1 : a.range.gt > b.range.gt ? 1 : 0)
    const iterator = await this.#open()
    const pass = new Pass(iterator, this.#whole)
    try {
      for (const { range, limit, resolve, reject } of wanted) {
        // Damage, or a database that is just opened anew: each range by itself tells, or waits.
        await pass.rows(range, limit).catch(() => {
          pass.lose()
          return this.#alone(range, limit)
        }).then(resolve, reject)
      }
    } finally {
      await iterator.close()
    }
  }
}

/** One iterator on its way through ranges in the order of their beginnings. */
class Pass {
  readonly #iterator: Iterator
  readonly #whole: Whole
  /** Rows that were read and may be wanted again: all that there are after `#after`, up to the last of them. */
  #held: Row[] = []
  #after: string | undefined
  /** Nothing comes behind those. */
  #ended = false

  constructor (iterator: Iterator, whole: Whole) {
    this.#iterator = iterator
    this.#whole = whole
  }

  /** Where the iterator stands is not known. */
  lose (): void { this.#after = undefined }

  async rows ({ gt, lt }: Range, limit: number): Promise<Row[]> {
    this.#seek(gt)
    const found: Row[] = []
    for (let at = 0, size = firstRows; ; size = Math.min(size * 2, mostRows)) {
      for (; at < this.#held.length; at++) {
        const [key, stored] = this.#held[at] as Row
        if (key <= gt) continue
        if (key >= lt || found.length === limit) return found
        const value = this.#whole(key, stored)
        if (value !== undefined) found.push([key, value])
      }
      if (this.#ended || found.length === limit) return found
      at = await this.#more(Math.min(size, limit - found.length + 1))
    }
  }

  /** What is held covers the range's beginning, or the iterator goes there. */
  #seek (gt: string): void {
    const last = this.#held.at(-1)?.[0]
    if (this.#after !== undefined && gt >= this.#after && (this.#ended || (last !== undefined && gt <= last))) {
      let first = 0
      while (first < this.#held.length && (this.#held[first] as Row)[0] <= gt) first++
      this.#held = this.#held.slice(first)
      this.#after = gt
      return
    }
    this.#iterator.seek(gt)
    this.#held = []
    this.#after = gt
    this.#ended = false
  }

  /** Reads on; answers where in the held rows the new ones begin. */
  async #more (count: number): Promise<number> {
    const some = await this.#iterator.nextv(count) as Row[]
    const last = this.#held.at(-1)
    if (some.length === 0) this.#ended = true
    if (last === undefined || this.#held.length < mostHeld) {
      const from = this.#held.length
      this.#held = from === 0 ? some : [...this.#held, ...some]
      return from
    }
    this.#after = last[0]
    this.#held = some
    return 0
  }
}
