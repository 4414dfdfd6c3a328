/** The engine's side in a worker thread, as its users in this thread see it. */
import { Worker } from 'node:worker_threads'
import { StoreUnavailableError } from '../store/errors.ts'
import type { Accounts, ClusterSide, Core, CoreEvents, Nodes, Records, RunningPluginInfo } from './core.ts'
import type { FeedReaders } from './feed.ts'
import { decodeOutputs, encodeSubmissions, transferOf } from './batches.ts'
import type { SubmissionBatch } from './batches.ts'
import type { Engine } from './port.ts'
import { exact } from './bytes.ts'
import type { Measure } from './measures.ts'
import { fromWire } from './wire.ts'
import type { Ask, Tell, WireError } from './wire.ts'

/** Rows of one page of a range. */
const pageSize = 500

interface Call { resolve: (value: unknown) => void, reject: (error: Error) => void, progress: ((done: number, total: number | undefined) => void) | undefined }

/**
 * Starts `program` (a module) as a thread with `data`. Rejects when what it opens cannot be opened. `onEnd` is called when the thread ends by itself,
 * before `events.onLost`.
 */
export async function openThread (program: URL, data: unknown, events: CoreEvents, onEnd: (error: Error) => void): Promise<Core> {
  const link = new ThreadLink(new Worker(program, { workerData: data, name: 'engine' }), events, onEnd)
  return new ThreadCore(link, await link.ready)
}

/** Calls and casts over the port of a thread. */
class ThreadLink {
  /** Open; what plugins run. */
  readonly ready: Promise<RunningPluginInfo[]>
  readonly #worker: Worker
  readonly #events: CoreEvents
  readonly #onEnd: (error: Error) => void
  readonly #calls = new Map<number, Call>()
  #lastId = 0
  #ended: Error | undefined
  #closing = false
  #start: { resolve: (plugins: RunningPluginInfo[]) => void, reject: (error: Error) => void } | undefined

