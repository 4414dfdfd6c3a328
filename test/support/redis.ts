/** A Redis server for a test: Debian's `redis-server` on a port of its own, with a fresh folder. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import type { Test } from 'tap'
import { within } from './mailbox.ts'
import { freePort } from './ports.ts'
import { requireTool } from './tools.ts'

export interface RedisOptions {
  /** Default `true`: what was written survives `kill` and `restart`. Else all is forgotten then. */
  appendonly?: boolean
  /** More of its arguments: `['--maxclients', '50']`. */
  args?: string[]
}

export interface RedisServer {
  /** `redis://127.0.0.1:…` */
  readonly url: string
  readonly port: number
  /** `kill -9`; resolves when the process is gone. */
  kill (): Promise<void>
  /** SIGTERM; resolves when the process is gone. */
  stop (): Promise<void>
  /** Starts it again on the same port and folder; resolves when it answers. */
  restart (): Promise<void>
  /** SIGSTOP: connections stay, and nothing is answered. */
  pause (): void
  /** SIGCONT. */
  resume (): void
  /** A connection for the test to look with; ends with the test. */
  client (): Redis
}

/** The server, or `undefined` when this machine has none: the test was then skipped aloud (failed when `CI` is set). Ends with the test. */
export async function startRedis (t: Test, { appendonly = true, args = [] }: RedisOptions = {}): Promise<RedisServer | undefined> {
  if (!requireTool(t, 'redis-server')) return undefined
  const folder = mkdtempSync(join(tmpdir(), 'sabethes-redis-'))
  const port = await freePort()
  let child: ChildProcess | undefined
  let log = ''
  const running = (): boolean => child !== undefined && child.exitCode === null && child.signalCode === null
  const start = async (): Promise<void> => {
    if (running()) throw new Error('the Redis server is running')
    const started = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', appendonly ? 'yes' : 'no', '--daemonize', 'no', ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    child = started
    const keep = (text: string): void => { log = (log + text).slice(-8000) }
    started.stdout.setEncoding('utf8').on('data', keep)
    started.stderr.setEncoding('utf8').on('data', keep)
    const deadline = Date.now() + 10_000
    while (!await answers(port)) {
      if (!running()) throw new Error(`redis-server ended (${started.exitCode ?? started.signalCode}):\n${log}`)
      if (Date.now() > deadline) throw new Error(`redis-server not ready within 10 s:\n${log}`)
      await new Promise(resolve => setTimeout(resolve, 20))
    }
  }
  const end = async (signal: 'SIGKILL' | 'SIGTERM'): Promise<void> => {
    if (child === undefined || !running()) throw new Error(`the Redis server is not running:\n${log}`)
    const exited = once(child, 'exit')
    child.kill(signal)
    await within(exited, 10_000, `the end of redis-server after ${signal}`)
  }
  const tell = (signal: 'SIGSTOP' | 'SIGCONT'): void => {
    if (child === undefined || !running()) throw new Error(`the Redis server is not running:\n${log}`)
    child.kill(signal)
  }
  t.teardown(async () => {
    if (running()) await end('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
    if (!t.passing() && log !== '') t.comment(`redis-server's last words:\n${log.slice(-2000)}`)
  })
  await start()
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    kill: () => end('SIGKILL'),
    stop: () => end('SIGTERM'),
    restart: start,
    pause: () => { tell('SIGSTOP') },
    resume: () => { tell('SIGCONT') },
    client: () => {
      const client = connection(port)
      t.teardown(() => { client.disconnect() })
      return client
    }
  }
}

/** Asks once for each command, and says nothing of a server that is away but by the command's failure. */
function connection (port: number): Redis {
  const client = new Redis({ port, host: '127.0.0.1', maxRetriesPerRequest: 0, commandTimeout: 1_000, retryStrategy: () => 50 })
  // Told by the commands that fail.
  client.on('error', () => {})
  return client
}

async function answers (port: number): Promise<boolean> {
  const client = connection(port)
  try {
    return await client.ping() === 'PONG'
  } catch (error) {
    if (!(error instanceof Error)) throw error
    return false
  } finally {
    client.disconnect()
  }
}
