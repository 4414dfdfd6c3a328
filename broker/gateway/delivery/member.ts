import type { Place } from './resend.ts'
import type { Entry, Stream } from './stream.ts'

/** A member's connection, as its share deals to it. */
export interface Hand {
  /** Its session. */
  readonly id: string
  /** The session outlives its connection. */
  readonly kept: boolean
  /** So much waits to be taken by the connection that nothing more is to come, whatever it is. */
  readonly crowded: boolean
  /** Entries that it may be sent now. */
  readonly room: number
  /**
   * Sends it an entry, of which `ticket` is what it acknowledges. `again`: it was sent that on an earlier connection. `over`: it was sent at QoS 0, and nothing
   * more is heard of it. `refused`: it takes nothing so large.
   */
  take (stream: Stream, entry: Entry, ticket: number, again: boolean, leftMs: number | undefined): 'dealt' | 'over' | 'refused'
  notice (payload: Uint8Array): void
  fail (err: Error): void
  /** It keeps the others waiting. */
  cutOff (): void
}

/** An entry that is with a member, or was given back. */
export interface Deal extends Place {
  /** Its turn: what was sent first is dealt first again. */
  readonly order: number
  /** When it was dealt last. */
  at: number
  /** Kept sessions that had it and did not acknowledge it. */
  had: Set<string> | undefined
}

export interface Member {
  readonly hand: Hand
  /** Dealt to it, and not acknowledged, by ticket. */
  readonly held: Map<number, Deal>
  /** When it acknowledged something last. */
  heardAt: number
}

/** The entry that was sent first of those that these members hold. */
export function oldestOf (members: readonly Member[], counts: (member: Member, deal: Deal) => boolean = () => true): { member: Member, deal: Deal } | undefined {
  let oldest: { member: Member, deal: Deal } | undefined
  for (const member of members) {
    for (const deal of member.held.values()) if ((oldest === undefined || deal.order < oldest.deal.order) && counts(member, deal)) oldest = { member, deal }
  }
  return oldest
}
