/** Moving the content of a MongoDB store out and in; see ../transfer.ts. How each kind is written is in transfer-documents.ts. */
import type { AnyBulkWriteOperation, Collection, Document, Filter, Sort } from 'mongodb'
import type { Member } from '../store.ts'
import type { Checkpoint, TransferKind, TransferPage, TransferRows, TransferSource, TransferTarget } from '../transfer.ts'
import { TransferError } from '../transfer.ts'
import { Connection, durable, quick, databaseName } from './connection.ts'
import { groupRow, headRow, place, placed, storedMessage } from './documents.ts'
import type { EventHeadDoc, FeedRowDoc, HeadDoc, MemberDoc, MessageDoc, ResendDoc } from './documents.ts'
import { StoreFormatError } from '../errors.ts'
import { MongoFeed, readerOf, rowOf } from './feed.ts'
import { duplicates } from './failure.ts'
import { createIndexes } from './indexes.ts'
import { Rows, defaultCacheSizes, pieces } from './rows.ts'
import { eventSlot, transferDocuments } from './transfer-documents.ts'
import { formatVersion, unfinishedVersion } from './store.ts'

const pageRows = 1000
/** Milliseconds after which a server that does not answer at the start is given up. */
const connectTimeoutMs = 10_000
/** A sorted read may take long until its first batch; nobody waits for it. */
const operationTimeoutMs = 600_000

export interface MongoTransferOptions { url: string, database?: string }

/** Opens a database to be read. Throws `StoreFormatError` when it holds no store of this version. */
export async function openMongoSource (options: MongoTransferOptions): Promise<TransferSource> {
  return await opened(options, async transfer => {
    const version = await transfer.version()
    if (version === undefined) throw new TransferError(`${transfer.identity} holds no store`)
    if (version !== formatVersion) throw new StoreFormatError(`${transfer.identity} has format version ${version}, and this program knows version ${formatVersion}`)
  })
}

/** Opens a database to be filled: empty, or what an interrupted migration left. */
export async function openMongoTarget (options: MongoTransferOptions): Promise<TransferTarget> {
  return await opened(options, async () => {})
}

async function opened ({ url, database }: MongoTransferOptions, check: (transfer: MongoTransfer) => Promise<void>): Promise<MongoTransfer> {
  const probe = new Connection({ url, database, timeoutMs: connectTimeoutMs })
  await probe.open()
  await probe.close()
  const db = new Connection({ url, database, timeoutMs: operationTimeoutMs })
  const name = databaseName(url, database)
  const hosts = /^mongodb(?:\+srv)?:\/\/(?:[^@/]*@)?([^/?]*)/.exec(url)?.[1] ?? ''
  const transfer = new MongoTransfer(db, `mongodb:${hosts}/${name}`)
  await db.open()
  try {
    await check(transfer)
  } catch (error) {
    await db.close()
    throw error
  }
  return transfer
}

class MongoTransfer implements TransferSource, TransferTarget {
  readonly identity: string
  readonly #db: Connection
  readonly #rows: Rows
  readonly #feed: MongoFeed

  constructor (db: Connection, identity: string) {
    this.#db = db
    this.identity = identity
    this.#feed = new MongoFeed(db)
    this.#rows = new Rows(db, { ...defaultCacheSizes, heads: 1000, members: 1000 }, this.#feed)
  }

