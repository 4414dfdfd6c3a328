/** What a reader without a session has had, small enough to go with each entry: the id of an event. */
import { placeNameBytes, type Position } from '../../link/position.ts'

/** Streams that a position may name beside its time: an id stays below 8 kB, so that a header takes it. */
export const mostPlaces = 500
/** An entry was stamped before it was delivered; by a clock that may be so much ahead, milliseconds. */
const skewMs = 2000
/** Characters of an id, before it is looked at. */
const maxLength = 10_000
const version = '1'

/** A place, and when the entry was delivered (the server's time). */
interface Place { seq: number, at: number }

export class Places {
  #time: number
  readonly #places: Map<string, Place>

  /** `at`: a time by which all that it names was delivered. */
  constructor ({ time, places }: Position, at: number) {
    this.#time = time
    this.#places = new Map([...places].map(([name, seq]) => [name, { seq, at }]))
  }

  get position (): Position { return { time: this.#time, places: new Map([...this.#places].map(([name, { seq }]) => [name, seq])) } }

  /** An entry was delivered. False when there is no place for its stream. */
  move (name: string, seq: number, at: number): boolean {
    const place = this.#places.get(name)
    if (place !== undefined) {
      place.seq = seq
      place.at = at
      return true
    }
    if (this.#places.size >= mostPlaces) return false
    this.#places.set(name, { seq, at })
    return true
  }

  /** All that was stamped before `time` has been delivered: streams of which nothing came later need not be named. */
  advance (time: number): void {
    if (time <= this.#time) return
    this.#time = time
    for (const [name, { at }] of this.#places) if (at + skewMs < time) this.#places.delete(name)
  }

  /** As an id: letters, digits, `-`, `_` and `.`. */
  toString (): string {
    const bytes: number[] = []
    for (const [name, { seq }] of this.#places) {
      for (let i = 0; i < placeNameBytes; i++) bytes.push(name.charCodeAt(i))
      let rest = seq
      for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push(0x80 + rest % 0x80)
      bytes.push(rest)
    }
    return `${version}.${Math.max(0, Math.floor(this.#time)).toString(36)}.${Buffer.from(bytes).toString('base64url')}`
  }
}

/** The position that an id says; undefined when it is none. */
export function readPosition (id: string): Position | undefined {
  if (id.length > maxLength) return undefined
  const [, time = '', text = ''] = /^1\.([0-9a-z]{1,10})\.([A-Za-z0-9_-]*)$/.exec(id) ?? []
  if (time === '') return undefined
  const places = readPlaces(Buffer.from(text, 'base64url'))
  return places === undefined || places.size > mostPlaces ? undefined : { time: parseInt(time, 36), places }
}

function readPlaces (bytes: Buffer): Map<string, number> | undefined {
  const places = new Map<string, number>()
  for (let at = 0; at < bytes.length;) {
    const name = bytes.toString('latin1', at, at + placeNameBytes)
    at += placeNameBytes
    let seq = 0
    let byte = 0x80
    for (let factor = 1; byte >= 0x80; factor *= 0x80) {
      if (at >= bytes.length || factor > 0x80 ** 7) return undefined
      byte = bytes[at++] as number
      seq += byte % 0x80 * factor
    }
    if (!Number.isSafeInteger(seq)) return undefined
    places.set(name, seq)
  }
  return places
}
