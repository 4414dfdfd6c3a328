/** Takes what a reader is delivered until there is something to answer with. */
import type { Outlet, Reader, StreamEnd } from '../../gateway/streams/reader.ts'

/** Bytes of entries in one answer; one entry is always taken. */
const pageBytes = 262_144
/** Milliseconds that more of the same moment is waited for, where something is behind. */
const momentMs = 50

export interface Polled { body?: Buffer, why?: StreamEnd }

export class Poll implements Outlet {
  readonly #limit: number
  readonly #waitMs: number
  readonly #entries: Buffer[] = []
  #reader: Reader | undefined
  #bytes = 0
  #id = ''
  #timer: NodeJS.Timeout | undefined
  /** It has waited long enough for something to come. */
  #isDue = false
  #resolve: ((polled: Polled) => void) | undefined

  /** `limit`: entries of the answer. `waitMs`: for the first of them. */
  constructor (limit: number, waitMs: number) {
    this.#limit = limit
    this.#waitMs = waitMs
  }

  /** Resolves to the answer's body, or to why there is none; to neither when the asker has gone. */
  run (reader: Reader, gone: (hear: () => void) => void): Promise<Polled> {
    this.#reader = reader
    this.#id = reader.id
    gone(() => { this.#finish({}) })
    return new Promise(resolve => {
      this.#resolve = resolve
      this.#timer = setTimeout(() => { this.#due() }, this.#waitMs)
      reader.open()
    })
  }

  get crowded (): boolean { return this.#entries.length >= this.#limit || this.#bytes >= pageBytes }

  entry (kind: 'message' | 'event', payload: Uint8Array, id: string): void {
    this.#id = id
    this.#add(kind, payload)
  }

  notice (payload: Uint8Array): void { this.#add('notice', payload) }

  #add (kind: string, payload: Uint8Array): void {
    const first = this.#entries.length === 0
    this.#entries.push(Buffer.concat([Buffer.from(`${first ? '' : ','}{"event":"${kind}","data":`), payload, Buffer.from('}')]))
    this.#bytes += payload.length
    if (!first) return
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => { this.#answer() }, momentMs)
    // What was said in the same breath is part of it.
    setImmediate(() => { this.#look() })
  }

  rested (): void { setImmediate(() => { this.#look() }) }

  /** Is there an answer? */
  #look (): void {
    if (this.#resolve === undefined) return
    const isRested = this.#reader?.isRested === true
    if (this.#entries.length > 0 ? this.crowded || isRested : this.#isDue && isRested) this.#answer()
  }

  /** Or what there is was not looked at yet. */
  #due (): void {
    this.#isDue = true
    this.#look()
  }

  #answer (): void {
    const hasMore = this.crowded || this.#reader?.isRested !== true
    const head = `{"id":"${this.#id}","more":${hasMore},"entries":[`
    this.#finish({ body: Buffer.concat([Buffer.from(head), ...this.#entries, Buffer.from(']}')]) })
  }

  tick (): void {}

  end (why: StreamEnd, id: string): void {
    if (why === 'moved') this.#finish({ body: Buffer.from(`{"id":"${id}","more":false,"reset":true,"entries":[]}`) })
    else this.#finish({ why })
  }

  #finish (polled: Polled): void {
    clearTimeout(this.#timer)
    const resolve = this.#resolve
    this.#resolve = undefined
    this.#reader?.leave()
    resolve?.(polled)
  }
}
