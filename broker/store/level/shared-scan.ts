import type { ClassicLevel } from 'classic-level'
import type { Range } from './keys.ts'

type Iterator = ReturnType<ClassicLevel<string, string>['iterator']>
type Row = [string, string]

interface Wanted { range: Range, limit: number, resolve: (rows: Row[]) => void, reject: (error: unknown) => void }

/** Rows of a first look, and of the largest that follows. */
const firstRows = 16
const mostRows = 512

/**
 * Short ranges that are asked for at the same time are read by one iterator, one after the other. An iterator leaves some kilobytes of
 * native memory behind until the collector finds it, and the collector does not know: a thousand look-ups of a request would leave megabytes.
 */
export class SharedScan {
  readonly #open: () => Promise<Iterator>
  readonly #alone: (range: Range, limit: number) => Promise<Row[]>
  readonly #whole: (key: string, stored: string) => string | undefined
  #wanted: Wanted[] = []

  /**
   * `open` makes an iterator over everything; `alone` reads a range that nobody shares an iterator with, or that the shared one could not
   * read; `whole` makes a value of what is stored, `undefined` when that is damaged.
   */
  constructor (open: () => Promise<Iterator>, alone: (range: Range, limit: number) => Promise<Row[]>, whole: (key: string, stored: string) => string | undefined) {
    this.#open = open
    this.#alone = alone
    this.#whole = whole
  }

  /** Rows of a range in order, at most `limit`. For keys of ASCII: others sort in another order as text than as bytes. */
  rows (range: Range, limit: number): Promise<Row[]> {
    return new Promise((resolve, reject) => {
      this.#wanted.push({ range, limit, resolve, reject })
      if (this.#wanted.length > 1) return
      queueMicrotask(() => {
        const wanted = this.#wanted
        this.#wanted = []
        this.#read(wanted).catch((error: unknown) => { for (const one of wanted) one.reject(error) })
      })
    })
  }

  async #read (wanted: readonly Wanted[]): Promise<void> {
    const [first] = wanted
    if (first !== undefined && wanted.length === 1) return first.resolve(await this.#alone(first.range, first.limit))
    const iterator = await this.#open()
    try {
      for (const { range, limit, resolve, reject } of wanted) {
        // Damage, or a database that is just opened anew: each range by itself tells, or waits.
        const rows = rowsOf(iterator, range, limit, this.#whole).catch(() => this.#alone(range, limit))
        await rows.then(resolve, reject)
      }
    } finally {
      await iterator.close()
    }
  }
}

async function rowsOf (iterator: Iterator, { gt, lt }: Range, limit: number, whole: (key: string, stored: string) => string | undefined): Promise<Row[]> {
  const found: Row[] = []
  iterator.seek(gt)
  for (let size = firstRows; found.length < limit; size = Math.min(size * 2, mostRows)) {
    const some = await iterator.nextv(Math.min(size, limit - found.length + 1)) as Row[]
    for (const row of some) {
      if (row[0] === gt) continue
      if (row[0] >= lt) return found
      const value = whole(row[0], row[1])
      if (value === undefined) continue
      found.push([row[0], value])
      if (found.length === limit) return found
    }
    if (some.length === 0) return found
  }
  return found
}
