/**
 * What the engines of several servers that share a store say to each other. Plain data; how it crosses is the cluster's matter. An engine that is by
 * itself has no `Others`, and nobody calls its `Remote`.
 */
import type { ConnectionMark } from '../store/store.ts'
import type { LimitWord } from './limits.ts'
import type { Output } from './port.ts'

/** Something that was changed through one server, for what the others have in memory of it. */
export type Notice =
  /** Members of a group; `users` absent: any of them may have changed. */
  | { kind: 'group', gid: string, users?: string[] }
  | { kind: 'blocks', user: string }
  /** An account. */
  | { kind: 'user', user: string }
  /** A row of the key-value space, of those that `noticedRecords` names. */
  | { kind: 'record', key: string }
  /** Notices may have been missed. */
  | { kind: 'all' }

/** Beginnings of keys that an engine has in memory. */
export const noticedRecords: readonly string[] = ['contacts/mode/', 'contacts/of/', 'groups/consent/', 'people/', 'server/']

/** A session's connection, as servers speak of it. */
export interface Seat {
  session: string
  /** Of each connection its own: `Resends.epoch` where the session is stored. */
  epoch: string
  /** Milliseconds since the epoch. */
  openedAt: number
}

/**
 * Who has a session: a server process (`Nodes.self`) and the connection there; without `epoch`, whichever that is. `ended`: it had that connection, as is stored,
 * and may have something of it under way.
 */
export interface Holder { node: string, epoch?: string, ended?: true }

/** What an engine asks of the other servers. None of it rejects. */
export interface Others {
  /** The session is this server's from now on. Resolves to who had it, where that is another server that is there, as far as can be told. */
  claim (seat: Seat): Promise<Holder | undefined>
  /**
   * Looks at an earlier claim again, which may be lost: it is made anew, unless another server that is there has the session since later.
   * `mine: false`: so it is. `mine: true` with a holder: that one came earlier, and has it still.
   */
  keep (seat: Seat): Promise<{ mine: boolean, holder?: Holder }>
  /** The connection has ended. */
  leave (seat: Seat): void
  /**
   * Has the holder end its connection of the session (`Remote.release`). Resolves when that is done, with what the next connection is to know;
   * undefined when the holder does not answer: it may still end it later.
   */
  release (session: string, holder: Holder): Promise<Released | undefined>
}

/** What goes on with a session at its next server. */
export interface Released {
  /** There was such a connection. */
  ended: boolean
  /** Resends of it that had no answer: what its client sends again may repeat what they would have (ADR 4). */
  doubts?: UnansweredResend[]
}

/** A publish with DUP that had no answer, and the connections of which its first try may be: the one before its own, and those before that. */
export interface UnansweredResend { packetId: number, conv: string, digest: string, epoch: string, number: number, last: ConnectionMark, earlier: readonly ConnectionMark[] }

/** What other servers may tell an engine. */
export interface Remote {
  /** Forgets what it has in memory of what was changed. Cheap, also for `all`. */
  forget (notice: Notice): void
  /**
   * The session goes on at another server: its connection here (`epoch`, or whichever it is) ends as one that is taken over, and what it brought
   * is committed, marked and put away. Resolves then. Of a session without a connection here what waits of an earlier one is cut, and what is under way waited for.
   * Rejects when the store fails.
   */
  release (session: string, epoch?: string): Promise<Released>
  /** Outputs of another engine, before the gateway here gets them: what they mean to this engine. Emits nothing. */
  outputs (outputs: readonly Output[]): void
  /** What the limits of another engine have counted. */
  limits (words: readonly LimitWord[]): void
  /**
   * Looks up the accounts of users (of all that have a session here, when absent), for the case that words of a ban, a removal or a new
   * password were lost, and ends their connections by `kick`. One look at a time: a call during one waits for that. Rejects when the store fails.
   */
  verify (users?: Iterable<string>): Promise<void>
  /**
   * Other servers may not have heard which sessions are here, nor this one of theirs: looks at the claims of all again. Of two connections of a session
   * the one that was opened later stays. One look at a time. Never rejects.
   */
  recheck (): Promise<void>
}
