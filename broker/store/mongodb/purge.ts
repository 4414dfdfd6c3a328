/**
 * Retention. Heads know the time of the oldest message that is left, so a purge looks only at conversations that have older
 * ones. Of each it removes messages from the oldest on until one is young enough (the clock may have gone back between two
 * messages; the order of the log wins). First the head says up to where messages are gone, and that they have still to be
 * removed (time 0): nobody sees them from then on, and after a crash the next purge removes the rest.
 */
import type { Connection } from './connection.ts'
import { whole } from './connection.ts'
import { place, placed } from './documents.ts'
import type { HeadDoc, HeadRow, MessageDoc, ResendDoc } from './documents.ts'
import { recount } from './hidden-counts.ts'
import { headUpdate } from './derived-writes.ts'
import { memberAt, pieces } from './rows.ts'
import type { Rows } from './rows.ts'

/** Messages of one step: commits wait no longer than for this many. */
const stepMessages = 500
/** Fields of a message that the purge needs. */
const fields = { _id: 0, c: 1, s: 1, n: 1, id: 1, ts: 1, q: 1, g: 1, qe: 1, qn: 1 } as const

export class Purge {
  readonly #db: Connection
  readonly #rows: Rows
  readonly #resendWindowMs: number

  constructor (db: Connection, rows: Rows, resendWindowMs: number) {
    this.#db = db
    this.#rows = rows
    this.#resendWindowMs = resendWindowMs
  }

  /** Resolves to how many messages were removed; less than `limit` when nothing older than `before` is left. */
  async run (before: number, limit: number): Promise<number> {
    let done = 0
    while (done < limit) {
      const [oldest] = await this.#db.read(() => this.#db.rows.find({ o: { $lt: before } }, whole).sort({ o: 1 }).limit(1).toArray()) as HeadDoc[]
      if (oldest === undefined) break
      done += await this.#db.exclusive(() => this.#step(placed(oldest._id), before, Math.min(stepMessages, limit - done)))
    }
    await this.#db.exclusive(() => this.#forgetResends())
    return done
  }

  async #step (conv: string, before: number, limit: number): Promise<number> {
    // What is in memory may be behind what another process purged.
    this.#rows.forget([conv], [])
    const old = (await this.#rows.load([conv], [])).heads.get(conv)
    if (old == null) return 0
    const head: HeadRow = { ...old }
    const rows = await this.#db.messages.find({ c: place(conv) }, whole).sort({ s: 1 }).limit(limit + 1).project<MessageDoc>(fields).toArray()
    const gone: MessageDoc[] = []
    let next: MessageDoc | undefined
    for (const message of rows) {
      const dropped = message.s <= head.purgedSeq // of a group that was removed, or of a purge that was cut
      if (gone.length === limit || (!dropped && message.ts >= before)) {
        next = message
        break
      }
      gone.push(message)
    }
    const last = gone.at(-1)
    try {
      if (last !== undefined) {
        if (last.s > head.purgedSeq) {
          head.purgedSeq = last.s
          head.purgedN = last.n
        }
        head.oldest = 0
        await this.#write(conv, head)
        await this.#db.fault('purge marked')
        await this.#remember(gone)
        await this.#unhide(conv, head.purgedSeq)
        await this.#db.messages.deleteMany({ c: place(conv), s: { $lte: last.s } })
        await this.#db.fault('purged')
      }
      // A message that is of a removed group keeps the conversation in the range of this purge.
      head.oldest = next === undefined ? undefined : next.s <= head.purgedSeq ? 0 : next.ts
      await this.#write(conv, head)
    } catch (error) {
      this.#rows.forget([conv], [])
      throw error
    }
    this.#rows.settle([[conv, head]], [])
    return gone.length
  }

  async #write (conv: string, head: HeadRow): Promise<void> {
    await this.#db.rows.updateOne({ _id: place(conv) }, headUpdate(head))
  }

  /** The memory of packet ids outlives the messages. */
  async #remember (gone: readonly MessageDoc[]): Promise<void> {
    const since = Date.now() - this.#resendWindowMs
    const kept = new Map<string, ResendDoc>()
    for (const { q, g, qe, qn, c, s, n, id, ts } of gone) {
      if (q === undefined || g === undefined || qe === undefined || qn === undefined || ts < since) continue
      kept.set(q, { _id: q, c, s, n, id, ts, g, qe, qn })
    }
    if (kept.size === 0) return
    const older = new Map((await this.#db.resends.find({ _id: { $in: [...kept.keys()] } }, whole).toArray()).map(doc => [doc._id, doc]))
    const newer = [...kept.values()].filter(doc => {
      const known = older.get(doc._id)
      return known === undefined || (known.id !== doc.id && known.ts <= doc.ts)
    })
    if (newer.length === 0) return
    await this.#db.bulk(this.#db.resends, newer.map(({ _id, ...replacement }) => ({ replaceOne: { filter: { _id }, replacement, upsert: true } })), { ordered: false })
  }

  /** Removes what users hid up to `upTo`, and takes it out of their numbers. */
  async #unhide (conv: string, upTo: number): Promise<void> {
    const hidden = await this.#db.hidden.find({ c: conv, s: { $lte: upTo } }, whole).project<{ u: string }>({ _id: 0, u: 1 }).toArray()
    const users = [...new Set(hidden.map(doc => doc.u))]
    for (const some of pieces(users, 100)) {
      await Promise.all(some.map(user => recount(this.#db, { user, conv }, { floor: upTo })))
      this.#rows.forget([], some.map(user => memberAt(user, conv)))
    }
    if (users.length > 0) await this.#db.hidden.deleteMany({ c: conv, s: { $lte: upTo } })
  }

  /** Sessions come and go: their memories of packet ids end with the time in which they count. */
  async #forgetResends (): Promise<void> {
    await this.#db.resends.deleteMany({ ts: { $lt: Date.now() - this.#resendWindowMs } })
  }
}
