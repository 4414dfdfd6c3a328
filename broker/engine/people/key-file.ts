/** Keys, or a secret, in a file, which may be another one while the server runs. */
import type { Logger } from 'pino'
import { readFile, stat } from 'node:fs/promises'

/** RFC 7518, section 3.2: as long as the hash that it is used with. */
const minSecretBytes = 32
/** Time between two looks at the file, milliseconds. */
const lookMs = 1000

/** Where keys are from. */
export interface KeySource<Keys> {
  /** To be called at the start; rejects when there can be none. */
  load (): Promise<void>
  /** Throws `Refusal` (`unavailable`) while there are none. */
  current (): Promise<Keys>
  /** For who does not find a key: keys that are newer than `known`; undefined when there are none. */
  renewed (known: Keys): Promise<Keys | undefined>
  close (): void
}

export interface KeyFileOptions<Keys> {
  path: string
  /** Throws when there are no keys in it. */
  read: (file: Buffer) => Keys
  /** Milliseconds of a clock that only goes forward. */
  steady: () => number
  log: Logger
}

export class KeyFile<Keys> implements KeySource<Keys> {
  readonly #options: KeyFileOptions<Keys>
  #keys: Keys | undefined
  /** What the file looked like when it was read. */
  #mark = ''
  #lookedAt = -Infinity
  #looking: Promise<void> | undefined

  constructor (options: KeyFileOptions<Keys>) { this.#options = options }

  async load (): Promise<void> {
    const { path } = this.#options
    try {
      await this.#read()
    } catch (error) {
      throw new Error(`the keys of auth cannot be read from ${path}: ${(error as Error).message}`, { cause: error })
    }
  }

  async current (): Promise<Keys> {
    if (this.#options.steady() - this.#lookedAt >= lookMs) await this.#look()
    if (this.#keys === undefined) throw new Error('the keys are asked for before they are loaded')
    return this.#keys
  }

  async renewed (known: Keys): Promise<Keys | undefined> {
    await this.#look()
    return this.#keys === known ? undefined : this.#keys
  }

  close (): void { /* Nothing is open between two looks. */ }

  /** One look at a time. A file that cannot be read, or that holds no keys, leaves the keys as they were. */
  #look (): Promise<void> {
    this.#looking ??= this.#read().catch((error: unknown) => {
      const { log, path } = this.#options
      log.error({ path, reason: (error as Error).message }, 'a file with keys of auth cannot be read: those that it held before count')
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
    if (!first) log.info({ path }, 'a file with keys of auth was read anew')
  }
}

/** A secret as it stands in its file. Throws when it is too short. */
export function secretOf (file: Buffer): Uint8Array {
  const last = file.at(-1) === 0x0a ? (file.at(-2) === 0x0d ? -2 : -1) : undefined
  const secret = new Uint8Array(file.subarray(0, last))
  if (secret.length < minSecretBytes) throw new Error(`a secret has ${minSecretBytes} bytes and more, this one has ${secret.length}`)
  return secret
}
