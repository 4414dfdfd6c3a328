/** JSON that is text already: what is stored as JSON goes into an answer without being parsed and written again. */

const firstBytes = 16 * 1024
const nextBytes = 64 * 1024

/** One JSON value, made by this server, as UTF-8. Texts are encoded one by one: joining thousands of them first costs twice as much. */
export class JsonText {
  #full: Buffer[] = []
  #last = Buffer.allocUnsafe(firstBytes)
  #used = 0

  constructor (text = '') { this.add(text) }

  add (text: string): this {
    // A UTF-16 unit is at most three bytes.
    if (this.#last.length - this.#used < text.length * 3) this.#grow(text.length * 3)
    this.#used += this.#last.write(text, this.#used)
    return this
  }

  #grow (bytes: number): void {
    this.#full.push(this.#last.subarray(0, this.#used))
    this.#last = Buffer.allocUnsafe(Math.max(nextBytes, bytes))
    this.#used = 0
  }

  /** The bytes in pieces. */
  get parts (): readonly Buffer[] { return [...this.#full, this.#last.subarray(0, this.#used)] }

  toString (): string { return Buffer.concat(this.parts).toString() }
}
