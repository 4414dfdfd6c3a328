/** Moving the content of an embedded store out and in; see ../transfer.ts. */
import { existsSync } from 'node:fs'
import { realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { makeFolder } from '../folder.ts'
import type { GroupRow, SessionRow, UserRow } from '../store.ts'
import type { Checkpoint, TransferKind, TransferPage, TransferRows, TransferSource, TransferTarget } from '../transfer.ts'
import { TransferError } from '../transfer.ts'
import {
  cidCodec, countCodec, cursorCodec, decodeEvent, encodeEvent, encodeMessage, eventHeadCodec, groupMemberCodec, headCodec, memberCodec
} from './codec.ts'
import type { Batch } from './batch.ts'
import { decodeFeedReader, decodeFeedRow, encodeFeedReader, encodeFeedRow } from './feed-codec.ts'
import { Database } from './database.ts'
import { databasePath, folderMode, isVacant, readMarker, removeMarker, writeMarker } from './format.ts'
import { key, lastNumber, parts, under } from './keys.ts'
import { messagesAt } from './message-lookup.ts'
import { tighten } from './permissions.ts'
import { shownKey } from './reader.ts'
import { encodeMemories } from './resend-runs.ts'
import { readMemories } from './resend-transfer.ts'
import { decodeRun } from './runs.ts'
import { migratedSegment } from './segments.ts'

const blockCacheBytes = 32 * 1024 * 1024
const writeBufferBytes = 16 * 1024 * 1024

/** The first letter of the keys of a kind, as `keys.ts` lists them. */
const letters: Readonly<Record<TransferKind, string>> = {
  user: 'u',
  block: 'b',
  group: 'g',
  head: 'h',
  member: 'm',
  hidden: 'x',
  message: 'l',
  event: 'e',
  eventHead: 'f',
  session: 'p',
  cursor: 'k',
  resend: 'd',
  record: 'q',
  feed: 'w',
  feedReader: 'o'
}

/** Opens a store to be read. Throws `TransferError` when it is none, `StoreLockedError` while a server has it open. */
export async function openLevelSource (path: string): Promise<TransferSource> {
  const marker = await readMarker(path)
  if (marker === undefined || marker.kind === 'new') throw new TransferError(`'${path}' holds no store`)
  if (marker.kind !== 'store') throw new TransferError(`'${path}' is a backup: restore it into an empty folder first`)
  return await opened(path, false)
}

/** Opens a folder to be filled: absent, empty, a store without content, or what an interrupted migration left. */
export async function openLevelTarget (path: string): Promise<TransferTarget> {
  const unfinished = existsSync(join(databasePath(path), 'CURRENT')) && !existsSync(join(path, 'sabethes.json'))
  let create = false
  if (!unfinished) {
    const marker = await readMarker(path)
    if (marker === undefined ? !await isVacant(path) : marker.kind === 'backup') throw notEmpty(path)
    create = marker === undefined || marker.kind === 'new'
  }
  await makeFolder(path, folderMode)
  const target = await opened(path, create)
  await tighten(path)
  return target
}

function notEmpty (path: string): TransferError { return new TransferError(`'${path}' is not empty`) }

async function opened (path: string, create: boolean): Promise<LevelTransfer> {
  const db = new Database({ path, blockCacheBytes, writeBufferBytes, retryIntervalMs: 100, create })
  // What is left out would be gone, and the copy taken for whole.
  db.reader.onDamage = row => { throw new TransferError(`the row '${shownKey(row)}' of '${path}' is damaged: sabethes doctor --deep says what is`) }
  await db.open()
  return new LevelTransfer(db, `level:${await realpath(path)}`)
}

class LevelTransfer implements TransferSource, TransferTarget {
  readonly identity: string
  readonly #db: Database

  constructor (db: Database, identity: string) {
    this.#db = db
    this.identity = identity
  }

  /** A commit of this store is atomic: nothing is ever half done. */
  async prepare (): Promise<void> {}

  async estimate (): Promise<undefined> {}

  async * read<K extends TransferKind> (kind: K, at?: string): AsyncGenerator<TransferPage<K>, void> {
    if (kind === 'record') {
      yield * this.#records(at) as AsyncGenerator<TransferPage<K>, void>
      return
    }
    if (kind === 'resend') {
      yield * readMemories(this.#db, at) as AsyncGenerator<TransferPage<K>, void>
      return
    }
    const range = under(letters[kind])
    if (at !== undefined) range.gt = at
    const convert = this.#converter(kind)
    for await (const rows of this.#db.scan(range)) {
      yield { rows: await convert(rows), at: (rows.at(-1) as [string, string])[0] }
    }
  }

  async * #records (at: string | undefined): AsyncGenerator<TransferPage<'record'>, void> {
    const { gt, lt } = under(letters.record)
    for await (const rows of this.#db.reader.scanBytes({ gt: at ?? gt, lt })) {
      if (rows.length > 0) yield { rows: rows.map(([name, value]) => ({ key: name.slice(2), value })), at: (rows.at(-1) as [string, Uint8Array])[0] }
    }
  }

  #converter<K extends TransferKind> (kind: K): (rows: Array<[string, string]>) => Promise<Array<TransferRows[K]>> {
    const each = <T>(one: (name: string[], text: string, whole: string) => T) => async (rows: Array<[string, string]>): Promise<T[]> =>
      rows.map(([name, text]) => one(parts(name), text, name))
    const converters: { [Each in Exclude<TransferKind, 'record' | 'resend'>]: (rows: Array<[string, string]>) => Promise<Array<TransferRows[Each]>> } = {
      user: each((_, text) => JSON.parse(text) as UserRow),
      block: each(([, uid = '', other = '']) => ({ uid, other })),
      group: each((_, text) => JSON.parse(text) as GroupRow),
      head: rows => this.#heads(rows),
      member: each((_, text, whole) => memberCodec.decode(text, whole)),
      hidden: each(([, user = '', conv = ''], text, whole) => ({ user, conv, seq: lastNumber(whole), counts: text === '1' })),
      message: rows => this.#messages(rows),
      event: rows => this.#events(rows),
      eventHead: each(([, user = ''], text, whole) => ({ user, ...eventHeadCodec.decode(text, whole) })),
      session: each((_, text) => JSON.parse(text) as SessionRow),
      cursor: each(([, session = '', stream = ''], text, whole) => ({ session, stream, ...cursorCodec.decode(text, whole) })),
      feed: each((_, text, whole) => decodeFeedRow(text, whole)),
      feedReader: each((_, text, whole) => decodeFeedReader(text, whole))
    }
    return converters[kind as Exclude<TransferKind, 'record' | 'resend'>] as unknown as (rows: Array<[string, string]>) => Promise<Array<TransferRows[K]>>
  }

  async #heads (rows: Array<[string, string]>): Promise<Array<TransferRows['head']>> {
    const heads = rows.map(([name, text]) => ({ conv: parts(name)[1] as string, head: headCodec.decode(text, name) }))
    const first = await messagesAt(this.#db, heads.map(({ conv, head }) => ({ conv, head, seq: head.purgedSeq + 1 })))
    return heads.map(({ conv, head: { seq, n, ts, purgedSeq, purgedN, expiring } }, i) => {
      const oldestTs = first[i]?.ts
      return { conv, seq, n, ts, purgedSeq, purgedN, ...(expiring === 0 ? {} : { expiring }), ...(oldestTs === undefined ? {} : { oldestTs }) }
    })
  }

  /** Without those that wait for the purge. */
  async #messages (rows: Array<[string, string]>): Promise<Array<TransferRows['message']>> {
    const messages = rows.flatMap(([name, text]) => decodeRun(text, lastNumber(name)).map(message => ({ conv: parts(name)[2] as string, ...message })))
    const convs = [...new Set(messages.map(({ conv }) => conv))]
    const heads = await this.#db.getMany(convs.map(conv => key.head(conv)))
    const marks = new Map(convs.map((conv, i) => [conv, headCodec.decode(heads[i] as string, conv).purgedSeq]))
    return messages.filter(({ conv, seq }) => seq > (marks.get(conv) as number))
  }

  async #events (rows: Array<[string, string]>): Promise<Array<TransferRows['event']>> {
    const slots = new Map<string, Map<number, string>>()
    for (const user of new Set(rows.map(([name]) => parts(name)[1] as string))) {
      const named = await this.#db.rows(under('s\x00' + user))
      slots.set(user, new Map(named.map(([name, seq]) => [Number(seq), parts(name)[2] as string])))
    }
    return rows.map(([name, text]) => {
      const user = parts(name)[1] as string
      const seq = lastNumber(name)
      const slot = slots.get(user)?.get(seq)
      return { user, seq, ...decodeEvent(text), ...(slot === undefined ? {} : { slot }) }
    })
  }

  async checkpoint (): Promise<Checkpoint | undefined> {
    const text = await this.#db.get(key.migration())
    if (text !== undefined) return JSON.parse(text) as Checkpoint
    const [row] = (await (await this.#db.level()).keys({ limit: 2 }).all()).filter(name => name !== key.format())
    if (row !== undefined) throw notEmpty(this.#db.path)
    return undefined
  }

  async begin (checkpoint: Checkpoint): Promise<void> {
    if (existsSync(join(this.#db.path, 'sabethes.json'))) await removeMarker(this.#db.path)
    await this.#commit(batch => { batch.put(key.migration(), JSON.stringify(checkpoint)) })
  }

  async write<K extends TransferKind> (kind: K, rows: ReadonlyArray<TransferRows[K]>, checkpoint: Checkpoint): Promise<void> {
    await this.#commit(batch => {
      for (const row of rows) (put[kind] as (batch: Batch, row: TransferRows[K]) => void)(batch, row)
      batch.put(key.migration(), JSON.stringify(checkpoint))
    })
  }

  async finish (): Promise<void> {
    let size: { gid: string, count: number } | undefined
    const sizes: Array<{ gid: string, count: number }> = []
    for await (const rows of this.#db.scan(under('r'))) {
      for (const [name] of rows) {
        const gid = parts(name)[1] as string
        if (size?.gid !== gid) sizes.push(size = { gid, count: 0 })
        size.count++
      }
    }
    await this.#commit(batch => {
      for (const { gid, count } of sizes) batch.put(key.groupSize(gid), countCodec.encode({ count }))
    })
    await writeMarker(this.#db.path, { kind: 'store' })
    await this.#commit(batch => { batch.del(key.migration()) })
  }

  async #commit (fill: (batch: Batch) => void): Promise<void> {
    await this.#db.exclusive(async () => {
      const batch = this.#db.batch()
      fill(batch)
      if (batch.length === 0) await batch.close()
      else await this.#db.write(batch, true)
    })
  }

  close (): Promise<void> { return this.#db.close() }
}

