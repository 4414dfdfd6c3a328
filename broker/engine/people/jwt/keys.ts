/** What tokens are checked with. */
import { createPublicKey } from 'node:crypto'
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWK, type JWTVerifyGetKey } from 'jose'
import { secretOf } from '../key-file.ts'

/** Gives the key of a token by its header. */
export type GetKey = JWTVerifyGetKey

/** Keys of one signer. */
const maxKeys = 100
const pem = /-----BEGIN ([A-Z0-9 ]+)-----[^-]+-----END \1-----/g
const kinds = ['RSA', 'EC', 'OKP']

/** A secret that both sides have. Throws when it is too short. */
export function sharedKeyOf (file: Buffer): GetKey {
  const secret = secretOf(file)
  return () => Promise.resolve(secret)
}

/** Public keys: PEM, or a JWKS. Throws when there are none in it. */
export function keysOf (file: Buffer): GetKey {
  const text = file.toString('utf8')
  return text.trimStart().startsWith('{') ? jwksOf(file) : pemsOf(text)
}

/** Throws when it is no JWKS (RFC 7517), or has no key of those that are taken. */
export function jwksOf (file: Uint8Array): GetKey {
  const parsed: unknown = JSON.parse(Buffer.from(file).toString('utf8'))
  const { keys } = parsed as Partial<JSONWebKeySet>
  if (!Array.isArray(keys)) throw new Error('it is no JWKS: {"keys":[…]}')
  if (keys.length > maxKeys) throw new Error(`it has more than ${maxKeys} keys`)
  const usable = keys.filter(key => kinds.includes(key?.kty ?? '')).map(publicPart)
  if (usable.length === 0) throw new Error(`it has no key of the kinds ${kinds.join(', ')}`)
  return createLocalJWKSet({ keys: usable })
}

/** Whoever serves the private key by mistake: it is not kept. */
function publicPart ({ d, p, q, dp, dq, qi, oth, ...key }: JWK): JWK { return key }

function pemsOf (text: string): GetKey {
  const blocks = [...text.matchAll(pem)]
  if (blocks.length === 0) throw new Error('it has neither a PEM nor a JWKS')
  if (blocks.length > maxKeys) throw new Error(`it has more than ${maxKeys} keys`)
  const keys = blocks.map(([block, kind = '']) => {
    if (kind.includes('PRIVATE')) throw new Error('it has a private key: tokens are checked with the public one')
    return createPublicKey(block).export({ format: 'jwk' }) as JWK
  })
  const local = createLocalJWKSet({ keys })
  // A PEM has no name that a token could give.
  return ({ kid, ...header }, token) => local(header, token)
}

export function isUnknownKey (error: unknown): boolean { return error instanceof errors.JWKSNoMatchingKey }
