/**
 * The commit path: one atomic, synced write for a list of operations.
 *
 * First everything the operations need and the caches lack is read with one call, then the operations are applied in order
 * to a draft, without waiting; then the draft is written, and only when that succeeded do the caches take it over.
 */
import { directUsers } from '../../topics.ts'
import type { Member, NewEvent, NewMessage, Operation, Outcome } from '../store.ts'
import { cidCodec, encodeEvent, encodeHead } from './codec.ts'
import type { CidRow, HeadRow } from './codec.ts'
import type { Batch } from './batch.ts'
import type { Database } from './database.ts'
import type { LevelFeed } from './feed.ts'
import { GroupChanges } from './group-changes.ts'
import { key } from './keys.ts'
import type { Newest } from './newest.ts'
import { Resends } from './resend-runs.ts'
import { Runs } from './runs.ts'
import type { Segments } from './segments.ts'
import { Draft } from './tables.ts'
import type { Tables } from './tables.ts'

const nothing: Outcome = Object.freeze({ seq: 0, n: 0, id: '', ts: 0, replay: false })

/** Rows that are not cached, as text: what is on disk and what this commit writes. */
class Texts {
  readonly rows = new Map<string, string | undefined>()
  load (name: string, text: string | undefined): void { this.rows.set(name, text) }
}

/** Rows of a conversation that a message changes; `sender`: once it was changed. */
interface Log { readonly conv: string, readonly from: string, readonly head: HeadRow, sender: Member | null | undefined }

/** What a commit reads and writes. */
export interface CommitParts { db: Database, tables: Tables, segments: Segments, newest: Newest, feed: LevelFeed, resendWindowMs: number }

/** Applies operations in order and writes them; on disk when it resolves. Call it inside `exclusive`. */
export async function commit (parts: CommitParts, operations: readonly Operation[]): Promise<Outcome[]> {
  if (operations.length === 0) return []
  const work = new Commit(parts)
  await work.prepare(operations)
  return await work.apply(operations)
}

class Commit {
  readonly #db: Database
  readonly #draft: Draft
  readonly #texts = new Texts()
  readonly #segments: Segments
  /** Characters of the messages of this commit. */
  #length = 0
  readonly #newest: Newest
  /** The newest time of this commit. */
  #time = 0
  readonly #feed: LevelFeed
  readonly #resends: Resends
  readonly #runs = new Runs()
  /** What the last message changed. */
  #open: Log | undefined
  #groups: GroupChanges | undefined

  constructor ({ db, tables, segments, newest, feed, resendWindowMs }: CommitParts) {
    this.#db = db
    this.#feed = feed
    this.#segments = segments
    this.#newest = newest
    this.#draft = new Draft(tables)
    this.#resends = new Resends(resendWindowMs)
  }

