/** What follows from messages that are stored: the heads of their conversations, and the senders' own marks. */
import { directUsers } from '../../topics.ts'
import type { Member } from '../store.ts'
import { endOf } from './append-entries.ts'
import type { Entry } from './append-entries.ts'
import { emptyHead, markSender, newMember } from './documents.ts'
import type { HeadRow } from './documents.ts'
import { memberAt } from './rows.ts'
import type { View } from './rows.ts'

/** Rows that moved, by conversation id and `memberAt`; those of the view are left as they are. Tells each entry whether its sender passed others. */
export function derive (view: View, entries: readonly Entry[]): { heads: Map<string, HeadRow>, members: Map<string, Member> } {
  const heads = new Map<string, HeadRow>()
  const members = new Map<string, Member>()
  for (const entry of entries.filter(entry => entry.stored).sort((a, b) => a.at.seq - b.at.seq)) {
    const { conv, marksSender } = entry.op
    const old = heads.get(conv) ?? view.heads.get(conv) ?? emptyHead()
    if (entry.at.seq > old.seq) heads.set(conv, headAt(old, entry))
    if (marksSender) moveSender(view, members, entry, old.purgedSeq)
  }
  return { heads, members }
}

function headAt (old: HeadRow, { op, at }: Entry): HeadRow {
  return { ...old, seq: at.seq, n: at.n, ts: op.ts, oldest: old.oldest ?? op.ts, ...(op.counts && op.expiresAt !== undefined ? { expiring: at.seq } : {}) }
}

function moveSender (view: View, members: Map<string, Member>, entry: Entry, purgedSeq: number): void {
  const { op, at } = entry
  const key = memberAt(op.from, op.conv)
  const row = members.get(key) ?? view.members.get(key)
  if (row == null) return
  if (!members.has(key)) members.set(key, { ...row })
  entry.passed = Math.max(row.readSeq, purgedSeq) < at.seq - 1
  markSender(members.get(key) as Member, at.seq, at.n)
}

/** With both members of the direct conversations that were opened. */
export function withOpened (members: Map<string, Member>, view: View, convs: Iterable<string>): Map<string, Member> {
  for (const conv of convs) {
    if (!conv.startsWith('d:') || endOf(view, conv) > 0) continue
    for (const user of directUsers(conv)) {
      const key = memberAt(user, conv)
      if (!members.has(key)) members.set(key, view.members.get(key) ?? newMember(user, conv))
    }
  }
  return members
}
