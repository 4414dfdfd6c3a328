/** A queue that tests await: what arrived and was not taken yet, and who waits for something that matches. */
export class Mailbox<T> {
  readonly waiting: T[] = []
  readonly #takers = new Set<{ match: (item: T) => boolean, resolve: (item: T) => void, reject: (cause: Error) => void }>()
  readonly #name: string
  #broken: Error | undefined

  /** `name` appears in the error of a `take` that got nothing. */
  constructor (name: string) { this.#name = name }

  put (item: T): void {
    for (const taker of this.#takers) {
      if (taker.match(item)) {
        this.#takers.delete(taker)
        taker.resolve(item)
        return
      }
    }
    this.waiting.push(item)
  }

  /** The oldest item that matches; rejects after `timeoutMs`, or at once when the source broke and nothing matches. */
  async take (match: (item: T) => boolean = () => true, timeoutMs = 15_000, what = 'anything'): Promise<T> {
    const at = this.waiting.findIndex(match)
    if (at >= 0) return this.waiting.splice(at, 1)[0] as T
    if (this.#broken !== undefined) throw this.#broken
    return await new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#takers.delete(taker)
        reject(new Error(`${this.#name}: nothing matched '${what}' within ${timeoutMs} ms; waiting: ${clip(JSON.stringify(this.waiting))}`))
      }, timeoutMs)
      const taker = {
        match,
        resolve: (item: T) => { clearTimeout(timer); resolve(item) },
        reject: (cause: Error) => { clearTimeout(timer); reject(cause) }
      }
      this.#takers.add(taker)
    })
  }

  /** Nothing more will come: every open and later `take` without a match rejects with `cause`. */
  end (cause: Error): void {
    this.#broken ??= cause
    for (const taker of this.#takers) taker.reject(this.#broken)
    this.#takers.clear()
  }
}

function clip (text: string): string { return text.length > 600 ? text.slice(0, 600) + '…' : text }

/** Rejects when `promise` takes longer than `timeoutMs`. */
export async function within<T> (promise: Promise<T>, timeoutMs: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${timeoutMs} ms`)), timeoutMs)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Asks again until `probe` answers true; rejects after `timeoutMs`. For states that no event announces. */
export async function until (probe: () => boolean | Promise<boolean>, timeoutMs: number, what: string): Promise<void> {
  const deadline = Date.now() + timeoutMs
  while (!await probe()) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${timeoutMs} ms`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}
