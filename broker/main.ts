#!/usr/bin/env node
/** The program `sabethes`. */
import { run } from './cli/program.ts'

// What the program writes (stores, backups, LevelDB's files in them) is its user's alone.
process.umask(0o077)

// A reader that goes away (`sabethes listen | head`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

// Nor is a reader of standard error that goes away; there is nowhere to say so, and a server goes on without it.
process.stderr.on('error', () => { /* what was written is lost */ })

// A verb ends by its own promise: timers that hold no process (they are made for a server) must not end it before.
setInterval(() => {}, 2 ** 30)

// Whatever a verb left open (a stop that had to be forced) must not keep the process.
process.exit(await run(process.argv.slice(2), {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  folder: process.cwd(),
  signals: process,
  now: () => performance.now(),
  loadServer: async () => await import('./server.ts')
}))
