/** Messages on their way into the log. */
import type { NewMessage, Outcome } from '../store.ts'
import { emptyHead } from './documents.ts'
import { remembered } from './resends.ts'
import type { Memory } from './resends.ts'
import type { View } from './rows.ts'

/** A message on its way. */
export interface Entry {
  readonly op: NewMessage
  /** By what a repeat is known: sender and cid, or the packet id; '' for messages that are never repeated. */
  readonly join: string
  /** The unique key. */
  key: string
  /** The earlier message of this batch that it repeats. */
  same: Entry | undefined
  at: { seq: number, n: number }
  /** When the one before it was written. */
  prevTs: number
  stored: boolean
  /** The sender's read mark went past messages of others. */
  passed: boolean
  outcome: Outcome | undefined
}

export function unstored (entries: readonly Entry[]): Entry[] {
  return entries.filter(entry => !entry.stored && entry.same === undefined && entry.outcome === undefined)
}

/** The memory of a message that this commit stored. */
export function memoryOf ({ op, at, outcome, same }: Entry): Memory {
  if (same !== undefined) return memoryOf(same)
  const { seq, n, id, ts } = outcome ?? { ...at, id: op.id, ts: op.ts }
  return { ...remembered(op), seq, n, id, ts }
}

/** Gives numbers behind the heads, in the order of arrival. */
export function number (view: View, left: readonly Entry[]): void {
  const ends = new Map<string, { seq: number, n: number, ts: number }>()
  for (const entry of left) {
    const { op } = entry
    const end = ends.get(op.conv) ?? view.heads.get(op.conv) ?? emptyHead()
    entry.at = { seq: end.seq + 1, n: end.n + (op.counts ? 1 : 0) }
    entry.prevTs = end.ts
    ends.set(op.conv, { ...entry.at, ts: op.ts })
  }
}

/** The known end of a log. */
export function endOf (view: View, conv: string): number { return view.heads.get(conv)?.seq ?? 0 }

/** What was stored behind the known ends; what an earlier, refused try had stored was found there since. */
export function appended (view: View, entries: readonly Entry[]): Array<{ conv: string, seq: number, ts: number }> {
  return entries.filter(({ op, stored, at }) => stored && at.seq > endOf(view, op.conv)).map(({ op, at }) => ({ conv: op.conv, seq: at.seq, ts: op.ts }))
}
