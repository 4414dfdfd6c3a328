/**
 * A file as what a store is moved into: `sabethes export`. Rows are appended to `FILE.part`, a gzip member for each page (RFC 1952, section 2.2) when it is packed, and
 * `FILE.part.json` says how far it is: what is behind that is cut off when it goes on. Only a whole one gets its name.
 */
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { open, readFile, rename, rm, writeFile } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { syncFolder } from '../store/folder.ts'
import { TransferError } from '../store/transfer.ts'
import type { Checkpoint, TransferKind, TransferPage, TransferRows, TransferTarget } from '../store/transfer.ts'
import { archiveVersion, endLine, headerLine, readLine, rowLine } from './archive-lines.ts'
import { linesOf } from './archive-reading.ts'
import { RunningDigest, type KindDigest } from './digest.ts'

const pack = promisify(gzip)
/** Hashes of passwords are in it. */
const fileMode = 0o600
const pageRows = 1000

interface Progress { bytes: number, kinds: Record<TransferKind, KindDigest>, checkpoint: Checkpoint }

export class ArchiveTarget implements TransferTarget {
  readonly identity: string
  readonly #path: string
  readonly #packed: boolean
  #file: FileHandle | undefined
  #bytes = 0
  #digest = new RunningDigest()

  /** Packed when its name ends in `.gz`. */
  constructor (path: string) {
    this.#path = path
    this.#packed = path.endsWith('.gz')
    this.identity = `file:${path}`
  }

  get #part (): string { return `${this.#path}.part` }
  get #progress (): string { return `${this.#part}.json` }

  async checkpoint (): Promise<Checkpoint | undefined> {
    if (existsSync(this.#path)) throw new TransferError(`'${this.#path}' exists: an export does not replace what is there`)
    const progress = existsSync(this.#progress) && existsSync(this.#part) ? readProgress(await readFile(this.#progress, 'utf8')) : undefined
    if (progress === undefined) return undefined
    const { bytes, kinds, checkpoint } = progress
    this.#file = await open(this.#part, 'r+')
    const { size } = await this.#file.stat()
    if (size < bytes) throw new TransferError(`'${this.#part}' has lost what was written: remove it and start again`)
    await this.#file.truncate(bytes)
    this.#bytes = bytes
    this.#digest = new RunningDigest(kinds)
    return checkpoint
  }

  async begin (checkpoint: Checkpoint): Promise<void> {
    this.#file = await open(this.#part, 'w', fileMode)
    await this.#append(headerLine({ version: archiveVersion, id: randomUUID(), source: checkpoint.source, createdAt: Date.now() }))
    await syncFolder(dirname(this.#part))
    await this.#remember(checkpoint)
  }

  async write<K extends TransferKind> (kind: K, rows: ReadonlyArray<TransferRows[K]>, checkpoint: Checkpoint): Promise<void> {
    for (const row of rows) this.#digest.add(kind, row)
    await this.#append(rows.map(row => rowLine(kind, row)).join(''))
    await this.#remember(checkpoint)
  }

  async finish (): Promise<void> {
    await this.#append(endLine(this.#digest.result()))
    await rename(this.#part, this.#path)
    await rm(this.#progress, { force: true })
    await syncFolder(dirname(this.#path))
  }

  async estimate (): Promise<undefined> {}

  /** What is written so far. */
  async * read<K extends TransferKind> (kind: K): AsyncGenerator<TransferPage<K>, void> {
    let rows: Array<TransferRows[K]> = []
    for await (const { text, number } of linesOf(this.#part, this.#bytes)) {
      if (!text.startsWith(`{"${kind}":`)) continue
      const line = readLine(text, `line ${number} of '${this.#part}'`)
      if (line.is === 'row' && line.kind === kind) rows.push(line.row as TransferRows[K])
      if (rows.length < pageRows) continue
      yield { rows, at: '' }
      rows = []
    }
    if (rows.length > 0) yield { rows, at: '' }
  }

  async close (): Promise<void> {
    await this.#file?.close()
    this.#file = undefined
  }

  /** On disk when it resolves. */
  async #append (lines: string): Promise<void> {
    const file = this.#file
    if (file === undefined) throw new TransferError(`'${this.#part}' is not open`)
    const bytes = this.#packed ? await pack(lines) : Buffer.from(lines)
    for (let done = 0; done < bytes.length;) done += (await file.write(bytes, done, bytes.length - done, this.#bytes + done)).bytesWritten
    await file.datasync()
    this.#bytes += bytes.length
  }

  async #remember (checkpoint: Checkpoint): Promise<void> {
    const fresh = `${this.#progress}.new`
    await writeFile(fresh, JSON.stringify({ bytes: this.#bytes, kinds: this.#digest.result(), checkpoint } satisfies Progress), { mode: fileMode })
    await rename(fresh, this.#progress)
  }
}

/** It is not synced: of one that power loss has emptied nothing is known, and the export starts again. */
function readProgress (text: string): Progress | undefined {
  try {
    return JSON.parse(text) as Progress
  } catch {
    return undefined
  }
}
