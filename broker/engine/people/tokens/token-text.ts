/**
 * How login tokens look: `sa~{user}~{login}~{secret}` (access), `sr~{user}~{login}~{generation}~{secret}~{tag}` (refresh). They name the row that they are
 * judged by, which holds hashes of the secrets. The tag is the server's: it shows of an old refresh token, whose hash is no more there, that there was one.
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { isId } from '../../../topics.ts'

/** Bytes of a secret, of a login's id, of a tag. */
const [secretBytes, idBytes, tagBytes] = [32, 9, 16]
const access = /^sa~([^~]{1,64})~([\w-]{12})~([\w-]{43})$/
const refresh = /^sr~([^~]{1,64})~([\w-]{12})~(\d{1,15})~([\w-]{43})~([\w-]{22})$/

export interface AccessToken { user: string, id: string, secret: string }
export interface RefreshToken extends AccessToken { generation: number }

export function newId (): string { return randomBytes(idBytes).toString('base64url') }
export function newSecret (): string { return randomBytes(secretBytes).toString('base64url') }
/** A secret of 256 random bits needs no slow hash. */
export function hashOf (secret: string): string { return createHash('sha256').update(secret).digest('base64url') }
export function isHashOf (hash: string, secret: string): boolean { return timingSafeEqual(Buffer.from(hash), Buffer.from(hashOf(secret))) }

export function accessText ({ user, id, secret }: AccessToken): string { return `sa~${user}~${id}~${secret}` }

export function refreshText ({ user, id, generation, secret }: RefreshToken, key: Uint8Array): string {
  const text = `sr~${user}~${id}~${generation}~${secret}`
  return `${text}~${tagOf(text, key)}`
}

/** Undefined for what is no access token. */
export function readAccess (text: string): AccessToken | undefined {
  const [, user = '', id = '', secret = ''] = access.exec(text) ?? []
  return isId(user) ? { user, id, secret } : undefined
}

/** Undefined for what is no refresh token that this server has made. */
export function readRefresh (text: string, key: Uint8Array): RefreshToken | undefined {
  const [, user = '', id = '', generation = '', secret = '', tag = ''] = refresh.exec(text) ?? []
  if (!isId(user) || !timingSafeEqual(Buffer.from(tag), Buffer.from(tagOf(text.slice(0, -tag.length - 1), key)))) return undefined
  return { user, id, generation: Number(generation), secret }
}

function tagOf (text: string, key: Uint8Array): string { return createHmac('sha256', key).update(text).digest().subarray(0, tagBytes).toString('base64url') }
