/** The certificate of a listener, read again when its files change: connections that are open keep the one that they began with. */
import { readFile, stat } from 'node:fs/promises'
import type { SecureContextOptions, SecureVersion, Server } from 'node:tls'
import { createSecureContext } from 'node:tls'
import type { Logger } from 'pino'

/** Time between two looks at the files, milliseconds. */
const lookMs = 2_000

export interface CertificateOptions {
  certFile: string
  keyFile: string
  /** Who signs clients' certificates, and which of those are revoked; '' for none. */
  caFile: string
  crlFile: string
  minVersion: SecureVersion
  log: Pick<Logger, 'info' | 'error'>
  lookMs?: number
}

export class Certificates {
  readonly #options: CertificateOptions
  #mark = ''
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor (options: CertificateOptions) { this.#options = options }

  /** Reads the files. Rejects when one cannot be read, or when they do not fit each other: the reason names the files. */
  async load (): Promise<SecureContextOptions> {
    const { certFile, keyFile } = this.#options
    try {
      this.#mark = await this.#look()
      return await this.#read()
    } catch (error) {
      throw new Error(`the certificate ${certFile} with the key ${keyFile} cannot be used: ${(error as Error).message}`, { cause: error })
    }
  }

  /** Has `server` use what the files hold, whenever they change, until `close`. */
  renew (server: Pick<Server, 'setSecureContext'>): void {
    this.#timer = setTimeout(() => {
      this.#renewed(server).catch((error: unknown) => {
        const { log, certFile, keyFile } = this.#options
        log.error({ certFile, keyFile, reason: (error as Error).message }, 'a changed certificate cannot be used: the one before it stays')
      }).finally(() => { if (!this.#closed) this.renew(server) })
    }, this.#options.lookMs ?? lookMs)
    this.#timer.unref()
  }

  close (): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }

  async #renewed (server: Pick<Server, 'setSecureContext'>): Promise<void> {
    const mark = await this.#look()
    if (mark === this.#mark) return
    const context = await this.#read()
    // Files that change one after the other are not whole in between: they are read until they fit.
    this.#mark = mark
    if (this.#closed) return
    server.setSecureContext(context)
    const { log, certFile } = this.#options
    log.info({ certFile }, 'the certificate was read anew')
  }

  get #files (): string[] {
    const { certFile, keyFile, caFile, crlFile } = this.#options
    return [certFile, keyFile, caFile, crlFile].filter(file => file !== '')
  }

  async #look (): Promise<string> {
    const marks = await Promise.all(this.#files.map(async file => {
      const { ino, mtimeMs, size } = await stat(file)
      return `${ino} ${mtimeMs} ${size}`
    }))
    return marks.join()
  }

  async #read (): Promise<SecureContextOptions> {
    const { certFile, keyFile, caFile, crlFile, minVersion } = this.#options
    const read = async (file: string): Promise<Buffer | undefined> => file === '' ? undefined : await readFile(file)
    const [cert, key, ca, crl] = await Promise.all([certFile, keyFile, caFile, crlFile].map(read))
    const context: SecureContextOptions = { minVersion, ...cert !== undefined && { cert }, ...key !== undefined && { key }, ...ca !== undefined && { ca }, ...crl !== undefined && { crl } }
    // Throws for what does not fit.
    createSecureContext(context)
    return context
  }
}
