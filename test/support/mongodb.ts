/**
 * A MongoDB-speaking server for a test. Looked for in this order: the address in `SABETHES_TEST_MONGODB_URL`; `mongod`
 * on the PATH; FerretDB, built with `go`. `SABETHES_TEST_MONGODB_SERVER=secantusdb` takes `secantusd-py` on the PATH instead
 * (see docs/mongodb-test-servers.md).
 */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MongoClient } from 'mongodb'
import type { Test } from 'tap'
import { buildFerretdb } from './ferretdb-build.ts'
import { within } from './mailbox.ts'
import { freePort } from './server.ts'
import { absent, found } from './tools.ts'

type Kind = 'mongod' | 'ferretdb' | 'secantusdb'
/** The program to look for on the PATH. */
const programs: Readonly<Record<Kind, string>> = { mongod: 'mongod', ferretdb: 'go', secantusdb: 'secantusd-py' }

export interface MongodbServer {
  /** `mongodb://…`, without a database. */
  readonly url: string
  readonly kind: 'env' | Kind
  /** A database name that nothing else uses; dropped when the test ends. */
  readonly database: string
  /** `kill -9`; resolves when the process is gone. Rejects for `env`. */
  kill9 (): Promise<void>
  /** Starts it again, same port, same data; resolves when it accepts connections. Rejects for `env`. */
  restart (): Promise<void>
}

export interface MongodbOptions {
  /** FerretDB only: `full` calls fsync before every answer (for measurements); `normal`, the default, survives `kill9` too. */
  sync?: 'full' | 'normal'
}

/** The server, or `undefined` when this machine has none: the test was then skipped aloud (failed when `CI` is set). */
export async function mongodbServer (t: Test, options: MongodbOptions = {}): Promise<MongodbServer | undefined> {
  const database = `sabethes_test_${randomBytes(6).toString('hex')}`
  const url = process.env.SABETHES_TEST_MONGODB_URL
  if (url !== undefined && url !== '') {
    const refuse = async (): Promise<void> => { throw new Error('the server of SABETHES_TEST_MONGODB_URL is not ours to stop') }
    t.teardown(async () => {
      const client = new MongoClient(url)
      try {
        await client.db(database).dropDatabase()
      } finally {
        await client.close()
      }
    })
    return { url, kind: 'env', database, kill9: refuse, restart: refuse }
  }
  const wanted = process.env.SABETHES_TEST_MONGODB_SERVER as Kind | undefined
  const kind = (wanted === undefined ? ['mongod', 'ferretdb'] as const : [wanted]).find(each => found(programs[each]))
  if (kind === undefined) {
    absent(t, 'no MongoDB server: set SABETHES_TEST_MONGODB_URL, or install mongod or go')
    return undefined
  }
  const program = kind === 'ferretdb' ? await buildFerretdb() : programs[kind]
  const folder = mkdtempSync(join(tmpdir(), 'sabethes-mongodb-'))
  const port = await freePort()
  const args = {
    mongod: ['--dbpath', folder, '--bind_ip', '127.0.0.1', '--port', String(port), '--nounixsocket', '--quiet'],
    ferretdb: ['-state', folder, '-listen', `127.0.0.1:${port}`, '-sync', options.sync ?? 'normal'],
    secantusdb: ['--host', '127.0.0.1', '--port', String(port), '--storage-path', folder, '--sync-on-commit', '--log-level', 'WARNING']
  }[kind]
  let child: ChildProcess | undefined
  let log = ''

  const running = (): boolean => child !== undefined && child.exitCode === null && child.signalCode === null
  const start = async (): Promise<void> => {
    if (running()) throw new Error('the MongoDB server is running')
    const started = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    child = started
    const keep = (text: string): void => { log = (log + text).slice(-8000) }
    started.stdout.setEncoding('utf8').on('data', keep)
    started.stderr.setEncoding('utf8').on('data', keep)
    const deadline = Date.now() + 30_000
    while (!await accepts(port)) {
      if (!running()) throw new Error(`${kind} ended (${started.exitCode ?? started.signalCode}):\n${log}`)
      if (Date.now() > deadline) throw new Error(`${kind} not ready within 30 s:\n${log}`)
      await new Promise(resolve => setTimeout(resolve, 20))
    }
  }
  const kill9 = async (): Promise<void> => {
    if (child === undefined || !running()) throw new Error(`the MongoDB server is not running:\n${log}`)
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await within(exited, 10_000, `the end of ${kind}`)
  }
  t.teardown(async () => {
    if (running()) await kill9()
    rmSync(folder, { recursive: true, force: true })
    if (!t.passing() && log !== '') t.comment(`${kind}'s last words:\n${log.slice(-2000)}`)
  })
  await start()
  return { url: `mongodb://127.0.0.1:${port}/`, kind, database, kill9, restart: start }
}

async function accepts (port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ECONNREFUSED') throw cause
    return false
  } finally {
    socket.destroy()
  }
}
