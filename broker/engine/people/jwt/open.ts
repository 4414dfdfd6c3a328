/** Puts the check of tokens together, as `auth.jwt` says. Loaded by those who use it. */
import type { Logger } from 'pino'
import { Outgoing } from '../../../outgoing.ts'
import { KeyFile, type KeySource } from '../key-file.ts'
import { KeyUrl } from './key-url.ts'
import { keysOf, sharedKeyOf, type GetKey } from './keys.ts'
import { TokenCheck } from './tokens.ts'

/** `auth.jwt` of the configuration. */
export interface JwtOptions {
  algorithms: readonly string[]
  secretFile: string
  keyFile: string
  keysUrl: string
  issuer: string
  audience: readonly string[]
  userClaim: string
  clockToleranceSeconds: number
  createUsers: boolean
  keysCacheSeconds: number
  keysStaleSeconds: number
  keysRetrySeconds: number
  timeoutMs: number
  maxBytes: number
}

export interface JwtClocks { now: () => number, steady: () => number }

export interface OpenTokens { readonly check: TokenCheck, close (): void }

/** Rejects when the file of keys cannot be read. */
export async function openTokens (options: JwtOptions, { now, steady }: JwtClocks, log: Logger): Promise<OpenTokens> {
  const { secretFile, issuer, audience, userClaim } = options
  const usual = secretFile !== '' ? ['HS256'] : ['RS256', 'ES256', 'EdDSA', 'Ed25519']
  const algorithms = options.algorithms.length === 0 ? usual : options.algorithms
  const keys = sourceOf(options, steady, log)
  await keys.load()
  if (audience.length === 0) log.warn('tokens for any audience are taken: auth.jwt.audience would leave out those of other applications')
  return {
    check: new TokenCheck(keys, { algorithms, issuer, audience, userClaim, toleranceMs: options.clockToleranceSeconds * 1000 }, now),
    close: () => { keys.close() }
  }
}

function sourceOf (options: JwtOptions, steady: () => number, log: Logger): KeySource<GetKey> {
  const { secretFile, keyFile, keysUrl, timeoutMs, maxBytes } = options
  if (secretFile !== '') return new KeyFile({ path: secretFile, read: sharedKeyOf, steady, log })
  if (keyFile !== '') return new KeyFile({ path: keyFile, read: keysOf, steady, log })
  return new KeyUrl({
    url: keysUrl,
    cacheMs: options.keysCacheSeconds * 1000,
    staleMs: options.keysStaleSeconds * 1000,
    retryMs: options.keysRetrySeconds * 1000,
    steady,
    outgoing: new Outgoing({ timeoutMs, maxBytes, sockets: 1 }),
    log
  })
}
