/** Accounts: who is let in, and what the operator does with them. */
import { Refusal } from '../../errors.ts'
import type { AuthStep, AuthStepRequest, SignedIn, SignInRequest } from '../../link/port.ts'
import type { EngineHost } from '../host.ts'
import { AccountChanges, type Keeper } from './account-changes.ts'
import { AccountRows } from './account-rows.ts'
import { CertificateSignIn } from './certificate-sign-in.ts'
import { EvenAnswers, type Beat } from './even-answers.ts'
import type { JwtOptions } from './jwt/open.ts'
import { PasswordHash, type Passwords } from './password-hash.ts'
import { Scram } from './scram.ts'
import { OutsideAccounts } from './outside-accounts.ts'
import { ScramPasswords } from './scram-passwords.ts'
import { SignIn } from './sign-in.ts'
import { SignInLimits, type SignInLimitsOptions } from './sign-in-limits.ts'
import { TokenSignIn } from './token-sign-in.ts'
import { defaultTokens, Tokens, type TokenOptions } from './tokens/tokens.ts'
import type { WebhookOptions } from './webhook/open.ts'

export interface AccountOptions {
  /** Passwords hashed at the same time. */
  hashConcurrency?: number
  /** Sign-ins that may wait for a hash. */
  maxWaiting?: number
  /** Of keys for SCRAM-SHA-256; 0 (the default) = none are kept, and the method is not known. */
  scramIterations?: number
  /** How failures slow further tries. */
  limits?: SignInLimitsOptions
  /** Hashes passwords. */
  passwords?: Passwords
  /** When SCRAM may answer. */
  beat?: Beat
  /** Login tokens of mode `password`. */
  tokens?: TokenOptions
  /** Tokens of mode `jwt`; absent where nobody signs in. */
  jwt?: JwtOptions
  /** The account system of mode `webhook`; absent where nobody signs in. */
  webhook?: WebhookOptions
}

/** Who lets people in where another account system knows them. */
interface Entrance {
  authenticate (request: SignInRequest): Promise<SignedIn>
  step (request: AuthStepRequest): Promise<AuthStep>
  close (): void
}

export interface Accounts {
  /** To be called once, before anybody signs in. Rejects when nobody could. */
  load (): Promise<void>
  /** Throws `Refusal`. */
  authenticate (request: SignInRequest): Promise<SignedIn>
  /** Throws `Refusal`. */
  authenticateStep (request: AuthStepRequest): Promise<AuthStep>
  admits (user: string): Promise<boolean>
  /** In `dev` mode every valid id exists; synchronous when it is in memory. */
  exists (uid: string): boolean | Promise<boolean>
  /** Another server may have changed the account; `kicked`: and the user's connections end. */
  forget (uid: string, kicked?: boolean): void
  /** Other servers may have changed what they share. */
  clear (): void
  /** Ends the connections of those of the users who are shut out by now. */
  verify (users: Iterable<string>): Promise<void>
  /** Another server has ended single logins. */
  loginsEnded (): void
  /** For the operator. */
  readonly users: AccountChanges
  /** For users. */
  readonly tokens: Tokens
  /** Resolves when what was begun is stored. */
  close (): Promise<void>
}

/** `keepers`: who keeps something of a user that goes with the account. */
export function createAccounts (host: EngineHost, options: AccountOptions = {}, keepers: readonly Keeper[] = []): Accounts {
  // Waits: a clock that is set back must not prolong them.
  const limits = new SignInLimits(options.limits ?? {}, () => host.steady(), host.sharedLimits)
  const { hashConcurrency = 2, maxWaiting = 256, scramIterations = 0 } = options
  const passwords = options.passwords ?? new PasswordHash(hashConcurrency, maxWaiting)
  const rows = new AccountRows(host)
  const scramPasswords = new ScramPasswords(host, rows, passwords, scramIterations)
  const signIn: SignIn = new SignIn(host, rows, passwords, limits, scramPasswords, () => tokens)
  const tokens: Tokens = new Tokens({ host, rows, options: options.tokens ?? defaultTokens, prove: (user, password) => signIn.prove(user, password), change: (user, password, spare) => users.passwd(user, password, spare) })
  const users: AccountChanges = new AccountChanges(host, rows, passwords, limits, scramPasswords, [tokens, ...keepers])
  const even = new EvenAnswers(options.beat)
  const scram = new Scram({ host, rows, passwords: scramPasswords, limits, signIn, even })
  if (host.mode === 'password') passwords.decoy().catch((error: unknown) => { host.log.error({ err: error }, 'argon2 does not work') })
  const certificates = new CertificateSignIn(new OutsideAccounts(host, rows, false))
  let entrance: Entrance | undefined
  const own = host.mode === 'dev' || host.mode === 'password'
  return {
    load: async () => { entrance = await openEntrance({ host, rows, limits, signIn }, options) },
    authenticate: async request => await (request.certified === true && host.mode !== 'dev' ? certificates : own ? signIn : opened(entrance)).authenticate(request),
    authenticateStep: async request => await (own ? scram : opened(entrance)).step(request),
    admits: user => signIn.admits(user),
    exists: uid => rows.exists(uid),
    forget: (uid, kicked) => { rows.forget(uid, kicked) },
    clear () {
      rows.clear()
      scramPasswords.forget()
    },
    verify: users => rows.verify(users),
    loginsEnded: () => { tokens.changed() },
    users,
    tokens,
    async close () {
      entrance?.close()
      even.close()
      await tokens.close()
      await scramPasswords.close()
    }
  }
}

interface EntranceParts { host: EngineHost, rows: AccountRows, limits: SignInLimits, signIn: Pick<SignIn, 'checkWait'> }

/** Each is loaded by those who use it. */
async function openEntrance (parts: EntranceParts, { jwt, webhook }: AccountOptions): Promise<Entrance | undefined> {
  const { host, rows } = parts
  if (webhook !== undefined) {
    const { openWebhook } = await import('./webhook/open.ts')
    return await openWebhook(webhook, { ...parts, accounts: new OutsideAccounts(host, rows, webhook.createUsers) })
  }
  if (jwt === undefined) return undefined
  const { openTokens } = await import('./jwt/open.ts')
  const tokens = await openTokens(jwt, host, host.log)
  const signIn = new TokenSignIn(tokens.check, new OutsideAccounts(host, rows, jwt.createUsers))
  return { authenticate: request => signIn.authenticate(request), step: request => signIn.step(request), close: () => { tokens.close() } }
}

function opened (entrance: Entrance | undefined): Entrance {
  if (entrance === undefined) throw new Refusal('unavailable', 'nobody signs in here')
  return entrance
}
