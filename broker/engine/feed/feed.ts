/**
 * The feed: what was committed, for readers with names, each at its own pace. Whatever must follow a commit for certain reads it.
 * Everything here is plain data that is asked for; a reader that does not ask costs the disk of its rows, and nobody any time.
 */
import type { Logger } from 'pino'
import { setTimeout as pause } from 'node:timers/promises'
import { Refusal } from '../../errors.ts'
import type { Measure } from '../../link/measures.ts'
import type { FeedEntry, FeedReader, FeedStore } from '../../store/feed.ts'
import type { TimeMs } from '../../store/store.ts'
import { isId } from '../../topics.ts'

export interface FeedOptions {
  /** Readers (`feed.maxReaders`). */
  maxReaders: number
  /** Entries of one read (`feed.batch`). */
  batch: number
  /** Bytes of messages of one read (`feed.batchBytes`). */
  batchBytes: number
  /** Seconds that rows wait for a reader that does not come; 0 = for ever (`feed.keepSeconds`). */
  keepSeconds: number
}
export const defaultFeedOptions: FeedOptions = { maxReaders: 16, batch: 256, batchBytes: 1_048_576, keepSeconds: 2_592_000 }

/** A reader, and how far it is behind. */
export interface FeedReaderState extends FeedReader {
  /** Entries that it has not acknowledged. */
  behind: number
  /** When the first of them was committed. */
  since?: TimeMs
}

export interface FeedQuery {
  /** Default: what the reader has acknowledged. */
  after?: number
  /** Milliseconds to wait for the first entry, at most 30,000; 0 when absent. */
  waitMs?: number
  /** Ends the wait. */
  signal?: AbortSignal
}

export interface FeedParts {
  store: FeedStore
  log: Logger
  /** Milliseconds since the epoch. */
  now: () => TimeMs
  options?: FeedOptions
  /** Milliseconds between two looks for rows that can go. */
  trimIntervalMs?: number
  /** Milliseconds after which a temporary reader that asks for nothing is gone. */
  temporaryMs?: number
}

const maxWaitMs = 30_000
/** Milliseconds after which a feed that other servers write too is looked at again. */
const sharedPollMs = 1000
/** Rows that are removed at once, and the pause behind it in milliseconds. */
const stepRows = 100
const stepPauseMs = 20

export class Feed {
  readonly #store: FeedStore
  readonly #log: Logger
  readonly #now: () => TimeMs
  readonly #options: FeedOptions
  readonly #timer: NodeJS.Timeout
  readonly #end = new AbortController()
  readonly #waiting = new Set<() => void>()
  readonly #temporaryMs: number
  /** When temporary readers asked last. */
  readonly #asked = new Map<string, number>()
  /** Grows with each commit into the feed. */
  #appends = 0
  /** Something may be there to be trimmed. */
  #mayTrim = true
  #trimming: Promise<void> | undefined
  #registering: Promise<unknown> = Promise.resolve()

