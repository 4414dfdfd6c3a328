/**
 * Where the values of a JSON text stand (RFC 8259), without making them: a message's body goes on as its sender wrote it. Making an object of
 * thousands of members takes several times as long, and leaves it to the collector.
 */

/** A value in a text. */
export interface Span {
  /** The first character, and the one behind the last. */
  readonly from: number
  readonly to: number
  /** Arrays and objects within each other; 0 for text, numbers, `true`, `false` and `null`. */
  readonly depth: number
  /** Each number is within the range of a double (section 6: others are not interoperable; `1e999` would become `null`). */
  readonly finite: boolean
}

const [tab, newline, carriageReturn, space, quote, comma, colon, backslash] = [0x09, 0x0a, 0x0d, 0x20, 0x22, 0x2c, 0x3a, 0x5c]
const [openArray, closeArray, openObject, closeObject] = [0x5b, 0x5d, 0x7b, 0x7d]

/** What of a string needs no second look. */
const plain = /[ !#-[\]-\uffff]*/y
/** Characters of a string before the pattern is asked: it is faster from there on. */
const shortString = 24
const escaped = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y
const numberPattern = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y
/** Shorter numbers without an exponent are within the range. */
const longNumber = 300

class Reader {
  readonly #text: string
  at = 0
  #finite = true

  constructor (text: string) { this.#text = text }

  /** The next character that is no white space; NaN at the end. */
  next (): number {
    for (;;) {
      const char = this.#text.charCodeAt(this.at)
      if (char !== space && char !== newline && char !== carriageReturn && char !== tab) return char
      this.at++
    }
  }

  /** Moves past `char`, which may have white space before it. */
  take (char: number): boolean {
    if (this.next() !== char) return false
    this.at++
    return true
  }

  /** The next value; `undefined` where none is. */
  value (): Span | undefined {
    this.next()
    const from = this.at
    this.#finite = true
    const depth = this.#nested()
    return depth < 0 ? undefined : { from, to: this.at, depth, finite: this.#finite }
  }

  /** The name of a member and its colon; `undefined` where none is. */
  name (): string | undefined {
    if (this.next() !== quote) return undefined
    const from = this.at
    if (!this.#string()) return undefined
    const to = this.at
    if (!this.take(colon)) return undefined
    const text = this.#text.slice(from + 1, to - 1)
    return text.includes('\\') ? JSON.parse(`"${text}"`) as string : text
  }

  /** Moves past a value; the depth of it, or -1. */
  #nested (): number {
    const first = this.next()
    if (first !== openArray && first !== openObject) return this.#scalar(first) ? 0 : -1
    /** What closes the arrays and objects that are open. */
    const open: number[] = []
    let depth = 0
    for (;;) {
      const char = this.next()
      if (char === openArray || char === openObject) {
        this.at++
        const close = char + 2
        if (open.push(close) > depth) depth = open.length
        if (this.next() !== close) {
          if (close === closeObject && !this.#member()) return -1
          continue
        }
      } else if (!this.#scalar(char)) {
        return -1
      }
      if (!this.#closed(open)) return -1
      if (open.length === 0) return depth
    }
  }

  /** Moves past what closes behind a value, up to where the next one begins. */
  #closed (open: number[]): boolean {
    while (open.length > 0) {
      const char = this.next()
      if (char === comma) {
        this.at++
        return open.at(-1) === closeArray || this.#member()
      }
      if (char !== open.at(-1)) return false
      this.at++
      open.pop()
    }
    return true
  }

  /** Moves past the name of a member and its colon. */
  #member (): boolean { return this.next() === quote && this.#string() && this.take(colon) }

  #scalar (char: number): boolean {
    if (char === quote) return this.#string()
    if (char === 0x74) return this.#word('true')
    if (char === 0x66) return this.#word('false')
    if (char === 0x6e) return this.#word('null')
    return this.#number()
  }

  #word (word: string): boolean {
    if (!this.#text.startsWith(word, this.at)) return false
    this.at += word.length
    return true
  }

  #number (): boolean {
    numberPattern.lastIndex = this.at
    if (!numberPattern.test(this.#text)) return false
    const from = this.at
    this.at = numberPattern.lastIndex
    if (this.at - from > 3 && !this.#small(from)) this.#finite &&= Number.isFinite(Number(this.#text.slice(from, this.at)))
    return true
  }

  /** So short, and without an exponent, that it is within the range. */
  #small (from: number): boolean {
    if (this.at - from > longNumber) return false
    for (let at = from; at < this.at; at++) if ((this.#text.charCodeAt(at) | 0x20) === 0x65) return false
    return true
  }

  /** Moves past a string. */
  #string (): boolean {
    const text = this.#text
    const start = this.at + 1
    for (let at = start; ;) {
      if (at - start > shortString) {
        plain.lastIndex = at
        plain.test(text)
        at = plain.lastIndex
      }
      const char = text.charCodeAt(at)
      if (char === quote) {
        this.at = at + 1
        return true
      }
      // NaN at the end of the text is not greater.
      if (!(char >= space)) return false
      if (char === backslash) {
        escaped.lastIndex = at
        if (!escaped.test(text)) return false
        at = escaped.lastIndex
      } else {
        at++
      }
    }
  }
}

/** The value that is all of the text; `undefined` when it is no JSON. */
export function spanOf (text: string): Span | undefined {
  const reader = new Reader(text)
  const span = reader.value()
  return span !== undefined && Number.isNaN(reader.next()) && reader.at === text.length ? span : undefined
}

/**
 * The members of the JSON object that is all of the text, those of equal names by the last; `undefined` when it is none, or has a member that is
 * not among `known`.
 */
export function membersOf (text: string, known: ReadonlySet<string>): Map<string, Span> | undefined {
  const reader = new Reader(text)
  if (!reader.take(openObject)) return undefined
  const members = new Map<string, Span>()
  if (!reader.take(closeObject)) {
    do {
      const name = reader.name()
      if (name === undefined || !known.has(name)) return undefined
      const span = reader.value()
      if (span === undefined) return undefined
      members.set(name, span)
    } while (reader.take(comma))
    if (!reader.take(closeObject)) return undefined
  }
  return Number.isNaN(reader.next()) && reader.at === text.length ? members : undefined
}
