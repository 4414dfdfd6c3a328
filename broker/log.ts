import { isatty } from 'node:tty'
import { pino, type Logger } from 'pino'
import { LineLimit } from './log-limit.ts'
import { LogOutput } from './log-output.ts'
import { lineText } from './log-text.ts'

export interface LogOptions {
  level: string
  /** Text for people instead of JSON lines; `auto`: when standard error is a terminal. */
  pretty: boolean | 'auto'
  /** Lines of one kind in a second. */
  linesPerSecond: number
  /** Bytes that wait for a reader. */
  bufferBytes: number
}

/**
 * The log on standard error, so that standard output stays for what a command answers: JSON lines (pino), or text for people.
 * No bodies, no secrets. `close` writes what waits.
 */
export function createLog ({ level, pretty, linesPerSecond, bufferBytes }: LogOptions): { log: Logger, close: () => void } {
  // Not process.stderr.isTTY: a worker thread does not know it.
  const isTerminal = isatty(2)
  const isText = pretty === 'auto' ? isTerminal : pretty
  const form = (line: string): string => isText ? lineText(line, isTerminal) : line
  const output = new LogOutput({
    maxBytes: bufferBytes,
    dropped: dropped => form(JSON.stringify({ level: 40, time: new Date().toISOString(), dropped, msg: 'log lines were dropped: nobody took them in time' }) + '\n')
  })
  const limit = new LineLimit(linesPerSecond)
  const log = pino({
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    hooks: { logMethod (args, method, level) { limit.pass(this, args, method, level) } }
  }, {
    write: (line: string) => { output.write(form(line)) },
    flushSync: () => { output.flushSync() }
  } as pino.DestinationStream)
  return {
    log,
    close: () => {
      limit.close()
      output.close()
    }
  }
}
