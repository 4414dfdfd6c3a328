/** Keeps clients from writing the log full: each kind of line has a rate, and what is left out is counted. */
import type { LogFn, Logger } from 'pino'

/** Lines below this level (info) are for those who look for something: all are written. */
const firstLimitedLevel = 30
/** The last words (fatal) are always written. */
const alwaysLevel = 60
/** Kinds that are told apart; texts are constants, except perhaps those of plugins. */
const maxKinds = 1000
const tellIntervalMs = 1000

interface Kind { allowance: number, at: number, leftOut: number, tell: (leftOut: number) => void }
type Arguments = Parameters<LogFn>

/** A kind of line is its text with its `code` or `plugin`. */
export class LineLimit {
  readonly #perSecond: number
  readonly #now: () => number
  readonly #kinds = new Map<string, Kind>()
  #timer: NodeJS.Timeout | undefined

  /** `perSecond`: lines of one kind, saved up for one second; 0 = all. `now` is a monotonic clock, milliseconds. */
  constructor (perSecond: number, now: () => number = () => performance.now()) {
    this.#perSecond = perSecond
    this.#now = now
  }

  /** pino's hook `logMethod`. */
  pass (logger: Logger, args: Arguments, method: LogFn, level: number): void {
    if (this.#perSecond === 0 || level < firstLimitedLevel || level >= alwaysLevel) return method.apply(logger, args)
    const text = textOf(args)
    const fields = fieldsOf(args)
    const kind = this.#kind(`${text}\0${String(fields?.['code'] ?? fields?.['plugin'] ?? '')}`)
    const write = (line: object): void => { method.apply(logger, [line, text] as unknown as Arguments) }
    if (!this.#allows(kind)) return this.#leaveOut(kind, fields?.['code'], write)
    if (kind.leftOut === 0) return method.apply(logger, args)
    const { leftOut } = kind
    kind.leftOut = 0
    write({ ...fields, leftOut })
  }

  /** Says what was left out and has not been told by a later line. */
  tell (): void {
    const now = this.#now()
    for (const [name, kind] of this.#kinds) {
      if (kind.leftOut > 0) kind.tell(kind.leftOut)
      else if (now - kind.at > tellIntervalMs) this.#kinds.delete(name)
      kind.leftOut = 0
    }
    if (this.#kinds.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  close (): void {
    this.tell()
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** Whether a line of this kind may be written now; takes its share of the rate. */
  #allows (kind: Kind): boolean {
    const now = this.#now()
    kind.allowance = Math.min(this.#perSecond, kind.allowance + (now - kind.at) / 1000 * this.#perSecond)
    kind.at = now
    if (kind.allowance < 1) return false
    kind.allowance -= 1
    return true
  }

  #leaveOut (kind: Kind, code: unknown, write: (line: object) => void): void {
    kind.leftOut += 1
    kind.tell = leftOut => { write({ ...(typeof code === 'string' ? { code } : {}), leftOut }) }
    this.#timer ??= setInterval(() => { this.tell() }, tellIntervalMs).unref()
  }

  #kind (name: string): Kind {
    const known = this.#kinds.get(name)
    if (known !== undefined) return known
    if (this.#kinds.size >= maxKinds) this.#kinds.clear()
    const kind = { allowance: this.#perSecond, at: this.#now(), leftOut: 0, tell: () => {} }
    this.#kinds.set(name, kind)
    return kind
  }
}

/** A line is a text, or fields and perhaps a text. */
function textOf ([first, second]: readonly unknown[]): string {
  if (typeof first === 'string') return first
  return typeof second === 'string' ? second : ''
}

function fieldsOf ([first]: readonly unknown[]): Record<string, unknown> | undefined {
  return typeof first === 'object' && first !== null ? first as Record<string, unknown> : undefined
}
