/** The certificate of a broker that speaks TLS: a key on the curve P-256, as most servers have it, signed by itself. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { find } from './process.ts'

export interface ServerCertificate { certFile: string, keyFile: string }

export function opensslMissing (): string | undefined { return find('openssl') === undefined ? 'openssl is not installed (apt-get install openssl)' : undefined }

/** Made in `folder`. */
export function serverCertificate (folder: string): ServerCertificate {
  const [certFile, keyFile] = [join(folder, 'server.pem'), join(folder, 'server.key')]
  execFileSync(find('openssl') as string, ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', keyFile, '-out', certFile], { stdio: 'pipe' })
  return { certFile, keyFile }
}
