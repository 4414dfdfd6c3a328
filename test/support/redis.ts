/** A Redis server for a test: Debian's `redis-server` on a port of its own, with a fresh folder. */
import { Redis } from 'ioredis'
import type { Test } from 'tap'
import { Daemon } from './daemon.ts'
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
  const port = await freePort()
  const server = new Daemon(t, {
    name: 'redis-server',
    command: folder => ['redis-server', '--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', appendonly ? 'yes' : 'no', '--daemonize', 'no', ...args],
    ready: () => answers(port),
    readyMs: 10_000
  })
  await server.start()
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    kill: () => server.end('SIGKILL'),
    stop: () => server.end('SIGTERM'),
    restart: () => server.start(),
    pause: () => { server.signal('SIGSTOP') },
    resume: () => { server.signal('SIGCONT') },
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
