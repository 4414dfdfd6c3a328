/** Notes that are kept; the oldest go first, and what they are about is delivered like any other message. */
const maxNotes = 20_000

/** Which messages sessions with No Local have published themselves, until their delivery leaves them out. The log knows the user of a message, not the device. */
export class OwnMessages {
  readonly #max: number
  /** `{session} {conversation} {number}`, in the order in which they came. */
  readonly #notes = new Set<string>()

  constructor (max = maxNotes) { this.#max = max }

  get size (): number { return this.#notes.size }

  note (session: string, conv: string, seq: number): void {
    this.#notes.add(`${session} ${conv} ${seq}`)
    if (this.#notes.size <= this.#max) return
    const [oldest] = this.#notes
    if (oldest !== undefined) this.#notes.delete(oldest)
  }

  /** True once for what was noted. */
  take (session: string, conv: string, seq: number): boolean { return this.#notes.delete(`${session} ${conv} ${seq}`) }
}
