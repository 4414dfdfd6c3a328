/**
 * The border inside the engine: the commit side (`engine.ts`: lanes, gates, committer) on one hand, control (accounts, groups,
 * receipts, sessions, streams, requests) on the other. Control is made by `createControl(host, options)` of `control.ts`.
 */
import type { Code } from '../errors.ts'
import type { Consent } from './groups/consent.ts'
import type { AuthStep, AuthStepRequest, Engine, SessionResume, SessionStart, SignedIn, SignInRequest } from '../link/port.ts'
import type { Rules, ServerInfo } from '../operations/rules.ts'

export interface ControlOptions {
  /** Milliseconds: receipts of one conversation are merged for this long. */
  receiptIntervalMs: number
  /** Who may put users into groups who have not said it themselves; `everybody` when absent. */
  groupConsent?: Consent
  /** Milliseconds between two rounds of the retention purge. */
  purgeIntervalMs?: number
}

/** Whether a user may post in a group, and if not, why. */
export type Posting = { ok: true } | { ok: false, code: Code, reason: string }

type Asked = 'saveSubscriptions' | 'closeSession' | 'streams' | 'read' | 'advance' | 'prove' | 'isMember'

export interface Control extends Pick<Engine, Asked> {
  /** Throws `Refusal`. */
  authenticate (request: SignInRequest): Promise<SignedIn>
  /** Throws `Refusal`. */
  authenticateStep (request: AuthStepRequest): Promise<AuthStep>
  admits (user: string): Promise<boolean>
  /** Throws `Refusal`. */
  openSession (start: SessionStart): Promise<SessionResume>
  serverInfo (): ServerInfo
  /** What operations are carried out by. */
  readonly rules: Rules
  /** A member that is not muted may post; synchronous when it is in memory. */
  mayPost (user: string, gid: string): Posting | Promise<Posting>
  /** False when `receiver` takes messages of contacts alone, and `sender` is none; synchronous when it is in memory. */
  mayWrite (receiver: string, sender: string): boolean | Promise<boolean>
  /** True when `receiver` blocks `sender`; synchronous when the list is in memory. */
  blocks (receiver: string, sender: string): boolean | Promise<boolean>
  /** Whether the account exists (asked in `password` mode only); synchronous when it is in memory. */
  userExists (uid: string): boolean | Promise<boolean>
  /** Writes the marks that wait and ends the timers. Commits may still be made while it runs. */
  close (): Promise<void>
}