  constructor (worker: Worker, events: CoreEvents, onEnd: (error: Error) => void) {
    this.#worker = worker
    this.#events = events
    this.#onEnd = onEnd
    this.ready = new Promise((resolve, reject) => { this.#start = { resolve, reject } })
    worker.on('message', (tell: Tell) => { this.#hear(tell) })
    worker.on('messageerror', error => { this.#end(error) })
    worker.on('error', error => { this.#end(error instanceof Error ? error : new Error(String(error))) })
    worker.on('exit', code => { this.#end(new Error(`the engine's thread ended with ${code}`)) })
  }

  call (name: string, args: unknown[], progress?: Call['progress']): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) return reject(new StoreUnavailableError('the engine has ended', { cause: this.#ended }))
      const id = ++this.#lastId
      this.#calls.set(id, { resolve, reject, progress })
      this.#post({ kind: 'call', id, name, args })
    })
  }

  cast (name: string, args: unknown[]): void { this.#post({ kind: 'cast', name, args }) }
  submit (batch: SubmissionBatch): void { this.#post({ kind: 'submit', batch }, transferOf(batch)) }

  /** Ends the thread after its own close. */
  async close (): Promise<void> {
    this.#closing = true
    try {
      await this.call('close', [])
    } finally {
      await this.#worker.terminate()
    }
  }

  #post (ask: Ask, transfer: ArrayBuffer[] = []): void { if (this.#ended === undefined) this.#worker.postMessage(ask, transfer) }

  #hear (tell: Tell): void {
    switch (tell.kind) {
      case 'outputs': return this.#events.output(decodeOutputs(tell.batch))
      case 'answer': return this.#answer(tell)
      case 'progress': return this.#calls.get(tell.id)?.progress?.(tell.done, tell.total)
      case 'ready': return this.#start?.resolve(tell.plugins)
      case 'lost': return this.#events.onLost(fromWire(tell.error))
      case 'failed':
        this.#closing = true
        return this.#start?.reject(fromWire(tell.error))
    }
  }

  #answer (answer: { id: number, ok: true, value: unknown } | { id: number, ok: false, error: WireError }): void {
    const call = this.#calls.get(answer.id)
    this.#calls.delete(answer.id)
    if (answer.ok) call?.resolve(answer.value)
    else call?.reject(fromWire(answer.error))
  }

  /** Nothing of the engine comes any more: who waits for it hears so, and a server that did not want it has to end. */
  #end (error: Error): void {
    if (this.#ended !== undefined) return
    this.#ended = error
    this.#start?.reject(error)
    for (const { reject } of this.#calls.values()) reject(new StoreUnavailableError('the engine has ended', { cause: error }))
    this.#calls.clear()
    if (this.#closing) return
    this.#onEnd(error)
    this.#events.onLost(error)
  }
}

class ThreadCore implements Core {
  readonly engine: Engine
  readonly records: Records
  readonly nodes: Nodes
  readonly accounts: Accounts
  readonly feed: FeedReaders
  readonly cluster: ClusterSide
  readonly plugins: RunningPluginInfo[]
  readonly #link: ThreadLink

  constructor (link: ThreadLink, plugins: RunningPluginInfo[]) {
    this.#link = link
    this.plugins = plugins
    this.engine = threadEngine(link)
    this.records = threadRecords(link)
    this.nodes = remote<Nodes>(link, 'nodes', ['over'])
    this.accounts = remote<Accounts>(link, 'accounts', ['add', 'passwd', 'list', 'ban', 'remove'])
    this.cluster = {
      ...remote<Pick<ClusterSide, 'state' | 'drain'>>(link, 'cluster', ['state', 'drain']),
      notice (user, payload) { link.cast('cluster.notice', [user, exact(payload)]) }
    }
    this.feed = remote<FeedReaders>(link, 'feed', ['readers', 'register', 'acknowledge', 'remove', 'read'])
  }

  async measures (): Promise<Measure[]> { return await this.#link.call('measures', []) as Measure[] }
  async health (): Promise<void> { await this.#link.call('health', []) }
  async backup (path: string, progress: (done: number, total: number | undefined) => void): Promise<void> { await this.#link.call('backup', [path], progress) }
  async operate (name: string, params: Record<string, unknown>): Promise<unknown> { return await this.#link.call('operate', [name, params]) }
  async purge (retentionSeconds?: number): Promise<number> { return await this.#link.call('purge', [retentionSeconds]) as number }
  async close (): Promise<void> { await this.#link.close() }
}

/** Methods that ask the thread for methods of the same names. */
function remote<Methods extends object> (link: ThreadLink, root: string, names: ReadonlyArray<keyof Methods & string>): Methods {
  return Object.fromEntries(names.map(name => [name, (...args: unknown[]) => link.call(`${root}.${name}`, args)])) as Methods
}

function threadRecords (link: ThreadLink): Records {
  return {
    ...remote<Pick<Records, 'get'>>(link, 'records', ['get']),
    async write (changes, sync) {
      await link.call('records.write', [changes.map(({ key, value }) => ({ key, value: value === null ? null : exact(value) })), sync])
    },
    async swap (key, from, to) { return await link.call('records.swap', [key, exact(from), to === null ? null : exact(to)]) as boolean },
    async * range (from, to, limit = Infinity) {
      let at = from
      for (let left = limit; left > 0;) {
        const { rows, more } = await link.call('records.page', [at, to, Math.min(left, pageSize)]) as { rows: Array<[string, Uint8Array]>, more: boolean }
        yield * rows
        left -= rows.length
        const last = rows.at(-1)
        if (last === undefined || !more) return
        // What follows the last key.
        at = `${last[0]}\0`
      }
    }
  }
}

function threadEngine (link: ThreadLink): Engine {
  return {
    ...remote<Pick<Engine, 'describe' | 'admits' | 'openSession' | 'saveSubscriptions' | 'closeSession' | 'streams' | 'read' | 'isMember'>>(
      link, 'engine', ['describe', 'admits', 'openSession', 'saveSubscriptions', 'closeSession', 'streams', 'read', 'isMember']),
    // What lies in a chunk of a socket leaves the rest of it behind.
    async authenticate ({ password, ...rest }) {
      return await link.call('engine.authenticate', [{ ...rest, password: password === undefined ? undefined : exact(password) }]) as Awaited<ReturnType<Engine['authenticate']>>
    },
    async authenticateStep ({ data, ...rest }) {
      return await link.call('engine.authenticateStep', [{ ...rest, data: exact(data) }]) as Awaited<ReturnType<Engine['authenticateStep']>>
    },
    async willRefusal ({ payload, ...rest }) {
      return await link.call('engine.willRefusal', [{ ...rest, payload: exact(payload) }]) as string | undefined
    },
    submit (batch) {
      link.submit(encodeSubmissions(batch))
    },
    hangUp (session, graceful) { link.cast('engine.hangUp', [session, graceful]) },
    advance (moves) { link.cast('engine.advance', [moves]) },
    prove (marks) { link.cast('engine.prove', [marks]) }
  }
}
