/**
 * Rows that many ask for at the same time are fetched together: of a group that others write, each session of this server that has to look up what it was
 * not told asks for the same head, and for a member's row of its own. Who comes while few fetch does not wait; a fetch always begins after who asked.
 */
export interface Wish<At> { convs: readonly string[], members: readonly At[] }

interface Wanted<At, Result> { wish: Wish<At>, resolve: (result: Result) => void, reject: (error: unknown) => void }

/** Fetches that are under way at the same time. */
const atOnce = 4
/** Rows of one joint fetch, about. */
const mostRows = 500
/** Who asks for more rows than this shares no fetch: others would wait for them. */
const fewRows = 64

export class ReadTogether<At, Result> {
  readonly #fetch: (wish: Wish<At>) => Promise<Result>
  #running = 0
  #waiting: Array<Wanted<At, Result>> = []

  constructor (fetch: (wish: Wish<At>) => Promise<Result>) { this.#fetch = fetch }

  /** Resolves to what was fetched with the rows of `wish` in it. Rejects when the fetch fails. */
  read (wish: Wish<At>): Promise<Result> {
    if (sizeOf(wish) > fewRows) return this.#fetch(wish)
    return new Promise((resolve, reject) => {
      this.#waiting.push({ wish, resolve, reject })
      if (this.#running < atOnce) this.#next()
    })
  }

  #next (): void {
    let count = 0
    for (let rows = 0; count < this.#waiting.length && rows < mostRows; count++) rows += sizeOf((this.#waiting[count] as Wanted<At, Result>).wish)
    const wanted = this.#waiting.splice(0, count)
    if (wanted.length === 0) return
    this.#running++
    const [first] = wanted as [Wanted<At, Result>]
    const wish = wanted.length === 1 ? first.wish : { convs: wanted.flatMap(({ wish }) => wish.convs), members: wanted.flatMap(({ wish }) => wish.members) }
    this.#fetch(wish).then(result => {
      this.#done()
      for (const { resolve } of wanted) resolve(result)
    }, (error: unknown) => {
      this.#done()
      for (const { reject } of wanted) reject(error)
    })
  }

  #done (): void {
    this.#running--
    this.#next()
  }
}

function sizeOf ({ convs, members }: Wish<unknown>): number { return convs.length + members.length }
