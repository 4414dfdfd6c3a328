/**
 * Appending messages. The insert is the commit point; what follows is derived from it.
 *
 * Numbers have no gap and nothing is stored twice, because
 * - a number is only tried when the one before it is known to be stored: the first of a conversation's run follows the
 *   end of the log, and a run of several is inserted in order, so that the server takes nothing behind one that it refused.
 *   (When no conversation occurs twice there is no run, and the insert is unordered: a sharded database takes it in parallel.)
 * - (c, s) is unique: two writers cannot take one number. The one that is refused reads the end of the log again and
 *   numbers what is left, in the order of arrival.
 * - (c, f, k) is unique: a repeat is refused, and nothing behind it was taken either, so its number is still free.
 * An insert that was given up may still happen later. Then it holds what the next reader of the log finds, or it meets a
 * number or a key that is taken and, being ordered, ends there.
 */
import { directUsers } from '../../topics.ts'
import type { Member, NewMessage, Outcome } from '../store.ts'
import { appended, endOf, memoryOf, number, unstored } from './append-entries.ts'
import type { Entry } from './append-entries.ts'
import { Burst } from './burst.ts'
import type { Connection } from './connection.ts'
import { whole } from './connection.ts'
import { derive, withOpened } from './derive.ts'
import { messageDoc, newMember, place, storedMessage } from './documents.ts'
import type { MessageDoc } from './documents.ts'
import { duplicates } from './failure.ts'
import type { MongoFeed } from './feed.ts'
import { openMembers, writeDerived } from './derived-writes.ts'
import { memberAt, pieces } from './rows.ts'
import type { MemberAt, Rows, View } from './rows.ts'
import { memory, remembered, Resends } from './resends.ts'
import type { Memory } from './resends.ts'

/** Keys and conversations of one query. */
const keysOfQuery = 500

export class Append {
  readonly #db: Connection
  readonly #rows: Rows
  readonly #resends: Resends
  readonly #feed: MongoFeed
  readonly #onDerivedFailure: ((error: unknown) => void) | undefined
  readonly #derivedFailures = new Burst()
  /** Conversations of rejected commits, with the last number that was told. */
  readonly #told = new Map<string, number>()

  constructor (db: Connection, rows: Rows, feed: MongoFeed, resendWindowMs: number, onDerivedFailure: ((error: unknown) => void) | undefined) {
    this.#db = db
    this.#rows = rows
    this.#feed = feed
    this.#onDerivedFailure = onDerivedFailure
    this.#resends = new Resends(db, resendWindowMs)
  }

