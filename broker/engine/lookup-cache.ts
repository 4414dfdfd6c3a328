/**
 * A bounded cache of store look-ups for the message path: synchronous when warm, exact after `forget`. Loads of one key are
 * shared; a load that was under way when its key was forgotten is answered to those who wait, and never kept. What lru-cache has
 * for this (`fetch`) answers with a promise when it is warm, too.
 */
export class LookupCache<Value> {
  readonly #load: (key: string) => Promise<Value>
  readonly #maxEntries: number
  readonly #values = new Map<string, Value>()
  readonly #loading = new Map<string, Promise<Value>>()

  /** `load` must not resolve to `undefined`. */
  constructor (load: (key: string) => Promise<Value>, maxEntries: number) {
    this.#load = load
    this.#maxEntries = maxEntries
  }

  get size (): number { return this.#values.size }

  get (key: string): Value | Promise<Value> {
    return this.#values.get(key) ?? this.#loading.get(key) ?? this.#fetch(key)
  }

  /** What is in memory. */
  peek (key: string): Value | undefined { return this.#values.get(key) }

  /** To call after the stored value changed. */
  forget (key: string): void {
    this.#values.delete(key)
    this.#loading.delete(key)
  }

  /** Forgets everything; costs nothing where there is nothing. */
  clear (): void {
    this.#values.clear()
    this.#loading.clear()
  }

  #fetch (key: string): Promise<Value> {
    const loading: Promise<Value> = this.#load(key).then(value => {
      if (this.#loading.get(key) !== loading) return value
      this.#loading.delete(key)
      // Oldest out first: a key in use comes back with one read, and a hit stays one map look-up.
      if (this.#values.size >= this.#maxEntries) {
        const oldest = this.#values.keys().next()
        if (oldest.done !== true) this.#values.delete(oldest.value)
      }
      this.#values.set(key, value)
      return value
    }, error => {
      if (this.#loading.get(key) === loading) this.#loading.delete(key)
      throw error
    })
    this.#loading.set(key, loading)
    return loading
  }
}
