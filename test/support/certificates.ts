/** Certificates for a test, made by openssl. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { command } from './commands.ts'
import { requireTool } from './tools.ts'

export interface Certificate { certFile: string, keyFile: string }

export interface Authority {
  caFile: string
  /** Signs a certificate, under another file name each time or over that of `as`. Valid for 127.0.0.1 and localhost, and for its `commonName` as the name of a client. */
  sign (commonName: string, as?: string): Promise<Certificate>
}

/** Who signs; undefined when this machine has no openssl: the test was then skipped aloud (failed when `CI` is set). */
export async function authority (t: Test, name = 'ca'): Promise<Authority | undefined> {
  if (!requireTool(t, 'openssl')) return undefined
  // Not the test's own folder: its servers have their files there.
  const folder = mkdtempSync(join(tmpdir(), 'sabethes-certificates-'))
  t.teardown(() => { rmSync(folder, { recursive: true, force: true }) })
  const at = (file: string): string => join(folder, file)
  const openssl = async (...args: string[]): Promise<void> => { await command(folder, 'openssl', ...args) }
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  await openssl('req', '-x509', ...newKey, '-days', '2', '-subj', `/CN=${name}`, '-keyout', `${name}.key`, '-out', `${name}.pem`)
  let made = 0
  return {
    caFile: at(`${name}.pem`),
    sign: async (commonName, as = `${name}-${++made}`) => {
      writeFileSync(at('names'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n')
      await openssl('req', ...newKey, '-subj', `/CN=${commonName}`, '-keyout', `${as}.new-key`, '-out', `${as}.csr`)
      await openssl('x509', '-req', '-in', `${as}.csr`, '-CA', `${name}.pem`, '-CAkey', `${name}.key`, '-CAcreateserial', '-days', '2', '-extfile', 'names', '-out', `${as}.pem`)
      // As who renews one does: key and certificate are not those of each other for a moment.
      await openssl('pkey', '-in', `${as}.new-key`, '-out', `${as}.key`)
      return { certFile: at(`${as}.pem`), keyFile: at(`${as}.key`) }
    }
  }
}
