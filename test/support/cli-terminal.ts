/** A terminal for verbs in tests: what they print is collected, nothing of the real process is touched. */
import { EventEmitter } from 'node:events'
import { PassThrough } from 'node:stream'
import type { ServerModule } from '../../broker/cli/server-module.ts'
import { run } from '../../broker/cli/program.ts'
import type { Terminal } from '../../broker/cli/terminal.ts'

export interface Outcome { code: number, out: string, err: string }

export interface Desk {
  terminal: Terminal
  /** Everything printed so far. */
  out (): string
  err (): string
  /** Resolves when standard output holds `text`. */
  printed (text: string): Promise<void>
  run (...args: string[]): Promise<Outcome>
}

/** `folder` is the working folder; `input` is standard input. */
export function desk (folder: string, { input = '', env = {}, server }: { input?: string, env?: NodeJS.ProcessEnv, server?: Partial<ServerModule> } = {}): Desk {
  const stdin = new PassThrough()
  stdin.end(input)
  const stdout = new PassThrough()
  const stderr = new PassThrough()
  let out = ''
  let err = ''
  const changed = new EventEmitter()
  stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text
    changed.emit('out')
  })
  stderr.setEncoding('utf8').on('data', (text: string) => { err += text })
  const terminal: Terminal = {
    stdin,
    stdout,
    stderr,
    env,
    folder,
    signals: new EventEmitter(),
    now: () => performance.now(),
    loadServer: () => server === undefined ? Promise.reject(new Error('no server in this test')) : Promise.resolve(server as ServerModule)
  }
  return {
    terminal,
    out: () => out,
    err: () => err,
    printed: text => new Promise(resolve => {
      const look = (): void => {
        if (!out.includes(text)) return
        changed.off('out', look)
        resolve()
      }
      changed.on('out', look)
      look()
    }),
    run: async (...args) => {
      const code = await run(args, terminal)
      // Streams hand over what was written in later turns of the loop.
      stdout.end()
      stderr.end()
      await Promise.all([stdout, stderr].map(stream => stream.readableEnded || new Promise(resolve => stream.once('end', resolve))))
      return { code, out, err }
    }
  }
}
