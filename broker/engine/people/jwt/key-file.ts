/** Keys in a file, which may be another one while the server runs. */
import type { Logger } from 'pino'
import { readFile, stat } from 'node:fs/promises'
import type { GetKey, KeySource } from './keys.ts'

/** Time between two looks at the file, milliseconds. */
const lookMs = 1000

export interface KeyFileOptions {
  path: string
  /** Throws when there are no keys in it. */
  read: (file: Buffer) => GetKey
  /** Milliseconds of a clock that only goes forward. */
  steady: () => number
  log: Logger
}

export class KeyFile implements KeySource {
  readonly #options: KeyFileOptions
  #keys: GetKey | undefined
  /** What the file looked like when it was read. */
  #mark = ''
  #lookedAt = -Infinity
  #looking: Promise<void> | undefined

  constructor (options: KeyFileOptions) { this.#options = options }

  async load (): Promise<void> {
    const { path } = this.#options
    try {
      await this.#read()
    } catch (error) {
      throw new Error(`the keys of tokens cannot be read from ${path}: ${(error as Error).message}`, { cause: error })
    }
  }

  async current (): Promise<GetKey> {
    if (this.#options.steady() - this.#lookedAt >= lookMs) await this.#look()
    if (this.#keys === undefined) throw new Error('the keys are asked for before they are loaded')
    return this.#keys
  }

  async renewed (known: GetKey): Promise<GetKey | undefined> {
    await this.#look()
    return this.#keys === known ? undefined : this.#keys
  }

  close (): void { /* Nothing is open between two looks. */ }

  /** One look at a time. A file that cannot be read, or that holds no keys, leaves the keys as they were. */
  #look (): Promise<void> {
    this.#looking ??= this.#read().catch((error: unknown) => {
      const { log, path } = this.#options
      log.error({ path, reason: (error as Error).message }, 'the file with the keys of tokens cannot be read: those that it held before count')
    }).finally(() => { this.#looking = undefined })
    return this.#looking
  }

  async #read (): Promise<void> {
    const { path, read, steady, log } = this.#options
    this.#lookedAt = steady()
    const { ino, mtimeMs, size } = await stat(path)
    const mark = `${ino} ${mtimeMs} ${size}`
    if (mark === this.#mark) return
    // Also of a file that is wrong: it is said once.
    this.#mark = mark
    const first = this.#keys === undefined
    this.#keys = read(await readFile(path))
    if (!first) log.info({ path }, 'the keys of tokens were read anew')
  }
}
