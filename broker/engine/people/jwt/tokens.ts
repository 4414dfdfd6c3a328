/** Tokens of another account system (RFC 7519): whose they are, and until when. */
import { errors, jwtVerify, type JWTPayload, type JWTVerifyOptions } from 'jose'
import { Refusal } from '../../../errors.ts'
import { isId } from '../../../topics.ts'
import type { KeySource } from '../key-file.ts'
import { isUnknownKey, type GetKey } from './keys.ts'

export interface TokenRules {
  algorithms: readonly string[]
  /** '' = any. */
  issuer: string
  /** One of them; none = any. */
  audience: readonly string[]
  /** The claim that is the user name. */
  userClaim: string
  /** Clocks may differ so much, milliseconds. */
  toleranceMs: number
}

export class TokenCheck {
  readonly #keys: KeySource<GetKey>
  readonly #rules: TokenRules
  readonly #options: JWTVerifyOptions
  readonly #now: () => number

  /** `now`: milliseconds since the epoch. */
  constructor (keys: KeySource<GetKey>, rules: TokenRules, now: () => number) {
    this.#keys = keys
    this.#rules = rules
    this.#now = now
    const { algorithms, issuer, audience, toleranceMs } = rules
    this.#options = {
      algorithms: [...algorithms],
      clockTolerance: toleranceMs / 1000,
      // Whoever has one that never ends can be kept out by a ban alone.
      requiredClaims: ['exp'],
      ...issuer !== '' && { issuer },
      ...audience.length > 0 && { audience: [...audience] }
    }
  }

  /** Throws `Refusal`: `unauthorized`, `unavailable`. */
  async check (token: string): Promise<{ user: string, until: number }> {
    const payload = await this.#verified(token)
    const user = payload[this.#rules.userClaim]
    if (typeof user !== 'string' || !isId(user)) throw new Refusal('unauthorized', `the token's ${this.#rules.userClaim} is no user name: 1 to 64 of A-Z a-z 0-9 . _ -`)
    return { user, until: (payload.exp as number) * 1000 + this.#rules.toleranceMs }
  }

  async #verified (token: string): Promise<JWTPayload> {
    const keys = await this.#keys.current()
    try {
      return await this.#verify(token, keys)
    } catch (error) {
      const newer = isUnknownKey(error) ? await this.#keys.renewed(keys) : undefined
      if (newer === undefined) throw refusalOf(error)
      return await this.#verify(token, newer).catch((again: unknown) => { throw refusalOf(again) })
    }
  }

  async #verify (token: string, keys: GetKey): Promise<JWTPayload> {
    const options = { ...this.#options, currentDate: new Date(this.#now()) }
    try {
      return (await jwtVerify(token, keys, options)).payload
    } catch (error) {
      if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error
      // The token does not say which one it was.
      for await (const key of error) {
        try {
          return (await jwtVerify(token, key, options)).payload
        } catch (wrong) {
          if (!(wrong instanceof errors.JWSSignatureVerificationFailed)) throw wrong
        }
      }
      throw new errors.JWSSignatureVerificationFailed()
    }
  }
}

/** What is wrong with a token, without what it holds. Throws what is no fault of the token. */
function refusalOf (error: unknown): Refusal {
  if (error instanceof errors.JWTExpired) return new Refusal('unauthorized', 'the token has expired')
  if (error instanceof errors.JWTClaimValidationFailed) return new Refusal('unauthorized', `the token's ${claimOf(error)} is not right`)
  if (error instanceof errors.JWSSignatureVerificationFailed) return new Refusal('unauthorized', 'the signature of the token is wrong')
  if (error instanceof errors.JOSEAlgNotAllowed) return new Refusal('unauthorized', 'the signature of the token is of a kind that is not taken')
  if (isUnknownKey(error)) return new Refusal('unauthorized', 'the token is signed with a key that is not known')
  // A key that does not fit the algorithm is a TypeError of the library's.
  if (error instanceof errors.JOSEError || error instanceof TypeError) return new Refusal('unauthorized', 'it is no token')
  throw error
}

/** The names that a claim can have here: others are whatever the client has sent. */
function claimOf ({ claim }: errors.JWTClaimValidationFailed): string { return ['iss', 'aud', 'exp', 'nbf', 'sub'].includes(claim) ? claim : 'content' }
