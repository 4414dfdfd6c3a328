/** The connection to MongoDB: collections, one queue of writing jobs, and failures in the store's words. */
import { MongoClient, MongoError } from 'mongodb'
import type { AnyBulkWriteOperation, BulkWriteOptions, Collection, Db, Document, MongoClientOptions } from 'mongodb'
import type {
  BlockDoc, CursorDoc, EventDoc, EventHeadDoc, FeedReaderDoc, FeedRowDoc, GroupDoc, HiddenDoc, MessageDoc, MetaDoc, NodeDoc, RecordDoc, ResendDoc, RowDoc, SessionDoc, UserDoc
} from './documents.ts'
import { StoreClosedError, StoreUnavailableError } from '../errors.ts'
import { MongoRefusedError, MongoUnavailableError, isUnavailable } from './failure.ts'

/** Places where tests let a commit, or another write, fail or wait. */
export type FaultPlace = 'members before insert' | 'insert' | 'inserted' | 'derived' | 'events' | 'event heads' | 'group members' | 'groups' |
  'group drop' | 'feed' | 'hide' | 'hidden' | 'purge marked' | 'purged'

export interface Faults {
  /** Called before the write of that name (`inserted`, `hidden`, `purged`: behind it); what it throws is the write's error. */
  at?: (place: FaultPlace) => void | Promise<void>
}

/** A command that was sent, with the collection where it has one. */
export interface SentCommand { name: string, collection: string }

export interface ConnectionOptions {
  url: string
  database: string | undefined
  /** Milliseconds after which an operation that gets no answer is given up. */
  timeoutMs: number
  onCommand?: (command: SentCommand) => void
  faults?: Faults
}

/** Commands of the driver itself. */
const housekeeping = new Set(['hello', 'ismaster', 'ping', 'endSessions', 'buildInfo', 'saslStart', 'saslContinue'])

/** On the disk of a majority: what an acknowledgement promises. */
export const durable = { w: 'majority', journal: true } as const
/** Options of a query: its answer comes in one piece, as far as MongoDB's 16 MB go, and not in pages of 101 documents. */
export const whole = { batchSize: 10_000 } as const
/** For marks that may be lost: losing one costs a repeated packet. */
export const quick = { w: 1 } as const

/** A filter of `_id`. One alone is asked for as such: FerretDB 1 has an index for that form only. */
export function oneOf (ids: readonly string[]): string | { $in: readonly string[] } {
  const [first] = ids
  return ids.length === 1 && first !== undefined ? first : { $in: ids }
}

/** The database that a URL names, if it does. */
export function urlDatabase (url: string): string | undefined {
  const name = /^mongodb(?:\+srv)?:\/\/[^/]*\/([^?]+)/.exec(url)?.[1]
  return name === undefined ? undefined : decodeURIComponent(name)
}

/** The database of a configuration: the one that it names, the URL's, or `sabethes`. */
export function databaseName (url: string, database: string | undefined): string {
  return database === undefined || database === '' ? urlDatabase(url) ?? 'sabethes' : database
}

/** Time-outs that one read may take: for a server, a connection, an answer. */
const timeoutsOfRead = 3

/** A new primary may be found for so long, milliseconds: what comes meanwhile waits for it. */
const knownAwayMs = 500

export class Connection {
  readonly db: Db
  readonly messages: Collection<MessageDoc>
  readonly rows: Collection<RowDoc>
  readonly hidden: Collection<HiddenDoc>
  readonly groups: Collection<GroupDoc>
  readonly users: Collection<UserDoc>
  readonly blocks: Collection<BlockDoc>
  readonly events: Collection<EventDoc>
  readonly eventHeads: Collection<EventHeadDoc>
  readonly sessions: Collection<SessionDoc>
  readonly cursors: Collection<CursorDoc>
  readonly resends: Collection<ResendDoc>
  readonly records: Collection<RecordDoc>
  readonly feed: Collection<FeedRowDoc>
  readonly feedReaders: Collection<FeedReaderDoc>
  readonly meta: Collection<MetaDoc>
  readonly nodes: Collection<NodeDoc>
  readonly timeoutMs: number
  /** Documents of one ordered insert. FerretDB 1 goes on behind a duplicate at each hundred, which would leave a gap. */
  orderedInserts = 100_000
  /** Updates of one command. FerretDB 1 keeps a connection to its own database for each, has a hundred, and waits for ever. */
  updatesOfCommand = 100_000
  readonly #client: MongoClient
  readonly #faults: Faults | undefined
  #tail: Promise<unknown> = Promise.resolve()
  #failed: { at: number, error: MongoUnavailableError } | undefined
  #jobs = 0
  #isOpen = false
  /** No server takes writes since then (of the steady clock). */
  #awaySince: number | undefined
  #closing: Promise<void> | undefined

