/** A MongoDB-speaking server for a test, as mongodb-program.ts finds it. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MongoClient } from 'mongodb'
import root from 'tap'
import type { Test } from 'tap'
import { within } from './mailbox.ts'
import { findMongodb, mongodbCommand } from './mongodb-program.ts'
import type { MongodbKind, MongodbSync } from './mongodb-program.ts'
import { freePort } from './ports.ts'
import type { Database } from './store-choice.ts'
import { absent } from './tools.ts'

export interface MongodbServer {
  /** `mongodb://…`, without a database. */
  readonly url: string
  readonly kind: 'env' | MongodbKind
  /** A database name that nothing else uses; dropped when the test ends. */
  readonly database: string
  /** `kill -9`; resolves when the process is gone. Rejects for `env`. */
  kill9 (): Promise<void>
  /** Starts it again, same port, same data; resolves when it accepts connections. Rejects for `env`. */
  restart (): Promise<void>
}

export interface MongodbOptions {
  /** Default `normal`: it survives `kill9` too. */
  sync?: MongodbSync
}

/** The server, or `undefined` when this machine has none: the test was then skipped aloud (failed when `CI` is set). */
export async function mongodbServer (t: Test, options: MongodbOptions = {}): Promise<MongodbServer | undefined> {
  const database = freshName()
  const source = findMongodb()
  if (source === undefined) {
    absent(t, 'no MongoDB server: set SABETHES_TEST_MONGODB_URL, or install mongod or go')
    return undefined
  }
  const { kind } = source
  if (kind === 'env') {
    const { url } = source
    const refuse = async (): Promise<void> => { throw new Error('the server of SABETHES_TEST_MONGODB_URL is not ours to stop') }
    t.teardown(async () => { await drop({ url, database }) })
    return { url, kind, database, kill9: refuse, restart: refuse }
  }
  const folder = mkdtempSync(join(tmpdir(), 'sabethes-mongodb-'))
  const port = await freePort()
  const [program, ...args] = await mongodbCommand(kind, { folder, port, sync: options.sync ?? 'normal' })
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

let shared: Promise<MongodbServer | undefined> | undefined

/**
 * A database of its own on the one server of this process, which ends with the test file.
 *
 * @throws When this machine has no server: who asks for MongoDB by `SABETHES_TEST_STORE` wants no other store.
 */
export async function freshDatabase (t: Test): Promise<Database> {
  shared ??= mongodbServer(root)
  const server = await shared
  if (server === undefined) throw new Error('SABETHES_TEST_STORE is mongodb, and there is no MongoDB server')
  const database = { url: server.url, database: freshName() }
  // A server of the tests' own loses its folder at the end of the file.
  if (server.kind === 'env') t.teardown(async () => { await drop(database) })
  return database
}

function freshName (): string { return `sabethes_test_${randomBytes(6).toString('hex')}` }

async function drop ({ url, database }: Database): Promise<void> {
  const client = new MongoClient(url)
  try {
    await client.db(database).dropDatabase()
  } finally {
    await client.close()
  }
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
