/** Sign-in by SCRAM-SHA-256 (RFC 5802, RFC 7677): the password does not cross, and the client sees that the server knows it, too. */
import { randomBytes } from 'node:crypto'
import { Refusal } from '../../errors.ts'
import { network } from '../../network.ts'
import type { AuthStep, AuthStepRequest } from '../../link/port.ts'
import type { EngineHost } from '../host.ts'
import { alive, type AccountRows } from './account-rows.ts'
import type { EvenAnswers } from './even-answers.ts'
import { proves, serverSignature } from './scram-keys.ts'
import { readClientFinal, readClientFirst, serverFinal, serverFirst } from './scram-messages.ts'
import type { ScramPasswords } from './scram-passwords.ts'
import type { SignIn } from './sign-in.ts'
import type { SignInLimits } from './sign-in-limits.ts'

/** Bytes of the server's part of the nonce. */
const nonceBytes = 18

export interface ScramParts {
  readonly host: EngineHost
  readonly rows: AccountRows
  readonly passwords: ScramPasswords
  readonly limits: SignInLimits
  readonly signIn: Pick<SignIn, 'checkWait' | 'unchanged'>
  readonly even: Pick<EvenAnswers, 'of'>
}

/** What the gateway keeps between the two messages. */
interface Begun { user: string, header: string, clientFirst: string, serverFirst: string, nonce: string }

export class Scram {
  readonly #parts: ScramParts

  constructor (parts: ScramParts) { this.#parts = parts }

  /** One message of the client. Throws `Refusal`: `unauthorized`, `banned`, `rate_limited`, `bad_payload`, `forbidden`. */
  async step (request: AuthStepRequest): Promise<AuthStep> {
    // An account is found later than none, and anybody may ask as often as they like: no hash hides the difference, as it does for a password.
    return await this.#parts.even.of(this.#step(request))
  }

  async #step ({ method, data, address, state }: AuthStepRequest): Promise<AuthStep> {
    const { host, passwords } = this.#parts
    if (host.mode !== 'password' || passwords.iterations === 0 || method !== 'SCRAM-SHA-256') throw new Refusal('unauthorized', 'the authentication method is not known')
    return state === undefined
      ? await this.#challenge(data, network(address))
      : await this.#judge(JSON.parse(state) as Begun, data, network(address))
  }

  /** Salt and iterations, for whoever asks: names that no account has, and accounts without keys, are answered alike. */
  async #challenge (data: Uint8Array, address: string): Promise<AuthStep> {
    const { host, passwords, signIn } = this.#parts
    const first = readClientFirst(data)
    signIn.checkWait(first.user, address)
    const { keys } = await passwords.keysOf(first.user, await host.store.user(first.user))
    const nonce = first.nonce + randomBytes(nonceBytes).toString('base64')
    const text = serverFirst(nonce, keys.salt, keys.iterations)
    const begun: Begun = { user: first.user, header: first.header, clientFirst: first.bare, serverFirst: text, nonce }
    return { user: first.user, data: Buffer.from(text), state: JSON.stringify(begun) }
  }

  async #judge (begun: Begun, data: Uint8Array, address: string): Promise<AuthStep> {
    const { host, rows, passwords, limits, signIn } = this.#parts
    const { user } = begun
    const final = readClientFinal(data)
    if (final.nonce !== begun.nonce || final.header !== begun.header) throw new Refusal('bad_payload', 'the message of SCRAM does not belong to this exchange')
    const seen = rows.changes
    const found = await host.store.user(user)
    const row = alive(found)
    const { keys, real } = await passwords.keysOf(user, found)
    // In one turn with the judgement: tries that came at once must not all pass before the first has failed.
    signIn.checkWait(user, address)
    const authMessage = `${begun.clientFirst},${begun.serverFirst},${final.bare}`
    const signature = serverSignature(keys, authMessage)
    const right = proves(keys, authMessage, final.proof)
    if (row === undefined || !real || !right) {
      limits.failed(user, address)
      throw new Refusal('unauthorized', 'wrong user name or password')
    }
    const now = await signIn.unchanged(row, seen)
    // Not before: with a password that is the account's no more nobody becomes known.
    limits.succeeded(user, address)
    // Said to those only who know the password.
    if (now.banned === true) throw new Refusal('banned')
    rows.signedIn(now)
    return { user, data: Buffer.from(serverFinal(signature)) }
  }
}
