/** Accounts: who is let in, and what the operator does with them. */
import type { EngineHost } from '../host.ts'
import { AccountChanges } from './account-changes.ts'
import { AccountRows } from './account-rows.ts'
import { PasswordHash, type Passwords } from './password-hash.ts'
import { SignIn, type SignInRequest } from './sign-in.ts'
import { SignInLimits, type SignInLimitsOptions } from './sign-in-limits.ts'

export interface AccountOptions {
  /** Passwords hashed at the same time. */
  hashConcurrency?: number
  /** Sign-ins that may wait for a hash. */
  maxWaiting?: number
  /** How failures slow further tries. */
  limits?: SignInLimitsOptions
  /** Hashes passwords. */
  passwords?: Passwords
}

export interface Accounts {
  /** Throws `Refusal`. */
  authenticate (request: SignInRequest): Promise<{ user: string }>
  /** In `dev` mode every valid id exists; synchronous when it is in memory. */
  exists (uid: string): boolean | Promise<boolean>
  /** For the operator. */
  readonly users: AccountChanges
}

export function createAccounts (host: EngineHost, options: AccountOptions = {}): Accounts {
  // Waits: a clock that is set back must not prolong them.
  const limits = new SignInLimits(options.limits ?? {}, () => host.steady())
  const passwords = options.passwords ?? new PasswordHash(options.hashConcurrency ?? 2, options.maxWaiting ?? 256)
  const rows = new AccountRows(host)
  const signIn = new SignIn(host, rows, passwords, limits)
  if (host.mode === 'password') passwords.decoy().catch((error: unknown) => { host.log.error({ err: error }, 'argon2 does not work') })
  return {
    authenticate: request => signIn.authenticate(request),
    exists: uid => rows.exists(uid),
    users: new AccountChanges(host, rows, passwords, limits)
  }
}
