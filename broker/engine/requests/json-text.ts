/** JSON that is text already: what is stored as JSON goes into an answer without being parsed and written again. */

const firstBytes = 16 * 1024
const nextBytes = 64 * 1024
/** Texts that are longer are not gathered. */
const largeLength = 4 * 1024

/** One JSON value, made by this server, as UTF-8. Texts are encoded one by one: joining thousands of them first costs twice as much. */
export class JsonText {
  #full: Buffer[] = []
  #last = Buffer.allocUnsafe(firstBytes)
  /** Where the piece of `#last` that is not in `#full` begins and ends. */
  #from = 0
  #used = 0

  constructor (text = '') { this.add(text) }

  add (text: string): this {
    if (text.length > largeLength) {
      // In memory of its own, of its size: room for the worst case would be three times as much.
      this.#full.push(this.#last.subarray(this.#from, this.#used), Buffer.from(text))
      this.#from = this.#used
      return this
    }
    // A UTF-16 unit is at most three bytes.
    if (this.#last.length - this.#used < text.length * 3) this.#grow()
    this.#used += this.#last.write(text, this.#used)
    return this
  }

  #grow (): void {
    this.#full.push(this.#last.subarray(this.#from, this.#used))
    this.#last = Buffer.allocUnsafe(nextBytes)
    this.#from = this.#used = 0
  }

  /** The bytes in pieces. */
  get parts (): readonly Buffer[] { return [...this.#full, this.#last.subarray(this.#from, this.#used)] }

  toString (): string { return Buffer.concat(this.parts).toString() }
}