  constructor (options: ConnectionOptions) {
    this.timeoutMs = options.timeoutMs
    this.#faults = options.faults
    this.#client = new MongoClient(options.url, clientOptions(options))
    this.db = this.#client.db(databaseName(options.url, options.database))
    this.messages = this.#collection('messages')
    this.rows = this.#collection('conversations')
    this.hidden = this.#collection('hidden')
    this.groups = this.#collection('groups')
    this.users = this.#collection('users')
    this.blocks = this.#collection('blocks')
    this.events = this.#collection('events')
    this.eventHeads = this.#collection('eventHeads')
    this.sessions = this.#collection('sessions')
    this.cursors = this.#collection('cursors')
    this.resends = this.#collection('resends')
    this.records = this.#collection('records')
    this.feed = this.#collection('feed')
    this.feedReaders = this.#collection('feedReaders')
    this.meta = this.#collection('meta')
    this.nodes = this.#collection('nodes')
    this.#client.on('topologyDescriptionChanged', ({ newDescription: { servers } }) => { this.#look([...servers.values()].some(({ isWritable }) => isWritable)) })
    const { onCommand } = options
    if (onCommand !== undefined) {
      this.#client.on('commandStarted', ({ commandName, command }) => {
        if (!housekeeping.has(commandName)) onCommand({ name: commandName, collection: String(command[commandName] ?? '') })
      })
    }
  }

  /** The driver has found, or lost, a server that takes writes. */
  #look (isThere: boolean): void {
    if (isThere) this.#awaySince = undefined
    else if (this.#isOpen) this.#awaySince ??= performance.now()
  }

  /** Known to be away: who asks is told so at once, and does not wait for a time-out. The driver goes on looking by itself. */
  #refuseAway (): void {
    if (this.#awaySince !== undefined && performance.now() - this.#awaySince >= knownAwayMs) throw new MongoUnavailableError('no server that takes writes is there')
  }

  #collection<T extends Document> (name: string): Collection<T> { return this.db.collection<T>(name) }

  async open (): Promise<void> {
    try {
      await this.#client.connect()
      this.#isOpen = true
      const info = await this.db.command({ buildInfo: 1 })
      if ('ferretdbVersion' in info) {
        this.orderedInserts = 100
        this.updatesOfCommand = 50
      }
    } catch (error) {
      await this.#client.close()
      throw isUnavailable(error) ? new MongoUnavailableError(error) : error
    }
  }

  /**
   * Runs a reading job; its failures in the store's words. Each command has its time-outs, and the driver keeps them nearly always: a read that was under way
   * when the server died has been seen to wait for ever, and who waited for it with it.
   */
  async read<T> (job: () => Promise<T>): Promise<T> {
    if (this.#closing !== undefined) throw new StoreClosedError()
    const boundMs = this.timeoutMs * timeoutsOfRead
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => { reject(new MongoUnavailableError(`a read took longer than ${boundMs} ms`)) }, boundMs)
    })
    try {
      return await Promise.race([this.#guard(job), late])
    } finally {
      clearTimeout(timer)
    }
  }

  /** Runs a job that was taken before the store was closed. */
  finish<T> (job: () => Promise<T>): Promise<T> { return this.#guard(job) }

  /** Runs `job` alone. What waited behind a job that got no answer fails with it instead of waiting for its own time-out. */
  exclusive<T> (job: () => Promise<T>): Promise<T> {
    if (this.#closing !== undefined) return Promise.reject(new StoreClosedError())
    const number = ++this.#jobs
    const run = this.#tail.then(() => {
      if (this.#failed !== undefined && number <= this.#failed.at) throw this.#failed.error
      return this.#guard(job)
    })
    // The error belongs to the caller; the queue goes on.
    this.#tail = run.then(() => { this.#failed = undefined }, error => {
      if (error instanceof MongoUnavailableError && error !== this.#failed?.error) this.#failed = { at: this.#jobs, error }
    })
    return run
  }

  async #guard<T> (job: () => Promise<T>): Promise<T> {
    try {
      this.#refuseAway()
      return await job()
    } catch (error) {
      if (error instanceof StoreUnavailableError) throw error
      if (isUnavailable(error)) throw new MongoUnavailableError(error)
      throw error instanceof MongoError ? new MongoRefusedError(error) : error
    }
  }

  /** Writes in as few commands as the server can take. Resolves to how many of the operations found a document, or made one. */
  async bulk<T extends Document> (collection: Collection<T>, operations: ReadonlyArray<AnyBulkWriteOperation<T>>, options: BulkWriteOptions): Promise<number> {
    let found = 0
    for (let i = 0; i < operations.length; i += this.updatesOfCommand) {
      const { matchedCount, upsertedCount } = await collection.bulkWrite(operations.slice(i, i + this.updatesOfCommand), options)
      found += matchedCount + upsertedCount
    }
    return found
  }

  fault (place: FaultPlace): void | Promise<void> { return this.#faults?.at?.(place) }

  /** Rejects when the server does not answer, or is no primary that takes writes. */
  async health (): Promise<void> {
    await this.read(async () => {
      const hello = await this.db.command({ hello: 1 })
      if (hello['isWritablePrimary'] !== true && hello['ismaster'] !== true) throw new MongoUnavailableError('the server is not the primary')
    })
  }

  get closing (): boolean { return this.#closing !== undefined }

  /** Waits for the jobs that were taken, and for `others`, then closes. */
  close (others?: Promise<void>): Promise<void> {
    this.#closing ??= Promise.all([this.#tail, others]).then(() => this.#client.close())
    return this.#closing
  }
}

function clientOptions (options: ConnectionOptions): MongoClientOptions {
  return {
    appName: 'sabethes',
    // Beyond the time limit nobody knows whether the majority has it.
    writeConcern: { ...durable, wtimeoutMS: options.timeoutMs },
    // The store tries again by itself where it can tell whether a write was applied.
    retryWrites: false,
    ignoreUndefined: true,
    serverSelectionTimeoutMS: options.timeoutMs,
    connectTimeoutMS: options.timeoutMs,
    socketTimeoutMS: options.timeoutMs,
    // Nobody waits for a server that is known to be away: it is looked for by itself.
    heartbeatFrequencyMS: 1000,
    waitQueueTimeoutMS: options.timeoutMs,
    monitorCommands: options.onCommand !== undefined
  }
}
