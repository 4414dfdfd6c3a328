/**
 * Retention. `t ts conv` rows tell which conversations have messages older than a time, one row a conversation, so a
 * purge looks only at those. Of each it removes messages from the oldest on until one is young enough (the clock may have
 * gone back between two messages; the order of the log wins), with their idempotency keys and what users hid of them.
 * `purgedSeq` of the head moves with it; members' rows are not touched, see `shown` in members.ts.
 */
import { StoreDamagedError } from '../errors.ts'
import type { Batch } from './batch.ts'
import { cidCodec, resendCodec } from './codec.ts'
import type { HeadRow, MessageRow } from './codec.ts'
import type { Database } from './database.ts'
import { key, lastNumber, lastPart, parts, sorted, under } from './keys.ts'
import { decodeMemories } from './resend-runs.ts'
import { decodeRun, putRun, textsOf } from './runs.ts'
import { emptySegments, scanLog } from './segments.ts'
import { Draft } from './tables.ts'
import type { Tables } from './tables.ts'

/** Messages of one write: commits wait no longer than for this many. */
const stepMessages = 500
/** What a step of the purge found. `cut`: of a run whose first messages go, what is left of it. */
interface Old { gone: MessageRow[], names: string[], cut: { name: string, texts: string[] } | undefined, next: MessageRow | undefined }

/** Rows with memories of packet ids that one purge looks at. */
const stepResends = 1000

export class Purge {
  readonly #db: Database
  readonly #tables: Tables
  readonly #resendWindowMs: number
  #resendAfter: string | undefined

  constructor (db: Database, tables: Tables, resendWindowMs: number) {
    this.#db = db
    this.#tables = tables
    this.#resendWindowMs = resendWindowMs
  }

  /** Resolves to how many messages were removed; less than `limit` when nothing older than `before` is left. */
  async run (before: number, limit: number): Promise<number> {
    let done = 0
    let after: string | undefined
    while (done < limit) {
      const [oldest] = await this.#db.rows({ ...key.oldestBefore(before), ...(after === undefined ? {} : { gt: after }) }, 1)
      if (oldest === undefined) break
      try {
        done += await this.#db.exclusive(() => this.#step(oldest[0], before, Math.min(stepMessages, limit - done)))
      } catch (error) {
        if (!(error instanceof StoreDamagedError)) throw error
        // Told where it was met. Other conversations are not kept for ever because of it.
        after = oldest[0]
      }
    }
    await this.#db.exclusive(() => this.#forgetResends())
    return done
  }

  async #step (oldestKey: string, before: number, limit: number): Promise<number> {
    const firstSeq = await this.#db.get(oldestKey)
    if (firstSeq === undefined) return 0
    const conv = lastPart(oldestKey)
    const headKey = key.head(conv)
    const draft = new Draft(this.#tables)
    draft.want(draft.heads, headKey)
    await draft.load(this.#db)
    const head = draft.heads.edit(headKey)
    if (head === null) throw new Error(`the head of ${conv} is missing`)

    const { gone, names, cut, next } = await this.#old(conv, head, Number(firstSeq) - 1, before, limit)
    const batch = this.#db.batch()
    await this.#forgetCids(batch, conv, gone)
    for (const name of names) batch.del(name)
    if (cut !== undefined) putRun(batch, cut.name, cut.texts)
    for (const { seq, counts, expiresAt } of gone) if (counts && expiresAt !== undefined) batch.del(key.expiring(conv, seq))
    const last = gone.at(-1)
    if (last !== undefined) {
      for (const name of await emptySegments(this.#db, conv, last.seq)) batch.del(name)
    }
    if (last !== undefined && last.seq > head.purgedSeq) {
      await this.#unhide(draft, batch, conv, last.seq)
      head.purgedSeq = last.seq
      head.purgedN = last.n
    }
    batch.del(oldestKey)
    // A message that is of a removed group, or not looked at yet, keeps the conversation in the range of this purge.
    if (next !== undefined) batch.put(key.oldest(next.seq <= head.purgedSeq ? 0 : next.ts, conv), String(next.seq))
    draft.put(batch)
    await this.#db.write(batch, false)
    draft.settle()
    return gone.length
  }

  /** At most `limit` messages after `after` that are to go, the keys of rows that have no others, and the first one that stays. */
  async #old (conv: string, head: HeadRow, after: number, before: number, limit: number): Promise<Old> {
    const gone: MessageRow[] = []
    const names: string[] = []
    for await (const rows of scanLog(this.#db, conv, head, { after, before: Infinity, limit: limit + 1, reverse: false })) {
      for (const [name, text] of rows) {
        const messages = decodeRun(text, lastNumber(name))
        for (const [i, message] of messages.entries()) {
          const dropped = message.seq <= head.purgedSeq // of a group that was removed
          if (gone.length === limit || (!dropped && message.ts >= before)) return { gone, names, cut: i === 0 ? undefined : { name, texts: textsOf(text).slice(i) }, next: message }
          // One that a purge of half a run left behind has gone already.
          if (message.seq > after) gone.push(message)
        }
        names.push(name)
      }
    }
    return { gone, names, cut: undefined, next: undefined }
  }

  async #forgetCids (batch: Batch, conv: string, gone: readonly MessageRow[]): Promise<void> {
    const names = gone.flatMap(row => row.cid === undefined ? [] : [key.cid(conv, row.from, row.cid)])
    const seqs = gone.flatMap(row => row.cid === undefined ? [] : [row.seq])
    const texts = await this.#db.getMany(names)
    for (let i = 0; i < names.length; i++) {
      const name = names[i] as string
      const text = texts[i]
      // The key may be of a newer message already.
      if (text !== undefined && cidCodec.decode(text, name).seq === seqs[i]) batch.del(name)
    }
  }

  /** Removes what users hid up to `upTo`, and takes it out of their numbers. */
  async #unhide (draft: Draft, batch: Batch, conv: string, upTo: number): Promise<void> {
    const rows = await this.#db.rows({ gt: under(key.hiders(conv)).gt, lt: key.hider(conv, upTo + 1, '') })
    for (const [name] of rows) draft.want(draft.members, key.member(lastPart(name), conv))
    await draft.load(this.#db)
    for (const [name, counts] of rows) {
      const user = lastPart(name)
      const seq = sorted(parts(name)[2] as string)
      batch.del(name)
      batch.del(key.hidden(user, conv, seq))
      const member = draft.members.get(key.member(user, conv))
      if (counts !== '1' || member === null || seq <= member.readSeq) continue
      const row = draft.members.edit(key.member(user, conv))
      if (row !== null) row.hiddenUnread--
    }
  }

  /** Sessions come and go: their memories of packet ids end with the time in which they count. */
  async #forgetResends (): Promise<void> {
    const rows = await this.#db.rows({ gt: this.#resendAfter ?? under(key.allResends()).gt, lt: under(key.allResends()).lt }, stepResends)
    const oldest = Date.now() - this.#resendWindowMs
    const batch = this.#db.batch()
    for (const [name, text] of rows) {
      if (decodeMemories(text).every(({ ts }) => ts < oldest)) batch.del(name)
    }
    // Rows of before format 4 become none by and by.
    for (const [name, text] of await this.#db.rows(under(key.oldResends()), stepResends)) {
      if (resendCodec.decode(text, name).ts < oldest) batch.del(name)
    }
    if (batch.length === 0) await batch.close()
    else await this.#db.write(batch, false)
    this.#resendAfter = rows.length < stepResends ? undefined : rows.at(-1)?.[0]
  }
}
