type Values = Array<string | undefined>

interface Wanted { readonly keys: string[], readonly resolve: (values: Values) => void, readonly reject: (error: unknown) => void }

/** Reads that are under way at the same time: one more would wait for the same core. */
const atOnce = 2
/** Keys of one joint read, about: its rows are put together in one go. */
const mostKeys = 64
/** Who asks for more keys than this shares no read: others would wait for them. */
const fewKeys = 16

/**
 * Rows that many ask for at the same time are read together. A read is a trip to another thread and back, whatever it brings: 2,000 clients that come
 * back in one moment ask for a few rows each. Who comes while nobody reads does not wait.
 */
export class Gathered {
  readonly #read: (keys: string[]) => Promise<Values>
  #running = 0
  #waiting: Wanted[] = []

  constructor (read: (keys: string[]) => Promise<Values>) { this.#read = read }

  /** The values of `keys`, in their order. Rejects as a read of these keys alone does. */
  read (keys: string[]): Promise<Values> {
    if (keys.length > fewKeys) return this.#read(keys)
    return new Promise((resolve, reject) => {
      this.#waiting.push({ keys, resolve, reject })
      if (this.#running < atOnce) this.#next()
    })
  }

  #next (): void {
    let count = 0
    let keys = 0
    while (count < this.#waiting.length && keys < mostKeys) keys += (this.#waiting[count++] as Wanted).keys.length
    const wanted = this.#waiting.splice(0, count)
    if (wanted.length === 0) return
    this.#running++
    this.#together(wanted).finally(() => {
      this.#running--
      this.#next()
    }).catch((error: unknown) => { for (const one of wanted) one.reject(error) })
  }

  async #together (wanted: readonly Wanted[]): Promise<void> {
    const [first] = wanted as [Wanted]
    if (wanted.length === 1) return await this.#read(first.keys).then(first.resolve, first.reject)
    let values: Values
    try {
      values = await this.#read(wanted.flatMap(({ keys }) => keys))
    } catch {
      // It is the trouble of those whose rows cannot be read, or the database is closed: each read by itself tells.
      await Promise.all(wanted.map(({ keys, resolve, reject }) => this.#read(keys).then(resolve, reject)))
      return
    }
    let at = 0
    for (const { keys, resolve } of wanted) resolve(values.slice(at, at += keys.length))
  }
}