/** How the rows of each kind are written, with what is derived from each. */
const put: { [K in TransferKind]: (batch: Batch, row: TransferRows[K]) => void } = {
  user: (batch, row) => { batch.put(key.user(row.uid), JSON.stringify(row)) },
  block: (batch, row) => { batch.put(key.block(row.uid, row.other), '1') },
  group: (batch, row) => { batch.put(key.group(row.gid), JSON.stringify(row)) },
  head: (batch, { conv, oldestTs, ...row }) => {
    batch.put(key.head(conv), headCodec.encode({ expiring: 0, ...row, segment: migratedSegment, segmentFirst: 1 }))
    batch.put(key.segment(conv, 1), String(migratedSegment))
    if (oldestTs !== undefined) batch.put(key.oldest(oldestTs, conv), String(row.purgedSeq + 1))
  },
  member: (batch, row) => {
    batch.put(key.member(row.user, row.conv), memberCodec.encode(row))
    const { user, role, mutedUntil } = row
    if (role !== undefined) batch.put(key.groupMember(row.conv.slice(2), user), groupMemberCodec.encode({ user, role, ...(mutedUntil === undefined ? {} : { mutedUntil }) }))
  },
  hidden: (batch, { user, conv, seq, counts }) => {
    batch.put(key.hidden(user, conv, seq), counts ? '1' : '0')
    batch.put(key.hider(conv, seq, user), counts ? '1' : '0')
  },
  message: (batch, { conv, seq, n, ...row }) => {
    batch.put(key.message(migratedSegment, conv, seq), encodeMessage({ op: 'message', conv, marksSender: false, ...row }, n))
    if (row.counts && row.expiresAt !== undefined) batch.put(key.expiring(conv, seq), String(row.expiresAt))
    if (row.cid !== undefined) batch.put(key.cid(conv, row.from, row.cid), cidCodec.encode({ seq, n, ts: row.ts, id: row.id }))
  },
  event: (batch, { user, seq, ts, content, slot }) => {
    batch.put(key.event(user, seq), encodeEvent(ts, content))
    if (slot !== undefined) batch.put(key.slot(user, slot), String(seq))
  },
  eventHead: (batch, { user, ...row }) => { batch.put(key.eventHead(user), eventHeadCodec.encode(row)) },
  session: (batch, row) => { batch.put(key.session(row.session), JSON.stringify(row)) },
  cursor: (batch, { session, stream, ...row }) => { batch.put(key.cursor(session, stream), cursorCodec.encode(row)) },
  resend: (batch, { session, packetId, ...row }) => { batch.put(key.resends(session, packetId), encodeMemories([{ packetId, ...row }])) },
  record: (batch, { key: name, value }) => { batch.put(key.record(name), value) },
  feed: (batch, row) => { batch.put(key.feedRow(row.first), encodeFeedRow(row)) },
  feedReader: (batch, row) => { batch.put(key.feedReader(row.name), encodeFeedReader(row)) }
}