  /** Stores messages in their order. Inside `exclusive`. */
  async run (ops: readonly NewMessage[]): Promise<Outcome[]> {
    const entries = ops.map(op => this.#entry(op))
    this.#joinRepeats(entries)
    const convs = [...new Set(ops.map(op => op.conv))]
    const senders = ops.filter(op => op.marksSender).map(op => ({ user: op.from, conv: op.conv }))
    let view: View
    try {
      await this.#recallResends(entries)
      view = await this.#first(convs, senders)
      const started = performance.now()
      for (let left = unstored(entries); left.length > 0; left = unstored(entries)) {
        if (performance.now() - started > 2 * this.#db.timeoutMs) throw new Error('another process goes on writing the same conversations')
        await this.#open(view, left)
        number(view, left)
        if (await this.#insert(left)) break
        this.#forget(left)
        view = await this.#rows.load(convs, senders)
        await this.#findRepeats(view, unstored(entries))
      }
      await this.#feed.lookAgain()
      if (this.#feed.active) await this.#feedStored(view, entries)
    } catch (error) {
      this.#forget(entries)
      for (const { op, at } of entries) if (at.seq > 0) this.untold(op.conv, at.seq - 1)
      this.#doubt(entries)
      throw error
    }
    await this.#derive(view, entries)
    try {
      await this.#resends.move(entries.flatMap(({ op, same }) => same === undefined || op.cid !== undefined ? [] : [{ first: memoryOf(same), op }]))
    } catch (error) {
      this.#doubt(entries)
      throw error
    }
    const outcomes = entries.map(entry => this.#outcome(entry))
    await this.#addMissed(ops, outcomes)
    return outcomes
  }

  /** Rows for a commit. Who writes in a group is in it: who is not, as far as is remembered, was added by another process. */
  async #first (convs: readonly string[], senders: readonly MemberAt[]): Promise<View> {
    const view = await this.#rows.load(convs, senders)
    if (!this.#rows.isShared) return view
    const missing = senders.filter(({ user, conv }) => conv.startsWith('g:') && this.#rows.owns(conv) && view.members.get(memberAt(user, conv)) == null)
    return missing.length === 0 ? view : await this.#rows.loadAnew(convs, senders, missing)
  }

  #doubt (entries: readonly Entry[]): void { for (const { join, key, op } of entries) if (op.cid === undefined && join !== '') this.#resends.doubt(join, key, op) }

  /** Of what a conversation holds behind `seq` nobody may have been told: its commit is rejected. */
  untold (conv: string, seq: number): void { this.#told.set(conv, Math.min(seq, this.#told.get(conv) ?? seq)) }

  /** The commit is answered: what these conversations hold is told. */
  told (convs: Iterable<string>): void { for (const conv of convs) this.#told.delete(conv) }

  /** Adds what rejected commits have stored all the same to the first outcome of its conversation. */
  async #addMissed (ops: readonly NewMessage[], outcomes: readonly Outcome[]): Promise<void> {
    if (this.#told.size === 0) return
    const first = new Map<string, { outcome: Outcome, after: number, before: number }>()
    for (const [i, { conv }] of ops.entries()) {
      const after = this.#told.get(conv)
      if (after === undefined) continue
      const outcome = outcomes[i] as Outcome
      const range = first.get(conv)
      if (range === undefined) first.set(conv, { outcome, after, before: outcome.replay ? Infinity : outcome.seq })
      else if (!outcome.replay) range.before = Math.min(range.before, outcome.seq)
    }
    await Promise.all([...first].map(async ([conv, { outcome, after, before }]) => {
      const docs = await this.#db.messages.find({ c: place(conv), s: { $gt: after, $lt: Math.min(before, Number.MAX_SAFE_INTEGER) } }, whole).sort({ s: 1 }).toArray()
      if (docs.length > 0) outcome.missed = docs.map(storedMessage)
    }))
  }

  /** Into the feed, before anything is acknowledged. A repeat whose first one came behind the known end of its log is found there. */
  async #feedStored (view: View, entries: readonly Entry[]): Promise<void> {
    const late = entries.filter(({ op, outcome }) => outcome !== undefined && outcome.seq > endOf(view, op.conv))
    this.#forget(late)
    if (late.length > 0) await this.#rows.load(late.map(({ op }) => op.conv), [])
    await this.#feed.append(appended(view, entries))
  }

  #entry (op: NewMessage): Entry {
    const join = op.cid !== undefined ? `c ${op.conv} ${op.from} ${op.cid}` : op.resend === undefined ? '' : this.#resends.join(op.resend)
    const key = op.cid !== undefined ? 'c' + op.cid : 'i' + op.id
    return { op, join, key, same: undefined, at: { seq: 0, n: 0 }, prevTs: 0, stored: false, passed: false, outcome: undefined }
  }

  /** Repeats within the batch. */
  #joinRepeats (entries: readonly Entry[]): void {
    const last = new Map<string, Entry>()
    for (const entry of entries) {
      const { op, join } = entry
      if (join === '') continue
      const earlier = last.get(join)
      if (earlier !== undefined && (op.cid !== undefined || this.#resends.repeats(op, remembered(earlier.op)))) entry.same = earlier
      else last.set(join, entry)
    }
  }

  /** Repeats without cid, by the memory of their packet ids. */
  async #recallResends (entries: readonly Entry[]): Promise<void> {
    const first = new Set<string>()
    const asking: Entry[] = []
    for (const entry of entries) {
      const { op, join, same } = entry
      if (op.cid !== undefined || op.resend === undefined || same !== undefined) continue
      // Behind an earlier one of this batch the memory is that one.
      if (!first.has(join) && op.resend.dup) asking.push(entry)
      first.add(join)
    }
    if (asking.length === 0) return
    const memories = await this.#resends.recall(asking.map(entry => entry.join))
    const moved: Array<{ first: Memory, op: NewMessage }> = []
    for (const entry of asking) {
      const memory = memories.get(entry.join)
      if (memory !== undefined && this.#resends.repeats(entry.op, memory)) {
        moved.push({ first: memory, op: entry.op })
        entry.outcome = { seq: memory.seq, n: memory.n, id: memory.id, ts: memory.ts, replay: true }
      } else {
        // The first try may be stored at any moment: the same key lets only one of them in.
        entry.key = this.#resends.doubted(entry.op) ?? entry.key
      }
    }
    await this.#resends.move(moved)
  }

  /**
   * The first message of a direct conversation makes both users its members. Their rows come first: a crash behind them
   * leaves rows without a log, which nobody is shown, and behind the insert the conversation is in both lists.
   */
  async #open (view: View, left: readonly Entry[]): Promise<void> {
    const rows: Member[] = []
    for (const { conv } of new Set(left.map(entry => entry.op))) {
      if (!conv.startsWith('d:') || (view.heads.get(conv)?.seq ?? 0) > 0) continue
      for (const user of new Set(directUsers(conv))) {
        const key = memberAt(user, conv)
        if (view.members.get(key) != null) continue
        const row = newMember(user, conv)
        view.members.set(key, row)
        rows.push(row)
      }
    }
    if (rows.length === 0) return
    await this.#db.fault('members before insert')
    await openMembers(this.#db, rows)
  }

  /** Inserts what is numbered; true when all of it is stored. */
  async #insert (left: readonly Entry[]): Promise<boolean> {
    const convs = new Map<string, Entry[]>()
    for (const entry of left) {
      const run = convs.get(entry.op.conv)
      if (run === undefined) convs.set(entry.op.conv, [entry])
      else run.push(entry)
    }
    const ordered = convs.size < left.length
    // Runs lie together, in the order of the shard key: a router hands on as few pieces as it can.
    const queue = ordered ? [...convs.values()].sort((a, b) => place((a[0] as Entry).op.conv) < place((b[0] as Entry).op.conv) ? -1 : 1).flat() : left
    await this.#db.fault('insert')
    for (const some of pieces(queue, ordered ? this.#db.orderedInserts : queue.length)) {
      const refused = await this.#insertSome(some.map(({ op, key, at }) => messageDoc(op, key, at)), ordered)
      const end = ordered ? Math.min(...refused) : Infinity
      for (const [i, entry] of some.entries()) entry.stored = i < end && !refused.has(i)
      if (refused.size > 0) return false
    }
    await this.#db.fault('inserted')
    return true
  }

  async #insertSome (docs: MessageDoc[], ordered: boolean): Promise<Set<number>> {
    try {
      await this.#db.messages.insertMany(docs, { ordered, maxTimeMS: this.#db.timeoutMs })
      return new Set()
    } catch (error) {
      const refused = duplicates(error)
      if (refused === undefined) throw error
      return refused
    }
  }

  /** Which of the messages that were not taken are repeats. Keys of purged messages that are still there make way. */
  async #findRepeats (view: View, left: readonly Entry[]): Promise<void> {
    const byKey = new Map<string, Entry>()
    const queries: Array<{ c: string, f: string, k: string }> = []
    for (const entry of left) {
      const { op, key } = entry
      queries.push({ c: place(op.conv), f: op.from, k: key })
      byKey.set(`${place(op.conv)} ${op.from} ${key}`, entry)
    }
    const dead: Array<{ c: string, s: number }> = []
    const moved: Array<{ first: Memory, op: NewMessage }> = []
    await Promise.all(pieces(queries, keysOfQuery).map(async some => {
      const found = await this.#db.messages.find({ $or: some }, whole).project<MessageDoc>({ p: 0 }).toArray()
      for (const doc of found) {
        const entry = byKey.get(`${doc.c} ${doc.f} ${doc.k}`) as Entry
        if (doc.s <= (view.heads.get(entry.op.conv)?.purgedSeq ?? 0)) dead.push({ c: doc.c, s: doc.s })
        else {
          entry.outcome = { seq: doc.s, n: doc.n, id: doc.id, ts: doc.ts, replay: true }
          if (entry.op.cid === undefined && entry.op.resend !== undefined) moved.push({ first: memory(doc), op: entry.op })
        }
      }
    }))
    await this.#resends.move(moved)
    for (const some of pieces(dead, keysOfQuery)) await this.#db.messages.deleteMany({ $or: some })
  }

  /** Heads and the senders' own marks. The messages are stored: when this fails, they are answered, and the next reader repairs. */
  async #derive (view: View, entries: readonly Entry[]): Promise<void> {
    const { heads, members } = derive(view, entries)
    if (heads.size === 0) return
    try {
      await this.#db.fault('derived')
      await writeDerived(this.#db, [...members.values()], heads, ({ user, conv }) => view.members.get(memberAt(user, conv))?.posted !== true)
    } catch (error) {
      // Forgotten rows are read anew together with the end of their log.
      this.#forget(entries)
      if (this.#derivedFailures.begins()) this.#onDerivedFailure?.(error)
      return
    }
    this.#rows.settle(heads, withOpened(members, view, heads.keys()))
  }

  #outcome (entry: Entry): Outcome {
    const { op, at, same } = entry
    if (same !== undefined) {
      const { seq, n, id, ts } = this.#outcome(same)
      return { seq, n, id, ts, replay: true }
    }
    this.#resends.settled(entry.join)
    entry.outcome ??= { seq: at.seq, n: at.n, id: op.id, ts: op.ts, replay: false, ...(entry.passed ? { passed: true } : {}), ...(!this.#rows.isShared || at.seq === 1 ? {} : { prevTs: entry.prevTs }) }
    return entry.outcome
  }

  #forget (entries: readonly Entry[]): void {
    const convs = new Set<string>()
    const members: MemberAt[] = []
    for (const { op } of entries) {
      convs.add(op.conv)
      members.push({ user: op.from, conv: op.conv })
      if (op.conv.startsWith('d:')) for (const user of directUsers(op.conv)) members.push({ user, conv: op.conv })
    }
    this.#rows.forget(convs, members.map(({ user, conv }) => memberAt(user, conv)))
  }
}