  constructor ({ store, log, now, options = defaultFeedOptions, trimIntervalMs = 30_000, temporaryMs = 60_000 }: FeedParts) {
    this.#store = store
    this.#log = log
    this.#now = now
    this.#options = options
    this.#temporaryMs = temporaryMs
    store.onAppend = () => { this.#wake() }
    this.#timer = setInterval(() => {
      this.trim().catch((error: unknown) => { log.error({ err: error }, 'the feed could not be trimmed') })
    }, trimIntervalMs)
    this.#timer.unref()
  }

  /**
   * A reader from now on, or from the oldest that is kept for others. One that is there stays as it is. Throws `Refusal`
   * (`bad_payload`: no name; `conflict`: `feed.maxReaders`).
   */
  register (name: string, { from = 'now', temporary = false }: { from?: 'now' | 'oldest', temporary?: boolean } = {}): Promise<FeedReader> {
    const registered = this.#registering.then(async () => {
      if (!isId(name)) throw new Refusal('bad_payload', 'a reader\'s name is 1 to 64 of A-Z a-z 0-9 . _ -')
      const known = await this.#store.readers()
      const { maxReaders } = this.#options
      if (known.length >= maxReaders && known.every(reader => reader.name !== name)) throw new Refusal('conflict', `the feed has ${known.length} readers, and feed.maxReaders is ${maxReaders}`)
      this.#mayTrim = true
      const reader = await this.#store.register(name, { from, createdAt: this.#now(), temporary })
      if (reader.temporary === true) this.#asked.set(name, performance.now())
      return reader
    })
    // The error is the caller's.
    this.#registering = registered.catch(() => undefined)
    return registered
  }

  /** Everything up to `position` is done. Throws `Refusal` (`not_found`). */
  async acknowledge (name: string, position: number): Promise<void> {
    if (!Number.isSafeInteger(position) || position < 0) throw new Refusal('bad_payload', 'a position of the feed is a number from 0')
    if (!await this.#store.acknowledge(name, position)) throw unknownReader(name)
    this.#mayTrim = true
  }

  /** Ends a reader; what waits for it goes. Throws `Refusal` (`not_found`). */
  async remove (name: string): Promise<void> {
    if (!await this.#store.remove(name)) throw unknownReader(name)
    this.#asked.delete(name)
    this.#mayTrim = true
    this.#wake()
  }

  /** All readers by name, with their lag. */
  async readers (): Promise<FeedReaderState[]> {
    const readers = await this.#store.readers()
    const end = await this.#store.end()
    return await Promise.all(readers.map(async reader => {
      const since = await this.#store.since(reader.position)
      return { ...reader, behind: Math.max(0, end - reader.position), ...(since === undefined ? {} : { since }) }
    }))
  }

  /** How far readers are behind, for those who run the server. */
  async measures (): Promise<Measure[]> {
    const now = this.#now()
    return (await this.readers()).flatMap(({ name: reader, behind, since = now }) => [
      { name: 'sabethes_feed_behind_entries', labels: { reader }, value: behind } as const,
      { name: 'sabethes_feed_behind_seconds', labels: { reader }, value: Math.max(0, now - since) / 1000 } as const
    ])
  }

  /** The next entries of a reader, in order; none when nothing came while it waited. Throws `Refusal` (`not_found`). */
  async read (name: string, { after = 0, waitMs = 0, signal }: FeedQuery = {}): Promise<FeedEntry[]> {
    const until = performance.now() + Math.min(waitMs, maxWaitMs)
    const page = { limit: this.#options.batch, maxBytes: this.#options.batchBytes }
    for (;;) {
      const appends = this.#appends
      const reader = await this.#store.reader(name)
      if (reader === undefined) throw unknownReader(name)
      if (reader.temporary === true) this.#asked.set(name, performance.now())
      const entries = await this.#store.read(Math.max(after, reader.position), page)
      const missing = entries.reduce((sum, entry) => sum + (entry.kind === 'gap' && entry.reason === 'missing' ? entry.count : 0), 0)
      if (missing > 0) this.#log.warn({ reader: name, missing }, 'a reader of the feed missed what had become too old, or is damaged')
      const leftMs = until - performance.now()
      if (entries.length > 0 || leftMs <= 0 || this.#end.signal.aborted || signal?.aborted === true) return entries
      if (appends === this.#appends) await this.#change(this.#store.shared ? Math.min(leftMs, sharedPollMs) : leftMs, signal)
    }
  }

  /** Removes what all readers have passed, and what became too old. */
  async trim (): Promise<void> {
    if (!this.#mayTrim || this.#end.signal.aborted) return
    this.#trimming ??= this.#trim().finally(() => { this.#trimming = undefined })
    await this.#trimming
  }

  async #trim (): Promise<void> {
    // Whoever looked on may have been killed.
    for (const [name, at] of this.#asked) if (performance.now() - at > this.#temporaryMs) await this.remove(name)
    const { keepSeconds } = this.#options
    const before = keepSeconds === 0 ? 0 : this.#now() - keepSeconds * 1000
    // Where nobody reads, nothing comes any more; where somebody does, rows become old.
    this.#mayTrim = (await this.#store.readers()).length > 0
    while (!this.#end.signal.aborted) {
      if (await this.#store.trim(before, stepRows) === 0) return
      await pause(stepPauseMs, undefined, { signal: this.#end.signal }).catch(stopped)
    }
  }

  get closed (): boolean { return this.#end.signal.aborted }

  /** Nobody is woken any more; reads that wait end. Waits for the step of a trim that is under way. */
  async close (): Promise<void> {
    clearInterval(this.#timer)
    this.#store.onAppend = () => {}
    this.#end.abort()
    this.#wake()
    await this.#trimming?.catch((error: unknown) => { this.#log.debug({ err: error }, 'the trim of the feed ended with the server') })
  }

  #wake (): void {
    this.#appends++
    if (this.#waiting.size === 0) return
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const resolve of waiting) resolve()
  }

  #change (ms: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise(resolve => {
      const done = (): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', done)
        this.#waiting.delete(done)
        resolve()
      }
      const timer = setTimeout(done, ms)
      signal?.addEventListener('abort', done)
      this.#waiting.add(done)
      if (signal?.aborted === true) done()
    })
  }
}

function unknownReader (name: string): Refusal { return new Refusal('not_found', `the feed has no reader '${name}'`) }

/** The pause ends early at `close`; the loop sees the signal. */
function stopped (error: unknown): void { if (!(error instanceof Error && error.name === 'AbortError')) throw error }
