/** Sign-in with a certificate that the listener has checked. */
import { Refusal } from '../../errors.ts'
import type { SignedIn, SignInRequest } from '../../link/port.ts'
import type { OutsideAccounts } from './outside-accounts.ts'

export class CertificateSignIn {
  readonly #accounts: OutsideAccounts

  constructor (accounts: OutsideAccounts) { this.#accounts = accounts }

  /** The account has to be there. Throws `Refusal`: `unauthorized`, `banned`. */
  async authenticate ({ user, certified }: SignInRequest): Promise<SignedIn> {
    if (certified !== true || user === undefined) throw new Refusal('unauthorized')
    await this.#accounts.admit(user)
    return { user }
  }
}
