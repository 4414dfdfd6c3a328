/** Starts brokers bound to a core, reads what they use from /proc, and sees that none outlives the bench. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { accessSync, constants, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const running = new Set<BrokerProcess>()
/** Clock ticks a second of /proc/<pid>/stat: USER_HZ, 100 on every Linux platform of Node. */
const ticksPerSecond = 100

/** The path of `program` in PATH and the system folders; `undefined` when it is not installed. */
export function find (program: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/usr/local/sbin', '/usr/bin']
  for (const folder of folders) {
    const path = join(folder, program)
    try { accessSync(path, constants.X_OK) } catch { continue }
    return path
  }
  return undefined
}

/** A TCP port of loopback that is free now. */
export async function freePort (): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo
  await new Promise(resolve => server.close(resolve))
  return port
}

/** The environment without what steers the tests: no broker has a setting for that. */
function ownEnvironment (): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SABETHES_TEST_')))
}

/** Seconds of a process or a thread. */
function times (file: string): { user: number, system: number } {
  const stat = readFileSync(file, 'utf8')
  // The command's name may hold spaces and parentheses: fields are counted from its end. utime and stime are 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return { user: Number(fields[11]) / ticksPerSecond, system: Number(fields[12]) / ticksPerSecond }
}

/** Of a process's CPU seconds those in the kernel, and those of the thread that it began with (a Node program's event loop). By its id: an earlier commit's process has no such method. */
export function cpuParts (pid: number): { system: number, first: number } {
  const first = times(`/proc/${pid}/task/${pid}/stat`)
  return { system: times(`/proc/${pid}/stat`).system, first: first.user + first.system }
}

export class BrokerProcess {
  readonly pid: number
  /** A folder of its own under the system's temporary folder, removed by `stop`. */
  readonly folder: string
  readonly startedAt = performance.now()
  #child: ChildProcess
  #output = ''
  #ended: Promise<void>
  #hasEnded = false

  private constructor (child: ChildProcess, folder: string) {
    this.#child = child
    this.folder = folder
    this.pid = child.pid as number
    const keep = (chunk: Buffer) => { this.#output = (this.#output + chunk.toString()).slice(-4000) }
    child.stdout?.on('data', keep)
    child.stderr?.on('data', keep)
    this.#ended = new Promise(resolve => {
      child.once('exit', () => { this.#hasEnded = true; running.delete(this); resolve() })
    })
    running.add(this)
  }

  static folder (): string { return mkdtempSync(join(tmpdir(), 'sabethes-bench-')) }

  /** Runs `command` bound to core `cpu`, or to a list of cores. taskset replaces itself with the command, so the pid is the broker's. */
  static start (command: readonly string[], folder: string, cpu: string | undefined, env: Record<string, string> = {}): BrokerProcess {
    const taskset = cpu === undefined ? undefined : find('taskset')
    const [program, ...args] = taskset === undefined || cpu === undefined ? command : [taskset, '-c', cpu, ...command]
    const child = spawn(program as string, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...ownEnvironment(), ...env } })
    child.once('error', () => {})
    if (child.pid === undefined) {
      rmSync(folder, { recursive: true, force: true })
      throw new Error(`cannot run ${command.join(' ')}`)
    }
    return new BrokerProcess(child, folder)
  }

  /** What the broker printed last. */
  get output (): string { return this.#output }
  get ended (): boolean { return this.#hasEnded }

  /** Resolves when `port` takes connections; rejects when the broker ends first or after `timeoutMs`. Answers milliseconds since the start. */
  async listening (port: number, timeoutMs = 20_000): Promise<number> {
    while (performance.now() - this.startedAt < timeoutMs) {
      if (this.#hasEnded) throw new Error(`the broker ended at its start: ${this.#output.trim()}`)
      if (await answers(port)) return performance.now() - this.startedAt
      await new Promise(resolve => setTimeout(resolve, 10))
    }
    throw new Error(`nothing listens on port ${port} after ${timeoutMs} ms: ${this.#output.trim()}`)
  }

  /** CPU seconds used so far, all threads, user and system. */
  cpuSeconds (): number {
    const { user, system } = times(`/proc/${this.pid}/stat`)
    return user + system
  }

  /** Resident memory, bytes. */
  rssBytes (): number {
    const match = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))
    return Number(match?.[1] ?? Number.NaN) * 1024
  }

  /** Resident memory when it no longer moves by more than 0.5 % (and 256 kB) in a second, at most `maxMs` later. */
  async settledRssBytes (maxMs = 15_000): Promise<number> {
    const until = performance.now() + maxMs
    let last = this.rssBytes()
    let calm = 0
    while (performance.now() < until && calm < 2) {
      await new Promise(resolve => setTimeout(resolve, 1000))
      const now = this.rssBytes()
      calm = Math.abs(now - last) <= Math.max(last * 0.005, 256 * 1024) ? calm + 1 : 0
      last = now
    }
    return last
  }

  /** SIGTERM, SIGKILL after five seconds. */
  async end (): Promise<void> {
    if (this.#hasEnded) return
    this.#child.kill('SIGTERM')
    const timer = setTimeout(() => { this.#child.kill('SIGKILL') }, 5000)
    await this.#ended
    clearTimeout(timer)
  }

  /** Ends it and removes the folder. */
  async stop (): Promise<void> {
    await this.end()
    rmSync(this.folder, { recursive: true, force: true })
  }

  /** Ends at once, for signal handlers. */
  kill (): void {
    this.#child.kill('SIGKILL')
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 3 })
  }
}

/** Ends every broker that still runs. */
export function killAll (): void { for (const broker of running) broker.kill() }

function answers (port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => { socket.destroy(); resolve(true) })
    socket.once('error', () => { resolve(false) })
  })
}
