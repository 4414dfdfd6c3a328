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
    const write = (fields: object, text: string | undefined): void => { method.apply(logger, [fields, text] as unknown as Arguments) }
    if (this.#perSecond === 0 || level < firstLimitedLevel || level >= alwaysLevel) return method.apply(logger, args)
    const [first, second] = args as unknown[]
    const text = typeof first === 'string' ? first : typeof second === 'string' ? second : ''
    const fields = typeof first === 'object' && first !== null ? first as Record<string, unknown> : undefined
    const kind = this.#kind(`${text}\0${String(fields?.['code'] ?? fields?.['plugin'] ?? '')}`)
    const now = this.#now()
    kind.allowance = Math.min(this.#perSecond, kind.allowance + (now - kind.at) / 1000 * this.#perSecond)
    kind.at = now
    if (kind.allowance >= 1) {
      kind.allowance -= 1
      if (kind.leftOut === 0) return method.apply(logger, args)
      const { leftOut } = kind
      kind.leftOut = 0
      return write({ ...fields, leftOut }, text)
    }
    kind.leftOut += 1
    const { code } = fields ?? {}
    kind.tell = leftOut => { write({ ...(typeof code === 'string' ? { code } : {}), leftOut }, text) }
    this.#timer ??= setInterval(() => { this.tell() }, tellIntervalMs).unref()
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

  #kind (name: string): Kind {
    const known = this.#kinds.get(name)
    if (known !== undefined) return known
    if (this.#kinds.size >= maxKinds) this.#kinds.clear()
    const kind = { allowance: this.#perSecond, at: this.#now(), leftOut: 0, tell: () => {} }
    this.#kinds.set(name, kind)
    return kind
  }
}
