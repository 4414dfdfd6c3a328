import { pino, type Logger } from 'pino'

/** JSON lines on standard error (pino), so that standard output stays for what a command answers. No bodies, no secrets. */
export function createLog (options: { level: string }): Logger {
  return pino({ level: options.level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, pino.destination({ dest: 2, sync: true }))
}
