/** Keys of SCRAM-SHA-256 (RFC 5802, section 3; RFC 7677), and how they are kept (RFC 5803). */
import { createHash, createHmac, pbkdf2, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'

const derive = promisify(pbkdf2)
export const keyBytes = 32

/** What a server keeps of a password: with it a proof can be checked, and none made. */
export interface ScramKeys { iterations: number, salt: Buffer, storedKey: Buffer, serverKey: Buffer }

/** `password`: its bytes, prepared. Takes the time of `iterations` hashes, off the event loop. */
export async function deriveKeys (password: Buffer, salt: Buffer, iterations: number): Promise<ScramKeys> {
  const salted = await derive(password, salt, iterations, keyBytes, 'sha256')
  return { iterations, salt, storedKey: sha256(hmac(salted, 'Client Key')), serverKey: hmac(salted, 'Server Key') }
}

/** `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`. */
export function encodeKeys ({ iterations, salt, storedKey, serverKey }: ScramKeys): string {
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${storedKey.toString('base64')}:${serverKey.toString('base64')}`
}

/** Undefined for what `encodeKeys` did not write. */
export function decodeKeys (text: string): ScramKeys | undefined {
  const [, iterations, salt = '', storedKey = '', serverKey = ''] = /^SCRAM-SHA-256\$([1-9]\d*):([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+):([A-Za-z0-9+/=]+)$/.exec(text) ?? []
  if (iterations === undefined) return undefined
  const keys = { iterations: Number(iterations), salt: Buffer.from(salt, 'base64'), storedKey: Buffer.from(storedKey, 'base64'), serverKey: Buffer.from(serverKey, 'base64') }
  return keys.storedKey.length === keyBytes && keys.serverKey.length === keyBytes ? keys : undefined
}

/** Whether `proof` was made with the password behind the keys. Takes as long for a wrong one. */
export function proves ({ storedKey }: ScramKeys, authMessage: string, proof: Buffer): boolean {
  if (proof.length !== keyBytes) return false
  const signature = hmac(storedKey, authMessage)
  const clientKey = Buffer.from(signature.map((byte, at) => byte ^ (proof[at] as number)))
  return timingSafeEqual(sha256(clientKey), storedKey)
}

/** By which the client sees that the server knows its keys. */
export function serverSignature ({ serverKey }: ScramKeys, authMessage: string): Buffer { return hmac(serverKey, authMessage) }

export function hmac (key: Buffer, text: string): Buffer { return createHmac('sha256', key).update(text).digest() }
function sha256 (bytes: Buffer): Buffer { return createHash('sha256').update(bytes).digest() }
