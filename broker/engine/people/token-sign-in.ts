/** Sign-in with a token of another account system (`auth.mode: jwt`). */
import { Refusal } from '../../errors.ts'
import type { AuthStep, AuthStepRequest, SignedIn, SignInRequest } from '../../link/port.ts'
import type { TokenCheck } from './jwt/tokens.ts'
import type { OutsideAccounts } from './outside-accounts.ts'

/** What is longer is no token. */
const maxTokenBytes = 8192
/** How a client names it that brings a token by enhanced authentication, in CONNECT and again in AUTH (MQTT 5.0, section 4.12). */
const method = 'JWT'

export class TokenSignIn {
  readonly #check: Pick<TokenCheck, 'check'>
  readonly #accounts: OutsideAccounts

  constructor (check: Pick<TokenCheck, 'check'>, accounts: OutsideAccounts) {
    this.#check = check
    this.#accounts = accounts
  }

  /** The password is the token. Throws `Refusal`: `unauthorized`, `banned`, `unavailable`. */
  async authenticate ({ user: claimed, password: token }: Pick<SignInRequest, 'user' | 'password'>): Promise<SignedIn> {
    if (token === undefined || token.length === 0) throw new Refusal('unauthorized', 'a token is needed as the password')
    if (token.length > maxTokenBytes) throw new Refusal('unauthorized', `a token has at most ${maxTokenBytes} bytes`)
    const { user, until } = await this.#check.check(Buffer.from(token).toString('latin1'))
    if (claimed !== undefined && claimed !== '' && claimed !== user) throw new Refusal('unauthorized', 'the token is of another user')
    await this.#accounts.admit(user)
    return { user, until }
  }

  /** Throws `Refusal`. */
  async step ({ method: named, data }: AuthStepRequest): Promise<AuthStep> {
    if (named !== method) throw new Refusal('unauthorized', 'the authentication method is not known')
    return { ...await this.authenticate({ user: undefined, password: data }), data: new Uint8Array() }
  }
}
