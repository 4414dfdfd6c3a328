/** TLS in front of MQTT and HTTP: whose certificate is shown, and whose is asked for. */
import type { TlsOptions, TLSSocket } from 'node:tls'
import { idPattern } from '../../topics.ts'

export type ClientCertificates = 'none' | 'optional' | 'required'

/** `handshakeTimeoutMs`: for the handshake of one connection. */
export function tlsOptions ({ clientCertificates, handshakeTimeoutMs }: { clientCertificates: ClientCertificates, handshakeTimeoutMs: number }): TlsOptions {
  return {
    handshakeTimeout: handshakeTimeoutMs,
    requestCert: clientCertificates !== 'none',
    // Who may have none is looked at when it is known what came.
    rejectUnauthorized: clientCertificates === 'required',
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 60_000
  }
}

/** Of a certificate that was asked for: the user's name (`CN` of its subject), undefined when there is none; 'wrong' for one that is not taken. */
export function certifiedUser (socket: TLSSocket): { user: string | undefined } | 'wrong' {
  const certificate = socket.getPeerCertificate()
  // An empty object: no certificate came.
  if (Object.keys(certificate).length === 0) return { user: undefined }
  const name: unknown = certificate.subject?.CN
  return socket.authorized && typeof name === 'string' && idPattern.test(name) ? { user: name } : 'wrong'
}
