/** Further listeners, beside `mqtt.tcp` and `http`. */
import { isIP } from 'node:net'
import { z } from 'zod'

const file = (text: string) => z.string().max(4096).default('').describe(text)

/** An address, or a network such as 10.0.0.0/8. */
export function isNetwork (text: string): boolean {
  const [address = '', bits, ...more] = text.split('/')
  const family = isIP(address)
  if (family === 0 || more.length > 0) return false
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128))
}

const listener = z.strictObject({
  kind: z.enum(['mqtt', 'mqtts', 'http', 'https']),
  host: z.string().min(1).default('127.0.0.1'),
  port: z.int().min(0).max(65_535),
  certFile: file('The certificate, and those between it and the root (PEM).'),
  keyFile: file('Its private key (PEM).'),
  minVersion: z.enum(['TLSv1.2', 'TLSv1.3']).default('TLSv1.2'),
  clientCertificates: z.enum(['none', 'optional', 'required']).default('none'),
  caFile: file('Who signs the certificates of clients (PEM).'),
  crlFile: file('Certificates of clients that are revoked (PEM).'),
  proxies: z.array(z.string().refine(isNetwork, 'must be an address such as 10.0.0.7, or a network such as 10.0.0.0/8')).default([]),
  proxyProtocol: z.boolean().default(false)
})

export type ListenerConfig = z.output<typeof listener>

export const listenersKey = z.array(listener).max(64).default([])
  .describe('Further listeners, each {kind, host, port}: kind is mqtt, mqtts, http or https (WebSocket is on those of HTTP). TLS asks for certFile and keyFile; clientCertificates, proxies and proxyProtocol are in docs/listeners.md.')

/** What is wrong with listeners that are right key by key. */
export function * listenerProblems (listeners: readonly ListenerConfig[]): Generator<{ key: string, text: string }> {
  for (const [i, listener] of listeners.entries()) {
    for (const text of [...listener.kind.endsWith('s') ? secureProblems(listener) : plainProblems(listener), ...proxyProblems(listener)]) yield { key: `listeners[${i}]`, text }
  }
}

function * secureProblems ({ kind, certFile, keyFile, clientCertificates, caFile, crlFile }: ListenerConfig): Generator<string> {
  if (certFile === '' || keyFile === '') yield `${kind} needs certFile and keyFile`
  if (clientCertificates !== 'none' && caFile === '') yield 'certificates of clients need caFile: who signs them'
  if (clientCertificates === 'none' && (caFile !== '' || crlFile !== '')) yield 'caFile and crlFile are for certificates of clients, which clientCertificates does not ask for'
}

function * plainProblems ({ kind, certFile, keyFile, clientCertificates, caFile, crlFile }: ListenerConfig): Generator<string> {
  if ([certFile, keyFile, caFile, crlFile].some(file => file !== '') || clientCertificates !== 'none') yield `${kind} has no certificates; ${kind}s has`
}

function * proxyProblems ({ kind, proxies, proxyProtocol }: ListenerConfig): Generator<string> {
  if (proxyProtocol && proxies.length === 0) yield 'proxyProtocol needs proxies: whose word counts for where a client is'
  if (!proxyProtocol && proxies.length > 0 && kind.startsWith('mqtt')) yield `of ${kind} proxies tell the address of a client by proxyProtocol alone`
}
