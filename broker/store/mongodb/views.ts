/** Rows as one job or reader sees them, and how they follow from what the logs hold behind the known heads. */
import { directUsers } from '../../topics.ts'
import type { Member } from '../store.ts'
import { emptyHead, markSender, newMember, placed } from './documents.ts'
import type { HeadRow, MessageDoc } from './documents.ts'

/** A member's row by its user and conversation. */
export interface MemberAt { user: string, conv: string }

/** Rows by conversation id and `memberAt`. `null` = there is none. */
export interface View { heads: Map<string, HeadRow | null>, members: Map<string, Member | null> }
/** The key of a member's row in a view. */
export function memberAt (user: string, conv: string): string { return `${user} ${conv}` }

/** A conversation (`users` undefined: all its members; of a direct one they are known), or one member's row: as told to `SharedStore.forget`. */
export function keysOf (row: string): { conv: string, users: readonly string[] | undefined } {
  const space = row.indexOf(' ')
  if (space >= 0) return { conv: row.slice(space + 1), users: [row.slice(0, space)] }
  return { conv: row, users: row.startsWith('d:') ? directUsers(row) : undefined }
}

/** What is read of a message to derive rows from it. */
export type Trace = Pick<MessageDoc, 'c' | 's' | 'n' | 'f' | 'o' | 'ts' | 'ec'>
export const traceFields = { _id: 0, c: 1, s: 1, n: 1, f: 1, o: 1, ts: 1, ec: 1 } as const

function opensDirect ({ c, s }: Trace): boolean { return s === 1 && placed(c).startsWith('d:') }

/** The senders of messages, and both members where a direct conversation begins. */
export function membersOf (traces: readonly Trace[]): Map<string, MemberAt> {
  const members = new Map<string, MemberAt>()
  for (const trace of traces) {
    const conv = placed(trace.c)
    const users = opensDirect(trace) ? directUsers(conv) : [trace.f]
    for (const user of users) members.set(memberAt(user, conv), { user, conv })
  }
  return members
}

/** Rows as they are derived again from messages behind the known heads. */
export class Repair {
  readonly heads = new Map<string, HeadRow>()
  /** By `memberAt`. */
  readonly members = new Map<string, Member>()
  readonly #known: View['heads']
  readonly #fresh = new Set<string>()
  readonly #touched = new Set<string>()

  constructor (known: View['heads'], members: readonly Member[]) {
    this.#known = known
    for (const row of members) this.members.set(memberAt(row.user, row.conv), row)
  }

  add (trace: Trace): void {
    const conv = placed(trace.c)
    if (opensDirect(trace)) this.#open(conv)
    this.#moveHead(conv, trace)
    const key = memberAt(trace.f, conv)
    const sender = this.members.get(key)
    if (trace.o === undefined || sender === undefined) return
    markSender(sender, trace.s, trace.n)
    this.#touched.add(key)
  }

  /** Rows that were not there. */
  opened (): Member[] { return [...this.#fresh].map(key => this.members.get(key) as Member) }
  /** Rows whose marks moved. */
  moved (): Member[] { return [...this.#touched].map(key => this.members.get(key) as Member) }

  #open (conv: string): void {
    for (const user of directUsers(conv)) {
      const key = memberAt(user, conv)
      if (this.members.has(key)) continue
      this.members.set(key, newMember(user, conv))
      this.#fresh.add(key)
    }
  }

  #moveHead (conv: string, { s, n, ts, ec }: Trace): void {
    let head = this.heads.get(conv)
    if (head === undefined) this.heads.set(conv, head = { ...this.#known.get(conv) ?? emptyHead() })
    if (head.seq === head.purgedSeq) head.oldest = ts
    head.seq = s
    head.n = n
    head.ts = ts
    if (ec !== undefined) head.expiring = s
  }
}
