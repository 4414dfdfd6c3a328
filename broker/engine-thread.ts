/** The engine's thread: opens store and engine from the configuration that it is given, and serves the link. */
import { parentPort, workerData } from 'node:worker_threads'
import type { MessagePort } from 'node:worker_threads'
import type { Config } from './config/schema.ts'
import { openCore } from './core.ts'
import { Strays } from './engine/plugins/strays.ts'
import type { Core, Records } from './link/core.ts'
import { decodeSubmissions, encodeOutputs, transferOf } from './link/batches.ts'
import { exact } from './link/bytes.ts'
import { packed, toWire } from './link/wire.ts'
import type { Ask, Tell } from './link/wire.ts'
import { createLog } from './log.ts'

type Method = (...args: any[]) => unknown

if (parentPort === null) throw new Error('engine-thread.ts is started by the server')
await serve(parentPort, workerData as Config)

async function serve (port: MessagePort, config: Config): Promise<void> {
  const { log, close: closeLog } = createLog(config.log)
  const tell = (what: Tell, transfer: ArrayBuffer[] = []): void => { port.postMessage(what, transfer) }
  let core: Core | undefined
  try {
    core = await openCore(config, log, {
      output: outputs => {
        const batch = encodeOutputs(outputs)
        tell({ kind: 'outputs', batch }, transferOf(batch))
      },
      onLost: error => { tell({ kind: 'lost', error: toWire(error) }) }
    })
  } catch (error) {
    closeLog()
    tell({ kind: 'failed', error: toWire(error) })
    port.close()
    return
  }
  const open = core
  const strays = new Strays(log.child({ part: 'process' }))
  for (const kind of ['unhandledRejection', 'uncaughtException'] as const) {
    process.on(kind, (error: unknown) => {
      if (!strays.judge(kind, error)) tell({ kind: 'lost', error: toWire(error) })
    })
  }
  const methods = methodsOf(open, async () => {
    await open.close()
    closeLog()
  })
  port.on('message', (ask: Ask) => {
    if (ask.kind === 'submit') open.engine.submit(decodeSubmissions(ask.batch))
    else if (ask.kind === 'cast') methods.get(ask.name)?.(...ask.args)
    else answer(methods.get(ask.name), ask, tell)
  })
  tell({ kind: 'ready', plugins: core.plugins })
}

function answer (method: Method | undefined, { id, name, args }: Extract<Ask, { kind: 'call' }>, tell: (what: Tell, transfer?: ArrayBuffer[]) => void): void {
  const progress = (done: number, total: number | undefined): void => { tell({ kind: 'progress', id, done, total }) }
  const run = async (): Promise<unknown> => {
    if (method === undefined) throw new Error(`the engine's thread knows no ${name}`)
    return await method(...args, progress)
  }
  run().then(value => { tell({ kind: 'answer', id, ok: true, value }) }, (error: unknown) => { tell({ kind: 'answer', id, ok: false, error: toWire(error) }) })
}

/** What the other side may ask for. The last argument of a call is for its progress. */
function methodsOf (core: Core, close: () => Promise<void>): Map<string, Method> {
  const { engine, records, nodes, accounts, feed, cluster } = core
  return new Map<string, Method>([
    ['engine.hangUp', (session, graceful) => { engine.hangUp(session, graceful) }],
    ['engine.advance', moves => { engine.advance(moves) }],
    ['engine.prove', marks => { engine.prove(marks) }],
    ['engine.describe', () => engine.describe()],
    ['engine.authenticate', request => engine.authenticate(request)],
    ['engine.authenticateStep', request => engine.authenticateStep(request)],
    ['engine.admits', user => engine.admits(user)],
    ['engine.willRefusal', will => engine.willRefusal(will)],
    ['engine.openSession', start => engine.openSession(start)],
    ['engine.saveSubscriptions', (session, subscriptions) => engine.saveSubscriptions(session, subscriptions)],
    ['engine.closeSession', end => engine.closeSession(end)],
    ['engine.streams', query => engine.streams(query)],
    ['engine.read', async query => {
      const page = await engine.read(query)
      return { ...page, entries: packed(page.entries).items }
    }],
    ['engine.isMember', (user, gid) => engine.isMember(user, gid)],
    ['records.get', async (key: string) => {
      const bytes = await records.get(key)
      return bytes === undefined ? undefined : exact(bytes)
    }],
    ['records.write', (changes, sync) => records.write(changes, sync)],
    ['records.swap', (key, from, to) => records.swap(key, from, to)],
    ['nodes.over', names => nodes.over(names)],
    ['records.page', (from, to, limit) => page(records, from, to, limit)],
    ['accounts.add', (uid, password) => accounts.add(uid, password)],
    ['accounts.passwd', (uid, password) => accounts.passwd(uid, password)],
    ['accounts.list', query => accounts.list(query)],
    ['accounts.ban', (uid, banned) => accounts.ban(uid, banned)],
    ['accounts.remove', uid => accounts.remove(uid)],
    ['feed.readers', () => feed.readers()],
    ['feed.register', (name, options) => feed.register(name, options)],
    ['feed.acknowledge', (name, position) => feed.acknowledge(name, position)],
    ['feed.remove', name => feed.remove(name)],
    ['feed.read', (name, query) => feed.read(name, query)],
    ['cluster.notice', (user, payload) => { cluster.notice(user, payload) }],
    ['cluster.state', () => cluster.state()],
    ['cluster.drain', () => cluster.drain()],
    ['measures', () => core.measures()],
    ['health', () => core.health()],
    ['backup', (path, progress) => core.backup(path, progress)],
    ['operate', (name, params) => core.operate(name, params)],
    ['purge', retentionSeconds => core.purge(retentionSeconds)],
    ['close', close]
  ])
}

/** Bytes of rows that cross at once, about. */
const pageBytes = 1024 * 1024

/** Rows from `from` on; `more`: there may be others behind the last one. */
async function page (records: Records, from: string, to: string, limit: number): Promise<{ rows: Array<[string, Uint8Array]>, more: boolean }> {
  const rows: Array<[string, Uint8Array]> = []
  let bytes = 0
  for await (const [key, value] of records.range(from, to, limit)) {
    rows.push([key, exact(value)])
    bytes += key.length + value.length
    if (bytes >= pageBytes || rows.length === limit) return { rows, more: true }
  }
  return { rows, more: false }
}
