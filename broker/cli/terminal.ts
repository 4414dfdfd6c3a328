/** What a verb sees of the world; tests give their own. */
import type { EventEmitter } from 'node:events'
import type { Readable, Writable } from 'node:stream'
import type { ServerModule } from './server-module.ts'

export interface Terminal {
  stdin: Readable & { isTTY?: boolean }
  /** Results, and nothing else when `--json`. */
  stdout: Writable & { isTTY?: boolean }
  /** Texts for people: progress, questions, errors. */
  stderr: Writable & { isTTY?: boolean }
  env: NodeJS.ProcessEnv
  /** The working folder. */
  folder: string
  /** Where SIGINT and SIGTERM arrive. */
  signals: EventEmitter
  /** Milliseconds of a clock that only goes forward. */
  now (): number
  loadServer (): Promise<ServerModule>
}

/** A verb that failed; `exitCode` 1 = refused or failed, 2 = wrong usage or configuration. */
export class CommandError extends Error {
  readonly exitCode: 1 | 2

  constructor (message: string, exitCode: 1 | 2 = 1, options?: ErrorOptions) {
    super(message, options)
    this.name = 'CommandError'
    this.exitCode = exitCode
  }
}

/** Prints a result: `value` as one line of JSON, or `text` (without it nothing is printed for people). */
export function print (terminal: Terminal, json: boolean | undefined, value: unknown, text?: string): void {
  if (json === true) terminal.stdout.write(JSON.stringify(value) + '\n')
  else if (text !== undefined && text !== '') terminal.stdout.write(text.endsWith('\n') ? text : text + '\n')
}

/** A line for people on standard error. */
export function say (terminal: Terminal, text: string): void { terminal.stderr.write(text + '\n') }

/** Text from elsewhere, safe to show: control characters could drive the terminal. */
export function printable (text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** A line that stays a line: who gives a text of 5,000 characters for an id need not read it again. */
export function clipped (line: string): string { return line.length <= maxLine ? line : `${line.slice(0, maxLine / 2)} … ${line.slice(-maxLine / 2)}` }
const maxLine = 600

/** Columns, padded. */
export function columns (rows: ReadonlyArray<readonly string[]>): string {
  const widths = (rows[0] ?? []).map((_, at) => Math.max(...rows.map(row => row[at]?.length ?? 0)))
  return rows.map(row => row.map((cell, at) => at === row.length - 1 ? cell : cell.padEnd(widths[at] ?? 0)).join('  ').trimEnd()).join('\n')
}
