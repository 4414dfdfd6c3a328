/** Signs tokens as another account system would, and serves its keys. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SignJWT, type JWTPayload } from 'jose'
import type { Test } from 'tap'

export interface Signer { kid: string, alg: string, privateKey: KeyObject, publicKey: KeyObject, jwk: Record<string, unknown>, pem: string }

export function signer (kid: string, alg: 'RS256' | 'ES256' | 'EdDSA' = 'ES256'): Signer {
  const { privateKey, publicKey } = alg === 'RS256' ? generateKeyPairSync('rsa', { modulusLength: 2048 }) : alg === 'ES256' ? generateKeyPairSync('ec', { namedCurve: 'P-256' }) : generateKeyPairSync('ed25519')
  return { kid, alg, privateKey, publicKey, jwk: { ...publicKey.export({ format: 'jwk' }), kid, alg, use: 'sig' }, pem: publicKey.export({ type: 'spki', format: 'pem' }) as string }
}

export function sign ({ alg, privateKey, kid }: Pick<Signer, 'alg' | 'privateKey'> & { kid?: string }, claims: JWTPayload): Promise<string> {
  return new SignJWT(claims).setProtectedHeader({ alg, ...kid !== undefined && { kid } }).sign(privateKey)
}

/** A program of somebody else on this machine; closed when the test ends. */
export async function outside (t: Test, listener: RequestListener): Promise<{ server: Server, url: string }> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

/** A file beside the test's own folder, which servers empty; without a text there is none at the path. */
export function fileOf (t: Test, text?: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'sabethes-keys-'))
  t.teardown(() => { rmSync(folder, { recursive: true }) })
  const path = join(folder, 'keys')
  if (text !== undefined) writeFileSync(path, text)
  return path
}
