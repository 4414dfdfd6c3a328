/** `sabethes migrate --from STORE --to STORE`, `export` and `import`: moves the content of a store to another backend, or by a file; no server may run on either. */
import type { MigrationReport } from '../migrate/copy.ts'
import type { TransferSource, TransferTarget } from '../store/transfer.ts'
import { withProgress } from './progress.ts'
import { settings, type CommonOptions } from './settings.ts'
import { columns, CommandError, print, say, type Terminal } from './terminal.ts'

export interface MigrateOptions extends CommonOptions { from?: string, to?: string }
export type ExportOptions = Omit<MigrateOptions, 'to'>
export type ImportOptions = Omit<MigrateOptions, 'from'>

/** Milliseconds between two lines of progress, where no bar can be drawn. */
const lineIntervalMs = 1000

export async function migrate (terminal: Terminal, options: MigrateOptions): Promise<void> {
  const { from, to } = options
  if (to === undefined) throw new CommandError('--to is needed: level:FOLDER, mongodb://HOST/DATABASE, file:EXPORT or config', 2)
  await move(terminal, options, from, to)
}

/** `sabethes export FILE`: the content of a store as newline-delimited JSON. */
export async function exportStore (terminal: Terminal, file: string, options: ExportOptions): Promise<void> { await move(terminal, options, options.from ?? 'config', `file:${file}`) }

/** `sabethes import FILE`: an export into an empty store. */
export async function importStore (terminal: Terminal, file: string, options: ImportOptions): Promise<void> { await move(terminal, options, `file:${file}`, options.to ?? 'config') }

async function move (terminal: Terminal, options: CommonOptions, from: string | undefined, to: string): Promise<void> {
  const { config } = await settings(terminal, options)
  const address = await import('../migrate/address.ts')
  const parse = (text: string): ReturnType<typeof address.parseAddress> => {
    try {
      return address.parseAddress(text, config.store, terminal.folder)
    } catch (error) {
      throw new CommandError((error as Error).message, 2, { cause: error })
    }
  }
  const [source, target] = [from === undefined ? undefined : parse(from), parse(to)]
  if (source === undefined) {
    if (target.driver !== 'mongodb') throw new CommandError('--from is needed: only a MongoDB database can be prepared without moving anything', 2)
    const { openMongoStore } = await import('../store/mongodb/store.ts')
    await (await openMongoStore(target)).close()
    return print(terminal, options.json, { ok: true, prepared: true }, 'the database has its indexes')
  }
  const reading = await address.openSource(source)
  try {
    const writing = await address.openTarget(target)
    try {
      tell(terminal, options, reading, writing, await run(terminal, reading, writing))
    } finally {
      await writing.close()
    }
  } finally {
    await reading.close()
  }
}

function tell (terminal: Terminal, options: CommonOptions, source: TransferSource, target: TransferTarget, report: MigrationReport): void {
  const kinds = Object.entries(report.kinds).map(([kind, { rows, sum }]) => [kind, String(rows), sum])
  print(terminal, options.json, { ok: true, from: source.identity, to: target.identity, ...report },
    `${columns([['kind', 'rows', 'sum'], ...kinds])}\n${report.resumed ? 'went on where it was interrupted; ' : ''}${target.identity} is equal to ${source.identity}`)
}

async function run (terminal: Terminal, source: TransferSource, target: TransferTarget): Promise<MigrationReport> {
  const { migrate } = await import('../migrate/copy.ts')
  let step = ''
  let saidAt = 0
  return await withProgress(terminal, 'migrate', progress => migrate(source, target, (name, rows, total) => {
    progress(rows, total)
    if (terminal.stderr.isTTY === true || (name === step && terminal.now() - saidAt < lineIntervalMs)) return
    step = name
    saidAt = terminal.now()
    say(terminal, `${name}: ${rows}${total === undefined ? '' : ` of about ${total}`} rows`)
  }))
}
