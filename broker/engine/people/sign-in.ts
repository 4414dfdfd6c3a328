/** Who is let in. */
import { Refusal } from '../../errors.ts'
import type { SignedIn, SignInRequest } from '../../link/port.ts'
import { network } from '../../network.ts'
import type { UserRow } from '../../store/store.ts'
import { isId } from '../../topics.ts'
import type { EngineHost } from '../host.ts'
import { alive, type AccountRows } from './account-rows.ts'
import { maxPasswordBytes, type Passwords } from './password-hash.ts'
import type { ScramPasswords } from './scram-passwords.ts'
import type { SignInLimits } from './sign-in-limits.ts'
import type { Tokens } from './tokens/tokens.ts'

export class SignIn {
  readonly #host: EngineHost
  readonly #rows: AccountRows
  readonly #passwords: Passwords
  readonly #limits: SignInLimits
  readonly #scram: Pick<ScramPasswords, 'renew'>
  readonly #tokens: () => Pick<Tokens, 'authenticate'>

  /** `tokens`: asked for late, as they prove passwords by this. */
  constructor (host: EngineHost, rows: AccountRows, passwords: Passwords, limits: SignInLimits, scram: Pick<ScramPasswords, 'renew'>, tokens: () => Pick<Tokens, 'authenticate'>) {
    this.#host = host
    this.#rows = rows
    this.#passwords = passwords
    this.#limits = limits
    this.#scram = scram
    this.#tokens = tokens
  }

  async authenticate (request: SignInRequest): Promise<SignedIn> {
    const { user, password, address } = request
    if (this.#host.mode === 'dev') return await this.#withName(user)
    const signedIn = await this.#tokens().authenticate(request)
    if (signedIn !== undefined) return signedIn
    if (user === undefined || !isId(user) || password === undefined || password.length > maxPasswordBytes) {
      // Nothing can be guessed with it, and no hash is made: it counts against nobody.
      throw wrong()
    }
    const row = await this.#checkPassword(user, password, network(address))
    // Said to those only who know the password.
    if (row.banned === true) throw new Refusal('banned')
    this.#rows.signedIn(row)
    this.#scram.renew(row, password)
    return { user }
  }

  /** Whether somebody may still speak in the user's name. */
  async admits (user: string): Promise<boolean> {
    const row = await this.#host.store.user(user)
    return row === undefined ? this.#host.mode === 'dev' : row.banned !== true && alive(row) !== undefined
  }

  /** In `dev` mode the name is enough. */
  async #withName (user: string | undefined): Promise<{ user: string }> {
    if (user === undefined || !isId(user)) throw new Refusal('unauthorized', 'the user name must be 1 to 64 of A-Z a-z 0-9 . _ -')
    const { store } = this.#host
    const seen = this.#rows.changes
    const row = await store.user(user)
    if (row?.banned === true || (seen !== this.#rows.changes && (await store.user(user))?.banned === true)) throw new Refusal('banned')
    return { user }
  }

  /** Of somebody who is signed in, whose tries count by themselves. Throws `Refusal`: `unauthorized`, `rate_limited`, `unavailable`. */
  async prove (uid: string, password: string): Promise<UserRow> { return await this.#checkPassword(uid, Buffer.from(password), `request ${uid}`) }

  async #checkPassword (uid: string, password: Uint8Array, address: string): Promise<UserRow> {
    const limits = this.#limits
    this.checkWait(uid, address)
    const seen = this.#rows.changes
    const row = alive(await this.#host.store.user(uid))
    const right = await this.#passwords.verify(row?.passwordHash, password, {
      // Asked again at its turn: tries that came at once must not all pass before the first has failed.
      stillWanted: () => { this.checkWait(uid, address) },
      failed: () => { limits.failed(uid, address) },
      address,
      known: limits.knows(uid, address)
    })
    if (row === undefined || !right) throw wrong()
    const now = await this.unchanged(row, seen)
    // Not before: with a password that is the account's no more nobody becomes known.
    limits.succeeded(uid, address)
    return now
  }

  /** Throws `Refusal` (`rate_limited`) while further tries have to wait. */
  checkWait (account: string, address: string): void {
    const waitMs = this.#limits.waitMs(account, address)
    if (waitMs > 0) throw new Refusal('rate_limited', 'too many failed tries', waitMs)
  }

  /** The account as it is now: the hash took time. A change that comes later ends the connection, which access knows of by then. */
  async unchanged (row: UserRow, seen: number): Promise<UserRow> {
    for (let at = seen; at !== this.#rows.changes;) {
      at = this.#rows.changes
      const now = alive(await this.#host.store.user(row.uid))
      if (now === undefined || now.passwordHash !== row.passwordHash) throw wrong()
      row = now
    }
    return row
  }
}

function wrong (): Refusal { return new Refusal('unauthorized', 'wrong user name or password') }