  async version (): Promise<number | undefined> { return (await this.#db.meta.findOne({ _id: 'format' }))?.version }

  /** A head may be behind its log, with the marks of the senders: whoever looks first writes them anew, here as in a server. */
  async prepare (): Promise<void> {
    await this.#feed.look()
    let ends = new Map<string, number>()
    const repair = async (): Promise<void> => {
      const heads = new Map((await this.#db.rows.find({ _id: { $in: [...ends.keys()] } }).toArray()).map(doc => [doc._id, (doc as HeadDoc).s]))
      const behind = [...ends].filter(([c, seq]) => (heads.get(c) ?? 0) < seq).map(([c]) => placed(c))
      for (const convs of pieces(behind, 200)) await this.#db.exclusive(() => this.#rows.load(convs, []))
      ends = new Map()
    }
    for await (const docs of this.#pages(this.#db.messages, {}, { c: 1, s: 1 }, { _id: 0, c: 1, s: 1 })) {
      for (const { c, s } of docs) ends.set(c, s)
      if (ends.size >= pageRows) await repair()
    }
    await repair()

    let logs = new Map<string, number>()
    const forward = async (): Promise<void> => {
      const heads = new Map((await this.#db.eventHeads.find({ _id: { $in: [...logs.keys()] } }).toArray()).map(doc => [doc._id, doc.s]))
      const operations = [...logs].filter(([user, seq]) => (heads.get(user) ?? 0) < seq)
        .map(([user, s]): AnyBulkWriteOperation<EventHeadDoc> => ({ updateOne: { filter: { _id: user }, update: { $max: { s, d: 0 } }, upsert: true } }))
      await this.#db.bulk(this.#db.eventHeads, operations, { ordered: false })
      logs = new Map()
    }
    for await (const docs of this.#pages(this.#db.events, {}, { u: 1, s: 1 }, { _id: 0, u: 1, s: 1 })) {
      for (const { u, s } of docs) logs.set(u, s)
      if (logs.size >= pageRows) await forward()
    }
    await forward()
    await this.#feed.settle()
  }

  async estimate (): Promise<number> {
    const db = this.#db
    const counts = await Promise.all([db.messages, db.rows, db.hidden, db.groups, db.users, db.blocks, db.events, db.eventHeads, db.sessions, db.cursors, db.resends, db.records, db.feed, db.feedReaders]
      .map(collection => (collection as unknown as Collection).estimatedDocumentCount()))
    return counts.reduce((sum, count) => sum + count, 0)
  }

  read<K extends TransferKind> (kind: K, at?: string): AsyncIterable<TransferPage<K>> {
    const db = this.#db
    const readers: { [Each in TransferKind]: () => AsyncIterable<TransferPage<Each>> } = {
      user: () => this.#byId(db.users, at, ({ _id, ...row }) => ({ uid: _id, ...row })),
      block: () => this.#byId(db.blocks, at, ({ u, b }) => ({ uid: u, other: b })),
      group: () => this.#byId(db.groups, at, groupRow),
      head: () => this.#heads(at),
      member: () => this.#members(at),
      hidden: () => this.#byId(db.hidden, at, ({ u, c, s, n }) => ({ user: u, conv: c, seq: s, counts: n === 1 })),
      message: () => this.#messages(at),
      event: () => this.#byId(db.events, at, doc => {
        const slot = eventSlot(doc)
        return { user: doc.u, seq: doc.s, ts: doc.ts, content: doc.p, ...(slot === undefined ? {} : { slot }) }
      }),
      eventHead: () => this.#byId(db.eventHeads, at, ({ _id, s, d }) => ({ user: _id, seq: s, deliveredSeq: d ?? 0 })),
      session: () => this.#byId(db.sessions, at, ({ _id, ...row }) => ({ session: _id, ...row })),
      cursor: () => this.#byId(db.cursors, at, ({ _id, p, s, t }) => ({ session: p, stream: _id.slice(0, _id.indexOf(' ')), seq: s, sent: t })),
      resend: () => this.#resends(at),
      record: () => this.#byId(db.records, at, ({ _id, v }) => ({ key: _id, value: new Uint8Array(v.value()) })),
      feed: () => this.#feedRows(at),
      feedReader: () => this.#byId(db.feedReaders, at, readerOf)
    }
    return readers[kind]() as unknown as AsyncIterable<TransferPage<K>>
  }

  /** One query for all; documents in pieces. */
  async * #pages<T extends Document> (collection: Collection<T>, filter: Filter<T>, sort: Sort, projection: Document): AsyncGenerator<T[], void> {
    const cursor = collection.find(filter, { batchSize: pageRows, projection }).sort(sort)
    try {
      let docs: T[] = []
      for await (const doc of cursor) {
        docs.push(doc as T)
        if (docs.length < pageRows) continue
        yield docs
        docs = []
      }
      if (docs.length > 0) yield docs
    } finally {
      await cursor.close()
    }
  }

  async * #byId<T extends { _id: string }, Row> (collection: Collection<T>, at: string | undefined, convert: (doc: T) => Row): AsyncGenerator<{ rows: Row[], at: string }, void> {
    const filter = (at === undefined ? {} : { _id: { $gt: at } }) as Filter<T>
    for await (const docs of this.#pages(collection, filter, { _id: 1 }, {})) yield { rows: docs.map(convert), at: (docs.at(-1) as T)._id }
  }

  async * #heads (at: string | undefined): AsyncGenerator<TransferPage<'head'>, void> {
    const filter = { u: { $exists: false }, ...(at === undefined ? {} : { _id: { $gt: at } }) } as Filter<HeadDoc>
    for await (const docs of this.#pages(this.#db.rows as unknown as Collection<HeadDoc>, filter, { _id: 1 }, {})) {
      // 0 stands for messages of a removed group; there may be others behind them.
      const unsure = docs.filter(({ s, ps, o }) => s > ps && (o === undefined || o === 0)).map(({ _id, ps }) => ({ c: _id, s: ps + 1 }))
      const first = unsure.length === 0 ? [] : await this.#db.messages.find({ $or: unsure }).project<MessageDoc>({ c: 1, ts: 1 }).toArray()
      const times = new Map(first.map(({ c, ts }) => [c, ts]))
      const rows = docs.map(doc => {
        const { oldest, expiring, ...row } = headRow(doc)
        const oldestTs = row.seq === row.purgedSeq ? undefined : times.get(doc._id) ?? oldest
        return { conv: placed(doc._id), ...row, ...(expiring === 0 ? {} : { expiring }), ...(oldestTs === undefined ? {} : { oldestTs }) }
      })
      yield { rows, at: (docs.at(-1) as HeadDoc)._id }
    }
  }

  async * #members (at: string | undefined): AsyncGenerator<TransferPage<'member'>, void> {
    const filter = { u: { $exists: true }, ...(at === undefined ? {} : { _id: { $gt: at } }) } as Filter<MemberDoc>
    for await (const docs of this.#pages(this.#db.rows as unknown as Collection<MemberDoc>, filter, { _id: 1 }, {})) {
      const rows = await this.#rows.toMembers(docs)
      const heads = await this.#purgeMarks(rows.filter(({ conv }) => conv.startsWith('d:')).map(({ conv }) => conv))
      // Rows of a direct conversation that came no further: nobody is shown them.
      yield { rows: rows.filter(({ conv }: Member) => !conv.startsWith('d:') || heads.has(conv)), at: (docs.at(-1) as MemberDoc)._id }
    }
  }

  async * #messages (at: string | undefined): AsyncGenerator<TransferPage<'message'>, void> {
    const [c = '', s = '0'] = at?.split(' ') ?? []
    const filter: Filter<MessageDoc> = at === undefined ? {} : { $or: [{ c, s: { $gt: Number(s) } }, { c: { $gt: c } }] }
    for await (const docs of this.#pages(this.#db.messages, filter, { c: 1, s: 1 }, { _id: 0 })) {
      const heads = await this.#purgeMarks(docs.map(doc => placed(doc.c)))
      const rows = docs.flatMap(doc => {
        const conv = placed(doc.c)
        if (doc.s <= (heads.get(conv) ?? 0)) return []
        return [{ conv, ...storedMessage(doc), ...(doc.k.startsWith('c') ? { cid: doc.k.slice(1) } : {}) }]
      })
      const last = docs.at(-1) as MessageDoc
      yield { rows, at: `${last.c} ${last.s}` }
    }
  }

