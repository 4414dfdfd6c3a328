/** What the parts of the engine share. One object, made in `engine.ts`, handed to requests, groups, receipts and sessions. */
import type { Logger } from 'pino'
import type { Operation, Outcome, Store } from '../store/store.ts'
import type { Output } from '../link/port.ts'
import type { AuthMode } from '../operations/rules.ts'
import type { Others, UnansweredResend } from '../link/remote.ts'
import type { SharedLimits } from './shared-limits.ts'

export type { Caller, Pause } from '../operations/rules.ts'

/** Limits of the engine; each has a configuration key of the same name. */
export interface EngineLimits {
  /** Bytes of one message's payload (`messages.maxBytes`). */
  maxMessageBytes: number
  /** Publishes that wait for their commit, above which connections are to be read in turn (`mqtt.limits.queuedPublishes`). */
  queuedPublishes: number
  /** Members of one group (`groups.maxMembers`). */
  maxGroupMembers: number
  /** Groups that one user owns (`groups.maxPerUser`). */
  maxGroupsPerUser: number
  /** Groups that one user is in (`groups.maxMemberships`). */
  maxGroupMemberships: number
  /** Open invitations that one user has made (`groups.maxInvitationsMade`). */
  maxInvitationsMade: number
  /** Invitations that wait for one user (`groups.maxInvitations`). */
  maxInvitations: number
  /** Persistent sessions of one user (`sessions.maxPerUser`). */
  maxSessionsPerUser: number
  /** Shared subscriptions of one user to the chat (`sessions.maxSharesPerUser`). */
  maxSharesPerUser: number
  /** Fields of one profile (`people.maxFields`). */
  maxProfileFields: number
  /** Bytes of them, as JSON (`people.maxFieldBytes`). */
  maxProfileFieldBytes: number
  /** Contacts of one user (`contacts.max`). */
  maxContacts: number
  /** Open requests to be a contact that wait for one user (`contacts.maxRequests`). */
  maxContactRequests: number
  /** Those that one user has made (`contacts.maxRequestsMade`). */
  maxContactRequestsMade: number
  /** Users on one block list (`blocks.max`). */
  maxBlocks: number
  /** Seconds: the longest a session may outlive its connection (`sessions.maxExpirySeconds`). */
  maxSessionExpirySeconds: number
  /** Messages older than this are purged, seconds; 0 = kept for ever (`messages.retentionSeconds`). */
  retentionSeconds: number
}

/** Of an engine that shares its store with others. */
export interface HostRemote {
  readonly others: Others
  /** A session goes on elsewhere: what waits in its lane is neither stored nor acknowledged. */
  cut (user: string, session: string | undefined): void
  /** Resolves when the session's messages that are to be committed have their verdicts. */
  settled (session: string): Promise<unknown>
  /** Resends of a session that had no answer here, also those that were cut. */
  doubts (session: string): UnansweredResend[]
  /** The same of the server at which the session was. */
  adopt (session: string, doubts: readonly UnansweredResend[]): void
}

export interface EngineHost {
  readonly store: Store
  readonly limits: EngineLimits
  readonly mode: AuthMode
  readonly log: Logger
  /** The time of the server, milliseconds since the epoch; does not go back, see server-clock.ts. */
  now (): number
  /** Milliseconds of a clock that only goes forward: what waits are measured with. */
  steady (): number
  /** A new message id: unique, sorts by time. `at`: the message's own, which is then the id's unless ids are ahead of the clock. */
  newId (at?: number): string
  /**
   * Commits operations in the one queue that messages go through, atomically and in order with them. Message and event
   * operations reach the outputs by themselves. Rejects when the store fails.
   */
  commit (operations: readonly Operation[]): Promise<Outcome[]>
  emit (outputs: Output[]): void
  /** Absent where this engine has the store for itself. */
  readonly remote?: HostRemote
  /** Absent where limits are this engine's alone. */
  readonly sharedLimits?: SharedLimits
  /** In `dev` mode always true; otherwise whether the account exists. */
  userExists (uid: string): boolean | Promise<boolean>
}

/** The connection that asked has ended: the answer is not finished. */
export class CallerGone extends Error {
  constructor () {
    super('the caller has gone')
    this.name = 'CallerGone'
  }
}