  async prepare (operations: readonly Operation[]): Promise<void> {
    const draft = this.#draft
    let last: NewMessage | undefined
    for (const op of operations) {
      if (op.op === 'message') {
        this.#wantMessage(op, last)
        last = op
      } else if (op.op === 'event') {
        draft.want(draft.eventHeads, key.eventHead(op.user))
        if (op.slot !== undefined) draft.wantText(key.slot(op.user, op.slot), this.#texts)
      } else {
        this.#groups ??= new GroupChanges(this.#db, draft)
        this.#groups.want(op)
      }
    }
    await draft.load(this.#db)
    await this.#resends.load(this.#db)
    await this.#groups?.load()
  }

  #wantMessage (op: NewMessage, last: NewMessage | undefined): void {
    const draft = this.#draft
    const { conv, from } = op
    // Messages come in bursts of one sender to one conversation.
    if (conv !== last?.conv) draft.want(draft.heads, key.head(conv))
    if (op.marksSender && !(conv === last?.conv && from === last.from && last.marksSender)) draft.want(draft.members, key.member(from, conv))
    if (op.cid !== undefined) draft.wantText(key.cid(conv, from, op.cid), this.#texts)
    else if (op.resend?.dup === true) this.#resends.want(op.resend)
  }

  async apply (operations: readonly Operation[]): Promise<Outcome[]> {
    const batch = this.#db.batch()
    const outcomes: Outcome[] = []
    let feedEnd: number
    try {
      for (const op of operations) {
        if (op.op === 'message') {
          outcomes.push(this.#message(batch, op))
          continue
        }
        this.#open = undefined
        if (op.op === 'event') outcomes.push(this.#event(batch, op))
        else {
          this.#groups?.apply(batch, op)
          outcomes.push(nothing)
        }
      }
      this.#runs.put(batch)
      this.#resends.put(batch)
      this.#draft.put(batch)
      this.#newest.put(batch, this.#time)
      feedEnd = this.#feed.put(batch, operations, outcomes)
    } catch (error) {
      await batch.close()
      throw error
    }
    if (batch.length === 0) await batch.close() // only repeats
    else await this.#db.write(batch, true)
    this.#draft.settle()
    this.#newest.settle(this.#time)
    this.#segments.grew(this.#length)
    this.#feed.settle(feedEnd)
    return outcomes
  }

  #message (batch: Batch, op: NewMessage): Outcome {
    const known = this.#open?.conv === op.conv ? this.#open.head : this.#draft.heads.get(key.head(op.conv))
    const cidKey = op.cid === undefined ? undefined : key.cid(op.conv, op.from, op.cid)
    const repeated = cidKey !== undefined ? this.#sameCid(cidKey, known) : this.#resent(op)
    if (repeated !== undefined) return { seq: repeated.seq, n: repeated.n, id: repeated.id, ts: repeated.ts, replay: true }

    const { head } = this.#openLog(op)
    this.#append(batch, head, op)
    const { seq, n } = head
    if (cidKey !== undefined) {
      this.#remember(batch, cidKey, cidCodec.encode({ seq, n, ts: op.ts, id: op.id }))
    } else if (op.resend !== undefined) {
      const { digest, epoch, number } = op.resend
      this.#resends.remember(op.resend, { seq, n, ts: op.ts, id: op.id, conv: op.conv, digest, epoch, number })
    }
    const outcome: Outcome = { seq, n, id: op.id, ts: op.ts, replay: false }
    if (op.marksSender) this.#markSender(op, head, outcome)
    return outcome
  }

  /** The rows that a message changes: most often those that the one before it has changed. */
  #openLog ({ conv, from }: NewMessage): Log {
    if (this.#open?.conv === conv && this.#open.from === from) return this.#open
    const { heads } = this.#draft
    const headKey = key.head(conv)
    const head = heads.get(headKey) === null ? this.#newHead(headKey, conv) : heads.edit(headKey) as HeadRow
    this.#open = { conv, from, head, sender: undefined }
    return this.#open
  }

  #newHead (headKey: string, conv: string): HeadRow {
    const head: HeadRow = { seq: 0, n: 0, ts: 0, purgedSeq: 0, purgedN: 0, segment: 0, segmentFirst: 0, expiring: 0 }
    this.#draft.heads.set(headKey, head)
    if (conv.startsWith('d:')) this.#openDirect(conv)
    return head
  }

  /** The message's own rows; the head moves with them. */
  #append (batch: Batch, head: HeadRow, op: NewMessage): void {
    const { conv, ts } = op
    const seq = head.seq + 1
    if (head.seq === head.purgedSeq) batch.put(key.oldest(ts, conv), String(seq))
    head.seq = seq
    if (op.counts) head.n++
    head.ts = ts
    if (ts > this.#time) this.#time = ts
    if (op.counts && op.expiresAt !== undefined) {
      head.expiring = seq
      batch.put(key.expiring(conv, seq), String(op.expiresAt))
    }
    const segment = this.#segments.current
    if (head.segment !== segment) {
      head.segment = segment
      head.segmentFirst = seq
      batch.put(key.segment(conv, seq), String(segment))
    }
    const start = encodeHead(op, head.n)
    this.#length += start.length + op.content.length
    this.#runs.add(batch, segment, conv, seq, start, op.content)
  }

  /** Who writes has read what came before. */
  #markSender (op: NewMessage, head: HeadRow, outcome: Outcome): void {
    const log = this.#open as Log
    const sender = log.sender ??= this.#draft.members.edit(key.member(op.from, op.conv))
    if (sender === null) return
    const { seq, n } = head
    // A gap stays: what came before may not have reached any device of the sender yet.
    if (sender.deliveredSeq === seq - 1) sender.deliveredSeq = seq
    if (Math.max(sender.readSeq, head.purgedSeq) < seq - 1) outcome.passed = true
    sender.posted = true
    sender.readSeq = seq
    sender.readN = n
    sender.hiddenUnread = 0
  }

  /** The first message of a direct conversation makes both users its members. */
  #openDirect (conv: string): void {
    for (const user of new Set(directUsers(conv))) {
      this.#draft.members.set(key.member(user, conv), newMember(user, conv))
    }
  }

  #sameCid (name: string, head: HeadRow | null): CidRow | undefined {
    const text = this.#texts.rows.get(name)
    if (text === undefined) return undefined
    const row = cidCodec.decode(text, name)
    // A key that the purge has not reached yet: its message is gone, with the group that a new one has replaced.
    return head !== null && row.seq > head.purgedSeq ? row : undefined
  }

  /** The answer to a repeat may be lost as the first one was: its memory is the present connection's from now on. */
  #resent (op: NewMessage): CidRow | undefined {
    const first = this.#resends.first(op)
    if (first === undefined || op.resend === undefined) return undefined
    const { epoch, number } = op.resend
    const { seq, n, ts, id, conv, digest } = first
    if (first.epoch !== epoch) this.#resends.remember(op.resend, { seq, n, ts, id, conv, digest, epoch, number })
    return first
  }

  #remember (batch: Batch, name: string, text: string): void {
    this.#texts.rows.set(name, text)
    batch.put(name, text)
  }

  #event (batch: Batch, op: NewEvent): Outcome {
    const { eventHeads } = this.#draft
    const headKey = key.eventHead(op.user)
    const old = eventHeads.get(headKey)
    const head = { seq: (old?.seq ?? 0) + 1, deliveredSeq: old?.deliveredSeq ?? 0 }
    eventHeads.set(headKey, head)
    if (op.slot !== undefined) {
      const slotKey = key.slot(op.user, op.slot)
      const replaced = this.#texts.rows.get(slotKey)
      if (replaced !== undefined) batch.del(key.event(op.user, Number(replaced)))
      this.#remember(batch, slotKey, String(head.seq))
    }
    if (op.ts > this.#time) this.#time = op.ts
    batch.put(key.event(op.user, head.seq), encodeEvent(op.ts, op.content))
    return { seq: head.seq, n: 0, id: '', ts: op.ts, replay: false }
  }
}

function newMember (user: string, conv: string): Member {
  return {
    user,
    conv,
    joinedSeq: 0,
    clearedSeq: 0,
    readSeq: 0,
    readN: 0,
    deliveredSeq: 0,
    hiddenUnread: 0,
    muted: false,
    pinned: false
  }
}