  /** The marks of the purge of conversations that have a head; `prepare` has made the heads right. */
  async #purgeMarks (convs: readonly string[]): Promise<Map<string, number>> {
    const ids = [...new Set(convs)].map(place)
    const docs = await this.#db.rows.find({ _id: { $in: ids } }).project<HeadDoc>({ ps: 1 }).toArray()
    return new Map(docs.map(({ _id, ps }) => [placed(_id), ps]))
  }

  /** The newest message of each packet id, or what the purge wrote down, merged in the order of the keys. */
  async * #resends (at: string | undefined): AsyncGenerator<TransferPage<'resend'>, void> {
    const after = { $gt: at ?? '' }
    const kept = flat(this.#pages(this.#db.resends, { _id: after }, { _id: 1 }, {}))[Symbol.asyncIterator]()
    const sent = newest(flat(this.#pages(this.#db.messages, { q: after }, { q: 1, ts: -1, _id: -1 }, { p: 0 })))[Symbol.asyncIterator]()
    let [a, b] = [await kept.next(), await sent.next()]
    let rows: Array<TransferRows['resend']> = []
    let last = ''
    while (a.done !== true || b.done !== true) {
      const order = a.done === true ? 1 : b.done === true ? -1 : Buffer.compare(Buffer.from(a.value._id), Buffer.from(b.value._id))
      const one = order < 0 ? a.value : order > 0 ? b.value : later(a.value as ResendDoc, b.value as ResendDoc)
      const { _id, c, s, n, id, ts, g, qe, qn } = one as ResendDoc
      const space = _id.indexOf(' ')
      rows.push({ session: _id.slice(space + 1), packetId: Number(_id.slice(0, space)), conv: placed(c), seq: s, n, id, ts, digest: g, ...(qe === undefined || qn === undefined ? {} : { epoch: qe, number: qn }) })
      last = _id
      if (order <= 0) a = await kept.next()
      if (order >= 0) b = await sent.next()
      if (rows.length < pageRows) continue
      yield { rows, at: last }
      rows = []
    }
    if (rows.length > 0) yield { rows, at: last }
  }

  async * #feedRows (at: string | undefined): AsyncGenerator<TransferPage<'feed'>, void> {
    const filter: Filter<FeedRowDoc> = at === undefined ? {} : { _id: { $gt: Number(at) } }
    for await (const docs of this.#pages(this.#db.feed, filter, { _id: 1 }, {})) yield { rows: docs.map(rowOf), at: String((docs.at(-1) as FeedRowDoc)._id) }
  }

  async checkpoint (): Promise<Checkpoint | undefined> {
    const found = await this.#db.meta.findOne({ _id: 'migration' })
    if (found?.checkpoint !== undefined) return JSON.parse(found.checkpoint) as Checkpoint
    const version = await this.version()
    if (version !== undefined && version !== formatVersion) throw new StoreFormatError(`${this.identity} has format version ${version}, and this program knows version ${formatVersion}`)
    // Not only this program's collections: a database of something else is no place for a store.
    for (const { name } of await this.#db.db.listCollections({}, { nameOnly: true }).toArray()) {
      if (name === 'meta' || name.startsWith('system.')) continue
      if (await this.#db.db.collection(name).findOne({}, { projection: { _id: 1 } }) !== null) throw new TransferError(`${this.identity} is not empty`)
    }
    return undefined
  }

  async begin (checkpoint: Checkpoint): Promise<void> {
    await this.#mark(checkpoint)
    await this.#db.meta.updateOne({ _id: 'format' }, { $set: { version: unfinishedVersion } }, { upsert: true, writeConcern: durable })
    await createIndexes(this.#db.db)
  }

  async write<K extends TransferKind> (kind: K, rows: ReadonlyArray<TransferRows[K]>, checkpoint: Checkpoint): Promise<void> {
    const { collection, document } = transferDocuments[kind]
    if (rows.length > 0) {
      try {
        // Whatever was acknowledged before is in the journal with the checkpoint.
        await this.#db.db.collection(collection).insertMany(rows.map(document) as Document[], { ordered: false, writeConcern: quick })
      } catch (error) {
        // Written before the interruption; whether they are equal is checked at the end.
        if (duplicates(error) === undefined) throw error
      }
    }
    await this.#mark(checkpoint)
  }

  async finish (): Promise<void> {
    await this.#db.meta.updateOne({ _id: 'format' }, { $set: { version: formatVersion } }, { upsert: true, writeConcern: durable })
    await this.#db.meta.deleteOne({ _id: 'migration' }, { writeConcern: durable })
  }

  async #mark (checkpoint: Checkpoint): Promise<void> {
    await this.#db.meta.updateOne({ _id: 'migration' }, { $set: { checkpoint: JSON.stringify(checkpoint) } }, { upsert: true, writeConcern: durable })
  }

  close (): Promise<void> { return this.#db.close() }
}

async function * flat<T> (pages: AsyncIterable<T[]>): AsyncGenerator<T, void> {
  for await (const page of pages) yield * page
}

/** The first message of each packet id, as the purge would write it down. */
async function * newest (docs: AsyncIterable<MessageDoc>): AsyncGenerator<ResendDoc, void> {
  let before: string | undefined
  for await (const { q, c, s, n, id, ts, g, qe, qn } of docs) {
    if (q === undefined || q === before) continue
    before = q
    yield { _id: q, c, s, n, id, ts, g: g ?? '', ...(qe === undefined || qn === undefined ? {} : { qe, qn }) }
  }
}

/** Which memory of a packet id counts: what was written down, or its newest message. As `Resends.recall` decides it. */
function later (kept: ResendDoc, sent: ResendDoc): ResendDoc { return kept.id !== sent.id && kept.ts <= sent.ts ? sent : kept }
