/** A program of somebody else that a test runs beside the servers: Redis, a database, a proxy. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { within } from './mailbox.ts'

export interface DaemonOptions {
  /** What it is called in errors. */
  name: string
  /** Given its own fresh folder: program and arguments. */
  command: (folder: string) => readonly string[] | Promise<readonly string[]>
  /** It takes connections. */
  ready: () => Promise<boolean>
  /** Milliseconds that it may take until then. */
  readyMs: number
  /** Each piece of its standard output. */
  onOutput?: (text: string) => void
}

/** Characters of its output that are kept. */
const keptLength = 8_000
const endMs = 10_000

export class Daemon {
  readonly #options: DaemonOptions
  readonly #folder: string
  #child: ChildProcess | undefined
  #log = ''

  /** Ends with the test, with its folder; says its last words where the test has failed. */
  constructor (t: Test, options: DaemonOptions) {
    this.#options = options
    this.#folder = mkdtempSync(join(tmpdir(), `sabethes-${options.name}-`))
    t.teardown(async () => {
      if (this.#isRunning) await this.end('SIGKILL')
      rmSync(this.#folder, { recursive: true, force: true })
      if (!t.passing() && this.#log !== '') t.comment(`${options.name}'s last words:\n${this.#log.slice(-2000)}`)
    })
  }

  get #isRunning (): boolean { return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null }

  /** Starts it, again as well: in the same folder. Resolves when it takes connections. */
  async start (): Promise<void> {
    const { name, command, ready, readyMs, onOutput } = this.#options
    if (this.#isRunning) throw new Error(`${name} is running`)
    const [program = '', ...args] = await command(this.#folder)
    const child = this.#child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => { this.#log = (this.#log + text).slice(-keptLength) })
    if (onOutput !== undefined) child.stdout.on('data', onOutput)
    const deadline = Date.now() + readyMs
    while (!await ready()) {
      if (!this.#isRunning) throw new Error(`${name} ended (${child.exitCode ?? child.signalCode}):\n${this.#log}`)
      if (Date.now() > deadline) throw new Error(`${name} not ready within ${readyMs / 1000} s:\n${this.#log}`)
      await new Promise(resolve => setTimeout(resolve, 20))
    }
  }

  /** Resolves when the process is gone. */
  async end (signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const exited = once(this.#running(), 'exit')
    this.signal(signal)
    await within(exited, endMs, `the end of ${this.#options.name} after ${signal}`)
  }

  signal (signal: NodeJS.Signals): void { this.#running().kill(signal) }

  #running (): ChildProcess {
    if (this.#child === undefined || !this.#isRunning) throw new Error(`${this.#options.name} is not running:\n${this.#log}`)
    return this.#child
  }
}
