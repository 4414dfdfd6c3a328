/** An export as what is moved into a store: `sabethes import`. */
import { TransferError, transferKinds } from '../store/transfer.ts'
import type { TransferKind, TransferPage, TransferRows, TransferSource } from '../store/transfer.ts'
import { linesOf, type Line } from './archive-reading.ts'
import { readLine, type ArchiveHeader, type ArchiveLine } from './archive-lines.ts'
import { RunningDigest } from './digest.ts'

/** Rows, and characters of their lines, of one page. */
const [pageRows, pageCharacters] = [1000, 1024 * 1024]

/** Reads the first line. Throws `TransferError` with what is no export. */
export async function openArchiveSource (path: string): Promise<ArchiveSource> {
  const lines = linesOf(path)
  try {
    const { value } = await lines.next()
    const line = value === undefined ? undefined : readLine(value.text, `line 1 of '${path}'`)
    if (line?.is === 'header') return new ArchiveSource(path, line.header)
  } finally {
    await lines.return()
  }
  throw new TransferError(`'${path}' is no export: it does not begin as one`)
}

export class ArchiveSource implements TransferSource {
  /** By its own id: it may be renamed, or packed anew, while it is being moved. */
  readonly identity: string
  readonly #path: string
  #cursor: Cursor | undefined

  constructor (path: string, { id, source }: Pick<ArchiveHeader, 'id' | 'source'>) {
    this.#path = path
    this.identity = `export ${id} of ${source}`
  }

  /** Reads all of it once, so that nothing is moved of what is damaged. */
  async prepare (): Promise<void> {
    const digest = new RunningDigest()
    for await (const line of rowsOf(this.#path)) {
      if (line.is === 'row') digest.add(line.kind, line.row)
      else if (line.is === 'end') return checkSums(this.#path, digest, line.kinds)
    }
    throw new TransferError(`'${this.#path}' is not whole: its export was interrupted`)
  }

  async estimate (): Promise<undefined> {}

  /** One pass over the file, when the kinds are asked for in their order. `at`: how many rows of the kind are left out. */
  async * read<K extends TransferKind> (kind: K, at?: string): AsyncGenerator<TransferPage<K>, void> {
    const order = transferKinds.indexOf(kind)
    if (this.#cursor === undefined || this.#cursor.order >= order) await this.#restart()
    const cursor = this.#cursor as Cursor
    // Until this kind is through nobody else goes on here.
    this.#cursor = undefined
    let count = 0
    const skipped = Number(at ?? 0)
    let rows: Array<TransferRows[K]> = []
    let characters = 0
    for (;;) {
      const line = cursor.next
      if (line === undefined || line.is === 'end') break
      const place = line.is === 'row' ? transferKinds.indexOf(line.kind) : -1
      if (place > order) break
      if (place === order && ++count > skipped) {
        rows.push((line as Extract<ArchiveLine, { is: 'row' }>).row as TransferRows[K])
        characters += cursor.characters
        if (rows.length >= pageRows || characters >= pageCharacters) {
          yield { rows, at: String(count) }
          rows = []
          characters = 0
        }
      }
      await cursor.step()
    }
    if (rows.length > 0) yield { rows, at: String(count) }
    cursor.order = order
    this.#cursor = cursor
  }

  async close (): Promise<void> {
    await this.#cursor?.end()
    this.#cursor = undefined
  }

  async #restart (): Promise<void> {
    await this.#cursor?.end()
    this.#cursor = new Cursor(this.#path)
    await this.#cursor.step()
  }
}

/** Where a pass over the file is. */
class Cursor {
  /** Of the kind that was read last. */
  order = -1
  next: ArchiveLine | undefined
  /** Of the line. */
  characters = 0
  readonly #path: string
  readonly #lines: AsyncGenerator<Line, void>

  constructor (path: string) {
    this.#path = path
    this.#lines = linesOf(path)
  }

  async step (): Promise<void> {
    const { value } = await this.#lines.next()
    this.characters = value?.text.length ?? 0
    this.next = value === undefined ? undefined : readLine(value.text, `line ${value.number} of '${this.#path}'`)
  }

  async end (): Promise<void> { await this.#lines.return() }
}

/** Lines in their order, checked. */
async function * rowsOf (path: string): AsyncGenerator<ArchiveLine, void> {
  let order = 0
  for await (const { text, number } of linesOf(path)) {
    const at = `line ${number} of '${path}'`
    const line = readLine(text, at)
    if ((line.is === 'header') !== (number === 1)) throw new TransferError(`${at} is no row`)
    if (line.is === 'row') {
      const place = transferKinds.indexOf(line.kind)
      if (place < order) throw new TransferError(`${at}: '${line.kind}' comes behind '${transferKinds[order]}'`)
      order = place
    }
    yield line
  }
}

function checkSums (path: string, digest: RunningDigest, kinds: unknown): void {
  const got = digest.result()
  for (const kind of transferKinds) {
    const wanted = (kinds as Partial<Record<TransferKind, { rows: number, sum: string }>>)[kind] ?? { rows: 0, sum: new RunningDigest().result().user.sum }
    const { rows, sum } = got[kind]
    if (rows !== wanted.rows || sum !== wanted.sum) throw new TransferError(`'${path}' is damaged: ${kind} has ${rows} rows with sum ${sum}, and ${wanted.rows} with sum ${wanted.sum} were written`)
  }
}
