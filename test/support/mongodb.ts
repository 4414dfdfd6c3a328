/** A MongoDB-speaking server for a test, as mongodb-program.ts finds it. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { MongoClient } from 'mongodb'
import root from 'tap'
import type { Test } from 'tap'
import { Daemon } from './daemon.ts'
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
  const port = await freePort()
  const server = new Daemon(t, {
    name: kind,
    command: folder => mongodbCommand(kind, { folder, port, sync: options.sync ?? 'normal' }),
    ready: () => accepts(port),
    readyMs: 30_000
  })
  await server.start()
  return { url: `mongodb://127.0.0.1:${port}/`, kind, database, kill9: () => server.end('SIGKILL'), restart: () => server.start() }
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
